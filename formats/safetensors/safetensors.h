// Parses and validates the headers of safetensors files, which give the location of each tensor of a checkpoint. Does
// not read tensors. Files are untrusted: every offset is checked against the shape, the neighbouring tensors and the
// end of the file.

#ifndef INLAY_FORMATS_SAFETENSORS_SAFETENSORS_H_
#define INLAY_FORMATS_SAFETENSORS_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace inlay {

struct TensorInfo {
  std::string name;
  std::string dtype;          // As the file writes it: "BF16", "F32", ...
  std::vector<int64_t> shape; // Not negative; the size in bytes fits into int64_t.
  uint64_t offset = 0;        // Of the first byte, from the beginning of the file.
  uint64_t bytes = 0;
  size_t file = 0; // Index into SafetensorsIndex::files.
};

// The size of one element of a dtype in bytes. 0 if the dtype is unknown.
size_t SafetensorsElementSize(std::string_view dtype);

// The largest JSON header that the format allows.
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

// Parses the JSON header of a file whose data section of `data_bytes` bytes starts at byte `data_start`. `file` is the
// name for error messages. Returns the tensors sorted by offset.
absl::StatusOr<std::vector<TensorInfo>> ParseSafetensorsHeader(std::string_view json, uint64_t data_start,
                                                               uint64_t data_bytes, std::string_view file);

// Reads the header of one file.
absl::StatusOr<std::vector<TensorInfo>> ReadSafetensorsHeader(const std::string &path);

// All tensors of a checkpoint.
struct SafetensorsIndex {
  std::vector<std::string> files;            // Paths.
  std::map<std::string, TensorInfo> tensors; // By name.
};

// Reads the headers of a checkpoint: of model.safetensors, or of the shards that model.safetensors.index.json lists.
// NotFound if the directory has neither.
absl::StatusOr<SafetensorsIndex> OpenSafetensors(const std::string &directory);

} // namespace inlay

#endif // INLAY_FORMATS_SAFETENSORS_SAFETENSORS_H_
