// A row that each warp of a block receives its part of, while it stages the row for a product (tile.receive_sum ...
// pushed, in tile.for_warps). Products take most of a thread's registers, so the lanes of a warp wait together: behind
// a loop that they leave one by one, ptxas keeps in registers of each lane what is the same in all of them, 10 to 20
// more (8B with two ranks: 134 and 121 registers for gate and up).
#pragma once
#include "peers.h"
#include "warp.h"

// Words of 16 bytes that a lane waits for at a time: all that come from other ranks, so that one round trip to memory
// brings them, or as many as were compiled without spills for rows of 8,192 columns.
template <int ranks> constexpr int words_together = ranks <= 4 ? 8 : 4;

// sums[0..) = the elements of `words`, or `sums` plus these. With the additions of sum_of_ranks (peers.h), the
// kernel of rows of 8,192 columns on two ranks takes 122 registers instead of 118.
template <typename T> __device__ __forceinline__ void add_elements(float *sums, uint4 words, bool is_first) {
  T elements[elements_of_words<T>];
  memcpy(elements, &words, 16);
#pragma unroll
  for (int i = 0; i < elements_of_words<T>; ++i) {
    float x = to_float(elements[i]);
    sums[i] = is_first ? x : sums[i] + x;
  }
}
// The words of `sums`, rounded once, as they may be sent.
template <typename T> __device__ __forceinline__ uint4 round_sums(const float *sums) {
  unsigned words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if constexpr (sizeof(T) == 4)
      words[i] = without_poison<T>(static_cast<unsigned>(__float_as_int(sums[i])));
    else
      words[i] = without_poison<T>(static_cast<unsigned>(pack<T>(sums[2 * i], sums[2 * i + 1])));
  return {words[0], words[1], words[2], words[3]};
}

// sums[0..pieces * 16 bytes) = the sums of the pieces of all ranks, of which this one has `own`, with the bits of
// receive_piece; 0 where a piece is not present or the round fails. All lanes of the warp call it. `slot` is what a
// rank has of the step in bytes, `offsets` where pieces begin in the rows in elements.
template <int pieces, int ranks, typename T>
__device__ __forceinline__ void receive_pieces(Round<ranks> &round, T *sums, const T *own, long long slot,
                                               const long long *offsets, const bool *present) {
  constexpr int elements = elements_of_words<T>;
  constexpr int senders = ranks < words_together<ranks> ? ranks : words_together<ranks>;
  constexpr int together = words_together<ranks> / senders; // pieces
#pragma unroll
  for (int first = 0; first < pieces; first += together) {
    float totals[together][elements];
#pragma unroll
    for (int sender = 0; sender < ranks; sender += senders) {
      uint4 words[together][senders];
      auto for_words = [&](auto &&use) {
#pragma unroll
        for (int i = 0; i < together; ++i)
#pragma unroll
          for (int t = 0; t < senders; ++t)
            if (first + i < pieces && sender + t < ranks)
              use(words[i][t], first + i, sender + t);
      };
      auto poll = [&](uint4 &word, int i, int t) {
        if (!has_arrived(word))
          word = poll_words(round.own + offsets[i] * sizeof(T) + t * slot);
      };
      for_words([&](uint4 &word, int i, int t) {
        uint4 mine;
        memcpy(&mine, own + i * elements, 16);
        word = t == static_cast<int>(round.rank) || !present[i] ? without_poison<T>(mine) : missing_words;
        poll(word, i, t);
      });
      unsigned long long begin = 0;
      for (int spins = 1;; ++spins) {
        int missing = -1;
        for_words([&](uint4 &word, int, int t) { missing = has_arrived(word) ? missing : t; });
        if (all_lanes(missing < 0 || round.failed))
          break;
        for_words(poll);
        if (spins % spins_of_check == 0 && missing >= 0)
          check_time(round, begin, missing);
      }
      for_words([&](uint4 &word, int i, int t) { add_elements<T>(totals[i - first], word, t == 0); });
    }
#pragma unroll
    for (int i = 0; i < together; ++i)
      if (first + i < pieces) {
        uint4 sum = round_sums<T>(totals[i]);
        if (!present[first + i] || round.failed)
          sum = {0, 0, 0, 0};
        memcpy(sums + (first + i) * elements, &sum, 16);
      }
  }
}
