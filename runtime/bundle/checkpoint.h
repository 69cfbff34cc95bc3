// The tensors of a checkpoint, mapped.
#ifndef INLAY_RUNTIME_BUNDLE_CHECKPOINT_H_
#define INLAY_RUNTIME_BUNDLE_CHECKPOINT_H_

#include "fmt/format.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/safetensors.h"
#include "runtime/support/files.h"

namespace inlay {

// Finds tensors by name; files are mapped once, read when a recipe touches them.
class MappedCheckpoint {
public:
  static absl::StatusOr<MappedCheckpoint> Open(const std::string &directory) {
    absl::StatusOr<SafetensorsIndex> index = OpenSafetensors(directory);
    if (!index.ok())
      return index.status();
    MappedCheckpoint checkpoint;
    checkpoint.index_ = *std::move(index);
    for (const std::string &path : checkpoint.index_.files) {
      absl::StatusOr<MappedFile> file = MappedFile::Open(path);
      if (!file.ok())
        return file.status();
      checkpoint.files_.push_back(*std::move(file));
    }
    return checkpoint;
  }

  absl::StatusOr<SourceTensor> Find(std::string_view name) const {
    auto it = index_.tensors.find(std::string(name));
    if (it == index_.tensors.end())
      return absl::NotFoundError(fmt::format("tensor '{}' is not in the checkpoint", name));
    const TensorInfo &info = it->second;
    SourceTensor tensor;
    if (info.dtype == "F32")
      tensor.type = plan::DataType_F32;
    else if (info.dtype == "BF16")
      tensor.type = plan::DataType_BF16;
    else if (info.dtype == "F16")
      tensor.type = plan::DataType_F16;
    else
      return absl::InvalidArgumentError(
          fmt::format("tensor '{}': has dtype {}, expected F32, BF16 or F16", name, info.dtype));
    tensor.shape = info.shape;
    std::span<const std::byte> bytes = files_[info.file].bytes();
    if (info.offset > bytes.size() || info.bytes > bytes.size() - info.offset)
      return absl::DataLossError(fmt::format("{}: was shortened after its header was read", index_.files[info.file]));
    tensor.bytes = bytes.subspan(info.offset, info.bytes);
    return tensor;
  }

  const std::vector<std::string> &files() const { return index_.files; }

private:
  SafetensorsIndex index_;
  std::vector<MappedFile> files_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_CHECKPOINT_H_
