// The hash in manifests: 128-bit XXH3 as 32 hexadecimal digits. It detects damage, not forgery.
#ifndef INLAY_RUNTIME_BUNDLE_HASH_H_
#define INLAY_RUNTIME_BUNDLE_HASH_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace inlay {

std::string HashBytes(std::span<const std::byte> bytes);

// The hash of bytes that come in parts.
class ChunkHash {
public:
  ChunkHash();
  ChunkHash(ChunkHash &&) noexcept;
  ~ChunkHash();
  void Add(std::span<const std::byte> bytes);
  // The hash of all that was added. Frees what was used for it.
  std::string Finish();

private:
  struct State;
  std::unique_ptr<State> state_; // made by the first Add()
};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_HASH_H_
