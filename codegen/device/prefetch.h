// Parts of weights that the next launch reads first, brought to the L2 cache.
#pragma once
#include "bulk_copy.h"
#include "grid.h"

// What one instruction brings at most. Small enough that the threads of all blocks have some.
constexpr int prefetch_bytes = 4096;

// `weights` are `groups` runs of `group_bytes`. Brings `bytes` of each run from every multiple of `share_bytes` on. All
// of these are multiples of 16. All threads of the grid call it and divide the pieces: piece i is for block i modulo
// the number of blocks, so that all multiprocessors have as many.
template <typename T>
__device__ __forceinline__ void prefetch_parts(const T *weights, int groups, int group_bytes, int share_bytes,
                                               int bytes) {
  int shares = (group_bytes + share_bytes - 1) / share_bytes, pieces = (bytes + prefetch_bytes - 1) / prefetch_bytes;
  int first = static_cast<int>(block_number() + block_count() * threadIdx.x);
  for (int i = first; i < groups * shares * pieces; i += static_cast<int>(block_count() * blockDim.x)) {
    int at = i % pieces * prefetch_bytes, part = i / pieces;
    long long offset = static_cast<long long>(part / shares) * group_bytes + part % shares * share_bytes + at;
    prefetch_l2(reinterpret_cast<const char *>(weights) + offset, min(prefetch_bytes, bytes - at));
  }
}
