// The columns of rows of all ranks side by side, in several rounds of the exchange (peers.h) if there are many rows.
#pragma once
#include "peers.h"

// Goes on with the next round in the same kernel, after one that wrote `bytes` of its buffer.
template <int ranks>
__device__ __forceinline__ void continue_with_next_round(Round<ranks> &round, unsigned long long bytes) {
  round.number = round_after(round.number);
  round.previous_words = static_cast<unsigned>(bytes / 16);
  find_buffers(round);
}

// y[rows][y_columns] = the columns of x[rows][columns] of all ranks side by side, as far as rows of y go. Each round
// exchanges `round_rows` rows, the last one what is left. All ranks have the same rows, so they have the same rounds.
//
// Blocks do not wait for each other between the rounds of a kernel, so if there are several, what peers.h says of ranks
// must hold for each word. Word i of a slot belongs to one thread, the same in all rounds and on all ranks. In a round
// this thread
// - restores the poison of all words of the buffer of the round before whose number is i modulo the words of a slot.
//   These are the words i of all slots, which it has read, and in the first round words of the kernel before.
// - then pushes word i. It must not push first: where the last round has no word i, word i of the round before is what
//   tells the other ranks that their next kernel may write this buffer. The fence orders the poison before what they
//   push when they have received the word.
// - receives word i of all ranks.
// Therefore each rank pushes all its words, also those that no row of y has: who receives word i of all ranks in the
// last full round knows that all of them have restored the poison of earlier rounds. The last round may have fewer
// words. The kernel that follows it begins when all blocks have ended.
template <int ranks, typename T>
__device__ __forceinline__ void all_gather(T *y, const T *x, PeerTable *table, int rows, int columns, int y_columns,
                                           int round_rows) {
  constexpr int elements = elements_of_words<T>;
  const int row_words = ceil_div(columns, elements), slot_words = min(rows, round_rows) * row_words;
  const unsigned long long slot = 16ull * slot_words;
  if (rows <= 0)
    return;
  Round<ranks> round = begin_round<ranks>(table);
  arrive(round);
  for (int first = 0;;) {
    const int words = min(rows - first, round_rows) * row_words;
    if (rows > round_rows) {
      for (int i = first_word(); i < slot_words; i += next_word())
        for (unsigned j = i; j < round.previous_words; j += slot_words)
          reinterpret_cast<uint4 *>(round.previous)[j] = missing_words;
      fence_of_all_gpus();
    }
    for (int i = first_word(); i < words && !round.failed; i += next_word()) {
      int row = first + i / row_words, column = i % row_words * elements;
      push_to_all(round, round.rank * slot + 16ull * i,
                  load_sent(x + static_cast<long long>(row) * columns + column, columns - column));
    }
    if (rows <= round_rows)
      clear_previous(round); // by all threads: there may be few words to gather
    for (int i = first_word(); i < words && !round.failed; i += next_word()) {
      int row = first + i / row_words, column = i % row_words * elements;
      uint4 received[ranks];
      receive_all(round, received, 16ull * i, slot);
#pragma unroll
      for (int t = 0; t < ranks; ++t)
        if (int y_column = t * columns + column; y_column < y_columns && !round.failed)
          store_received(y + static_cast<long long>(row) * y_columns + y_column, received[t],
                         min(columns - column, y_columns - y_column));
    }
    first += round_rows;
    if (first >= rows)
      break;
    continue_with_next_round(round, ranks * slot);
  }
  end_round(round, table, ranks * slot);
}
