// Keeps parts of a tensor in memory whose short pieces are read from several threads: those of a matrix that is stored
// transposed, of which a few rows are a few bytes of each line.
#ifndef INLAY_RUNTIME_BUNDLE_STRIP_CACHE_H_
#define INLAY_RUNTIME_BUNDLE_STRIP_CACHE_H_

#include "absl/status/status.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace inlay {

class StripCache {
public:
  using ReadBytes = std::function<absl::Status(uint64_t offset, std::span<std::byte> out)>;

  // Of a tensor of `bytes`, which `read` reads.
  StripCache(uint64_t bytes, ReadBytes read);

  // Reads out.size() bytes from byte `offset` on. A strip is read as a whole when its first piece is asked for.
  // Internal: bytes beyond the tensor.
  absl::Status Read(uint64_t offset, std::span<std::byte> out);

  // Frees all strips. One that is asked for later is read again.
  void Release();

private:
  using Bytes = std::shared_ptr<const std::byte[]>;
  struct Strip {
    std::mutex mutex;
    Bytes bytes;
  };
  uint64_t BytesOf(uint64_t strip) const;
  absl::Status Find(uint64_t strip, Bytes &bytes);

  const uint64_t bytes_;
  const ReadBytes read_;
  std::vector<Strip> strips_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_STRIP_CACHE_H_
