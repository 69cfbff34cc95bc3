#include "runtime/bundle/strip_cache.h"

#include "fmt/format.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace inlay {

// Read at the speed of the disk, and few enough bytes for threads not to wait long for each other.
static constexpr uint64_t kStripBytes = uint64_t{1} << 20;

StripCache::StripCache(uint64_t bytes, ReadBytes read)
    : bytes_(bytes), read_(std::move(read)), strips_((bytes + kStripBytes - 1) / kStripBytes) {}

uint64_t StripCache::BytesOf(uint64_t strip) const { return std::min(kStripBytes, bytes_ - strip * kStripBytes); }

absl::Status StripCache::Find(uint64_t strip, Bytes &bytes) {
  std::lock_guard lock(strips_[strip].mutex);
  if (!strips_[strip].bytes) {
    auto read = std::make_shared_for_overwrite<std::byte[]>(BytesOf(strip));
    if (absl::Status status = read_(strip * kStripBytes, std::span(read.get(), BytesOf(strip))); !status.ok())
      return status;
    strips_[strip].bytes = std::move(read);
  }
  bytes = strips_[strip].bytes;
  return absl::OkStatus();
}

absl::Status StripCache::Read(uint64_t offset, std::span<std::byte> out) {
  if (offset > bytes_ || out.size() > bytes_ - offset)
    return absl::InternalError(
        fmt::format("reads {} bytes from byte {} of a tensor of {} bytes", out.size(), offset, bytes_));
  while (!out.empty()) {
    Bytes bytes;
    if (absl::Status status = Find(offset / kStripBytes, bytes); !status.ok())
      return status;
    uint64_t inside = offset % kStripBytes;
    uint64_t count = std::min<uint64_t>(out.size(), BytesOf(offset / kStripBytes) - inside);
    std::memcpy(out.data(), bytes.get() + inside, count);
    out = out.subspan(count);
    offset += count;
  }
  return absl::OkStatus();
}

void StripCache::Release() {
  for (Strip &strip : strips_) {
    std::lock_guard lock(strip.mutex);
    strip.bytes.reset();
  }
}

} // namespace inlay
