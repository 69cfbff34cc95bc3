// What the ranks of one engine write for each other to read. Ranks are threads of one process, or processes that have
// mapped the same memory.
#ifndef INLAY_RUNTIME_DISTRIBUTED_RANK_BOARD_H_
#define INLAY_RUNTIME_DISTRIBUTED_RANK_BOARD_H_

#include <array>
#include <atomic>
#include <cstdint>

namespace inlay {

// It holds no pointers and no locks: a process can end at any time, and another one must still be able to go on. Only
// the process of a rank writes what belongs to the rank.
struct RankBoard {
  static constexpr uint32_t kMaxRanks = 64; // compile-model makes no more
  static constexpr size_t kMaxMessage = 1500;

  struct alignas(64) Rank {
    std::atomic<int64_t> step{0}, calls{0};
    // The name of what it does, of at most 16 characters: RankActivity::what. A reader may see parts of two names.
    std::array<std::atomic<uint64_t>, 2> name{};
    std::atomic<uint64_t> bytes{0};
    std::atomic<bool> is_call{false};
    std::atomic<int64_t> since{0}; // of the steady clock, which all processes of a host share
    // Why the group failed, if this rank's process failed it. Written before `failed` of the board.
    int32_t code = 0;
    uint32_t message_size = 0;
    std::array<char, kMaxMessage> message{};
  };

  std::atomic<uint32_t> failed{0};  // 1 + the rank whose process failed the group first; 0: the group has not failed
  std::atomic<uint32_t> changes{0}; // a futex on which ranks sleep: it grows when something changed while one sleeps
  std::atomic<uint32_t> sleeping{0};
  std::array<Rank, kMaxRanks> ranks;
};

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free &&
              std::atomic<bool>::is_always_lock_free);

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_RANK_BOARD_H_
