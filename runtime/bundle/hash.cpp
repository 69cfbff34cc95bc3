#include "runtime/bundle/hash.h"

#include "fmt/format.h"
#include "xxhash.h"

namespace inlay {
namespace {

std::string ToText(XXH128_hash_t hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

} // namespace

struct ChunkHash::State {
  State() { XXH3_128bits_reset(xxh3); }
  State(const State &) = delete;
  State &operator=(const State &) = delete;
  ~State() { XXH3_freeState(xxh3); }

  XXH3_state_t *xxh3 = XXH3_createState();
};

std::string HashBytes(std::span<const std::byte> bytes) { return ToText(XXH3_128bits(bytes.data(), bytes.size())); }

ChunkHash::ChunkHash() = default;
ChunkHash::ChunkHash(ChunkHash &&) noexcept = default;
ChunkHash::~ChunkHash() = default;

void ChunkHash::Add(std::span<const std::byte> bytes) {
  if (!state_)
    state_ = std::make_unique<State>();
  XXH3_128bits_update(state_->xxh3, bytes.data(), bytes.size());
}

std::string ChunkHash::Finish() {
  if (!state_)
    return HashBytes({});
  std::string text = ToText(XXH3_128bits_digest(state_->xxh3));
  state_.reset();
  return text;
}

} // namespace inlay
