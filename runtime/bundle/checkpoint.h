// The tensors of a checkpoint, read when a recipe asks for them.
#ifndef INLAY_RUNTIME_BUNDLE_CHECKPOINT_H_
#define INLAY_RUNTIME_BUNDLE_CHECKPOINT_H_

#include "fmt/format.h"
#include "formats/safetensors/safetensors.h"
#include "runtime/bundle/recipe.h"
#include "runtime/support/files.h"

#include <algorithm>
#include <utility>

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
    constexpr std::pair<std::string_view, plan::DataType> kTypes[] = {
        {"F32", plan::DataType_F32}, {"BF16", plan::DataType_BF16},      {"F16", plan::DataType_F16},
        {"I32", plan::DataType_I32}, {"F8_E4M3", plan::DataType_F8E4M3}, {"I8", plan::DataType_I8},
        {"U8", plan::DataType_U8},   {"F8_E8M0", plan::DataType_F8E8M0}};
    const auto *type =
        std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto &row) { return row.first == info.dtype; });
    if (type == std::end(kTypes))
      return absl::InvalidArgumentError(
          fmt::format("tensor '{}': has dtype {}, expected one of F32, BF16, F16, F8_E4M3, F8_E8M0, I32, I8, U8", name,
                      info.dtype));
    tensor.type = type->second;
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
