// What a kernel that exchanges through the memory of peers reads and writes: the table of its rank, in global memory.
#ifndef INLAY_RUNTIME_DEVICE_PEER_TABLE_H_
#define INLAY_RUNTIME_DEVICE_PEER_TABLE_H_

#include "runtime/bundle/collective.h"

#include <cstddef>
#include <cstdint>

namespace inlay {

inline constexpr uint32_t kExchangeRounds = 3;       // buffers in the exchange memory of a rank
inline constexpr uint32_t kPeerPoison = 0x80008000u; // a word that no rank has written

// The address of this table, a multiple of 16, is the last parameter of such a kernel. codegen/device/peers.h declares
// the same struct for kernels.
struct PeerTable {
  // Kernels write these members. The host only reads `failed` and `failed_round`. Each thread reads the first four at
  // once, because all threads of a kernel read the same place of the cache.
  uint32_t round;          // of the next collective operation, below kRoundCount
  uint32_t arrived;        // blocks of the running one that have ended
  uint32_t previous_words; // of 16 bytes, that the operation before wrote to each buffer
  uint32_t failed;         // 0, or 1 + the rank that did not deliver
  uint32_t failed_round;
  // Only the host writes these.
  uint32_t rank;
  uint64_t exchange[kMaxExchangeRanks]; // by rank: its exchange memory, as an address that this rank's GPU can use
  uint64_t round_bytes;                 // of each of the kExchangeRounds buffers
  uint64_t timeout_ns;                  // a kernel that waits longer for a peer gives up
};
static_assert(sizeof(PeerTable) == 104 && offsetof(PeerTable, previous_words) == 8 &&
              offsetof(PeerTable, failed_round) == 16 && offsetof(PeerTable, exchange) == 24);

// Rounds are counted modulo a multiple of kExchangeRounds, so that the buffers come in turn when the counter starts
// again, which it does after some hours.
inline constexpr uint32_t kRoundCount = 0xffffffffu;
static_assert(kRoundCount % kExchangeRounds == 0);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_PEER_TABLE_H_
