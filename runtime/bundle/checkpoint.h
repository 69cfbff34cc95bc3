// The tensors of a checkpoint, read when a recipe asks for them.
#ifndef INLAY_RUNTIME_BUNDLE_CHECKPOINT_H_
#define INLAY_RUNTIME_BUNDLE_CHECKPOINT_H_

#include "fmt/format.h"
#include "formats/safetensors/safetensors.h"
#include "runtime/bundle/recipe.h"
#include "runtime/support/files.h"

namespace inlay {

// Finds tensors by name. What Find() returned reads from this object's files.
class CheckpointReader {
public:
  static absl::StatusOr<CheckpointReader> Open(const std::string &directory) {
    absl::StatusOr<SafetensorsIndex> index = OpenSafetensors(directory);
    if (!index.ok())
      return index.status();
    CheckpointReader checkpoint;
    checkpoint.index_ = *std::move(index);
    for (const std::string &path : checkpoint.index_.files) {
      absl::StatusOr<RandomAccessFile> file = RandomAccessFile::Open(path);
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
    const RandomAccessFile &file = files_[info.file];
    if (info.offset > file.size() || info.bytes > file.size() - info.offset)
      return absl::DataLossError(fmt::format("{}: was shortened after its header was read", file.path()));
    tensor.shape = info.shape;
    tensor.bytes = info.bytes;
    tensor.read = [&file, begin = info.offset](uint64_t offset, std::span<std::byte> out) {
      return file.Read(begin + offset, out);
    };
    return tensor;
  }

  const std::vector<std::string> &files() const { return index_.files; }

private:
  SafetensorsIndex index_;
  std::vector<RandomAccessFile> files_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_CHECKPOINT_H_
