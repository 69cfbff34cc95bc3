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

// A file mapped read-only. Movable, not copyable.
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

// A file that can be read at any offset, from any thread. Unlike with a mapping, a file that is shortened while it is
// read gives an error instead of a signal, and reading it needs no page tables.
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

// Reads a whole file. A file larger than `limit` bytes is an error.
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
  // Flushes the file to the disk (fsync) and closes it. Returns the first error.
  absl::Status Close();

private:
  std::string path_;
  int file_ = -1;
  int error_ = 0;
  uint64_t offset_ = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_SUPPORT_FILES_H_
