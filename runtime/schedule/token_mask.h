// The mask of allowed next tokens of a sequence. It is computed on a thread other than the engine's.
#ifndef INLAY_RUNTIME_SCHEDULE_TOKEN_MASK_H_
#define INLAY_RUNTIME_SCHEDULE_TOKEN_MASK_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace inlay {

struct TokenMask {
  // Bit i % 32 of word i / 32 is set if token i is allowed. While `is_ready`, the words do not change, and the
  // ranks' threads read them; otherwise only the thread that computes them accesses them.
  std::vector<uint32_t> words;
  std::atomic<bool> is_ready{false};

  bool Allows(int32_t id) const { return (words[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0; }
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_TOKEN_MASK_H_
