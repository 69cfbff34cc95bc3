// Writes a bundle directory atomically: complete, or not at all.
#ifndef INLAY_RUNTIME_BUNDLE_WRITER_H_
#define INLAY_RUNTIME_BUNDLE_WRITER_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace inlay {

// The error of a tensor that was quantized while it was packed.
struct QuantizedTensor {
  std::string name;
  uint64_t elements = 0;
  double squared_error = 0, squared_norm = 0; // sums of (value - quantized value)^2 and of value^2
};

struct BundleContents {
  std::string plan;           // the finished FlatBuffer
  std::string manifest_extra; // a JSON object: the model's configuration, facts of kernels; for people
  std::vector<std::pair<std::string, std::string>> files; // path in the bundle, contents
  std::string weights_mode = "pack";                      // pack, link or dummy
  std::string checkpoint;                                 // directory of the sources; unused for dummy
  // Called with each tensor that is quantized; may be empty.
  std::function<void(const QuantizedTensor &)> on_quantized = {};
};

// Writes to a temporary directory beside `path`, brings it to the disk and renames it. An existing bundle is replaced
// only with `overwrite`. `progress` is called with bytes done and in all while weights are packed.
absl::Status WriteBundle(const BundleContents &contents, const std::string &path, bool overwrite,
                         const std::function<void(uint64_t, uint64_t)> &progress = {});

// JSON: path, size, time of change and header hash of each file of a checkpoint, by which a linked bundle knows it.
absl::StatusOr<std::string> DescribeSources(const std::vector<std::string> &files);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_WRITER_H_
