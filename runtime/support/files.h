// Files: mapped for reading, written so that a crash leaves nothing half done.
#ifndef INLAY_RUNTIME_SUPPORT_FILES_H_
#define INLAY_RUNTIME_SUPPORT_FILES_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace inlay {

// A file mapped read-only. Moves, does not copy.
class MappedFile {
public:
  static absl::StatusOr<MappedFile> Open(const std::string &path);
  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept { *this = std::move(other); }
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte *>(data_), size_}; }
  std::string_view text() const { return {static_cast<const char *>(data_), size_}; }

private:
  void *data_ = nullptr;
  size_t size_ = 0;
};

// The whole of a small file. Larger than `limit` bytes is an error.
absl::StatusOr<std::string> ReadFile(const std::string &path, uint64_t limit = uint64_t{1} << 30);

// Appends to a file it creates; every error (a full disk among them) is reported once, by Close().
class FileWriter {
public:
  explicit FileWriter(std::string path);
  ~FileWriter();
  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text) { Write(std::as_bytes(std::span(text))); }
  // Writes zeros up to `offset`.
  void PadTo(uint64_t offset);
  uint64_t offset() const { return offset_; }
  // Brings the bytes to the disk.
  absl::Status Close();

private:
  std::string path_;
  int file_ = -1;
  int error_ = 0;
  uint64_t offset_ = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_SUPPORT_FILES_H_
