// Files: mapped for reading, and written atomically, so that a crash leaves no partial file.
#ifndef INLAY_RUNTIME_SUPPORT_FILES_H_
#define INLAY_RUNTIME_SUPPORT_FILES_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

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

// A file read at any place, from any thread. Other than a mapping, one that is cut while it is read is an error and not
// a signal, and reading it costs no page tables.
class RandomAccessFile {
public:
  static absl::StatusOr<RandomAccessFile> Open(const std::string &path);
  RandomAccessFile() = default;
  RandomAccessFile(RandomAccessFile &&other) noexcept { *this = std::move(other); }
  RandomAccessFile &operator=(RandomAccessFile &&other) noexcept;
  ~RandomAccessFile();

  const std::string &path() const { return path_; }
  uint64_t size() const { return size_; }
  // Reads out.size() bytes from `offset` on.
  absl::Status Read(uint64_t offset, std::span<std::byte> out) const;

private:
  std::string path_;
  int file_ = -1;
  uint64_t size_ = 0;
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
