// Location of the bytes of a bundle's weights: files of the bundle, a linked checkpoint, or none (dummy weights).
#ifndef INLAY_RUNTIME_BUNDLE_WEIGHT_FILES_H_
#define INLAY_RUNTIME_BUNDLE_WEIGHT_FILES_H_

#include "runtime/bundle/checkpoint.h"
#include "runtime/bundle/source_rows.h"
#include "runtime/support/files.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inlay {

// A file of packed weights is hashed in chunks of this many bytes: many enough to keep all cores busy, few enough to
// stand in the manifest. Bundles may have others, in whole MiB.
inline constexpr uint64_t kWeightChunkBytes = uint64_t{16} << 20;

// The name of a rank's packed weights: a file in weights/ without its extension, and the key of its hashes.
inline std::string PackedName(std::string_view target, Rank rank) {
  std::string name(target);
  return rank.count == 1 ? name : name + ".rank" + std::to_string(rank.index);
}

struct WeightFiles {
  struct Packed {
    RandomAccessFile file;
    uint64_t chunk_bytes = kWeightChunkBytes;
    std::vector<std::string> chunk_hashes;
  };
  std::map<std::string, Packed> packed;       // by PackedName(); --weights=pack
  std::optional<CheckpointReader> checkpoint; // --weights=link
};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_WEIGHT_FILES_H_
