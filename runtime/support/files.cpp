#include "runtime/support/files.h"

#include "fmt/format.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace inlay {

absl::StatusOr<MappedFile> MappedFile::Open(const std::string &path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return absl::NotFoundError(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  struct stat info{};
  MappedFile mapped;
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(file);
    return absl::InvalidArgumentError(fmt::format("{}: is not a regular file", path));
  }
  mapped.size_ = static_cast<size_t>(info.st_size);
  if (mapped.size_ > 0) {
    mapped.data_ = mmap(nullptr, mapped.size_, PROT_READ, MAP_PRIVATE, file, 0);
    if (mapped.data_ == MAP_FAILED) {
      mapped.data_ = nullptr;
      close(file);
      return absl::ResourceExhaustedError(fmt::format("{}: cannot be mapped: {}", path, std::strerror(errno)));
    }
  }
  close(file);
  return mapped;
}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_)
    munmap(data_, size_);
}

absl::StatusOr<RandomAccessFile> RandomAccessFile::Open(const std::string &path) {
  RandomAccessFile opened;
  opened.path_ = path;
  opened.file_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (opened.file_ < 0)
    return absl::NotFoundError(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  struct stat info{};
  if (fstat(opened.file_, &info) != 0 || !S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(fmt::format("{}: is not a regular file", path));
  opened.size_ = static_cast<uint64_t>(info.st_size);
  return opened;
}

RandomAccessFile &RandomAccessFile::operator=(RandomAccessFile &&other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(size_, other.size_);
  return *this;
}

RandomAccessFile::~RandomAccessFile() {
  if (file_ >= 0)
    close(file_);
}

absl::Status RandomAccessFile::Read(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    ssize_t got = pread(file_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return absl::DataLossError(fmt::format("{}: cannot be read: {}", path_, std::strerror(errno)));
    if (got == 0)
      return absl::DataLossError(
          fmt::format("{}: ends at byte {}; it was shortened after it was opened", path_, offset));
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFile(const std::string &path, uint64_t limit) {
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok())
    return file.status();
  if (file->bytes().size() > limit)
    return absl::InvalidArgumentError(
        fmt::format("{}: has {} bytes, expected at most {}", path, file->bytes().size(), limit));
  return std::string(file->text());
}

FileWriter::FileWriter(std::string path) : path_(std::move(path)) {
  file_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file_ < 0)
    error_ = errno;
}

FileWriter::~FileWriter() {
  if (file_ >= 0)
    close(file_);
}

void FileWriter::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty() && error_ == 0) {
    ssize_t written = write(file_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno != EINTR)
        error_ = errno;
      continue;
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset_ += static_cast<uint64_t>(written);
  }
}

void FileWriter::PadTo(uint64_t offset) {
  static constexpr std::array<std::byte, 256> kZeros{};
  while (offset_ < offset && error_ == 0)
    Write(std::span(kZeros).first(std::min<uint64_t>(kZeros.size(), offset - offset_)));
}

absl::Status FileWriter::Close() {
  if (error_ == 0 && fsync(file_) != 0)
    error_ = errno;
  if (file_ >= 0 && close(std::exchange(file_, -1)) != 0 && error_ == 0)
    error_ = errno;
  if (error_ == 0)
    return absl::OkStatus();
  std::string why = error_ == ENOSPC ? "the disk is full; free some space or choose another output"
                                     : std::string(std::strerror(error_));
  return absl::ResourceExhaustedError(fmt::format("{}: cannot be written: {}", path_, why));
}

} // namespace inlay
