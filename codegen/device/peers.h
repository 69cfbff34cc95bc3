// Collectives of ranks whose GPUs write each other's memory, without barriers between the ranks.
//
// Each rank has exchange memory that all ranks can write: three buffers of `round_bytes`. Collectives are numbered as
// rounds; round r uses buffer r % 3. A buffer that is not in use is filled with a poison word that no rank sends, so a
// rank sees by the words themselves which of them have arrived (TensorRT-LLM and FlashInfer call this Lamport). In
// round r a rank restores the poison in its buffer of round r - 1, whose words it has all read. A faster rank may
// already write round r + 1, but not r + 2, which uses that buffer again: for it, it needs this rank's words of round r
// + 1.
//
// A block reads words that blocks of the same number push, so that blocks of one launch do not wait for each other.
// All functions are called by all threads of a grid, once in a kernel; push_piece, receive_piece and receive_pushed may
// be called for several pieces. A kernel has one round, that of all_gather (all_gather.h) may have several.
// Blocks of peer_rows.h all read what one launch before theirs has pushed on the other ranks.
#pragma once
#include "grid.h"
#include "peer_access.h"
#include "warp.h"

// As the host fills it: runtime/device/peer_table.h, which has a description of each field.
struct PeerTable {
  unsigned round;
  unsigned arrived;
  unsigned previous_words;
  unsigned failed;
  unsigned failed_round;
  unsigned rank;
  unsigned long long exchange[8];
  unsigned long long round_bytes;
  unsigned long long timeout_ns;
};
static_assert(sizeof(PeerTable) == 104, "runtime/device/peer_table.h has the same fields");

// Two halves of -0.0.
constexpr unsigned poison = 0x80008000u;
// Words as a rank may send them: -0.0 of 16 bits as 0.0, and the float that looks like the poison, -4.6e-41, as well.
template <typename T> __device__ __forceinline__ unsigned without_poison(unsigned word) {
  if constexpr (sizeof(T) == 4)
    return word == poison ? 0u : word;
  unsigned low = word & 0xffffu, high = word >> 16;
  return (low == 0x8000u ? 0u : low) | (high == 0x8000u ? 0u : high << 16);
}
template <typename T> __device__ __forceinline__ uint4 without_poison(uint4 words) {
  return {without_poison<T>(words.x), without_poison<T>(words.y), without_poison<T>(words.z),
          without_poison<T>(words.w)};
}
constexpr uint4 missing_words = {poison, poison, poison, poison};
__device__ __forceinline__ bool has_arrived(uint4 words) {
  return words.x != poison && words.y != poison && words.z != poison && words.w != poison;
}

// The sum of the words of all ranks, in the order of the ranks, rounded once, as it may be sent.
template <typename T, int ranks> __device__ __forceinline__ unsigned sum_words(const unsigned (&words)[ranks]) {
  if constexpr (sizeof(T) == 4) {
    float sum = __uint_as_float(words[0]);
#pragma unroll
    for (int t = 1; t < ranks; ++t)
      sum += __uint_as_float(words[t]);
    return without_poison<T>(static_cast<unsigned>(__float_as_int(sum)));
  } else {
    float low = to_float(low_half<T>(words[0])), high = to_float(high_half<T>(words[0]));
#pragma unroll
    for (int t = 1; t < ranks; ++t) {
      low += to_float(low_half<T>(words[t]));
      high += to_float(high_half<T>(words[t]));
    }
    return without_poison<T>(static_cast<unsigned>(pack<T>(low, high)));
  }
}
template <typename T, int ranks> __device__ __forceinline__ uint4 sum_of_ranks(const uint4 (&words)[ranks]) {
  unsigned x[ranks], y[ranks], z[ranks], w[ranks];
#pragma unroll
  for (int t = 0; t < ranks; ++t)
    x[t] = words[t].x, y[t] = words[t].y, z[t] = words[t].z, w[t] = words[t].w;
  return {sum_words<T>(x), sum_words<T>(y), sum_words<T>(z), sum_words<T>(w)};
}

// The elements of 16 bytes.
template <typename T> constexpr int elements_of_words = 16 / sizeof(T);
template <typename T> __device__ __forceinline__ bool is_aligned(const T *p) {
  return reinterpret_cast<unsigned long long>(p) % 16 == 0;
}
// p[0..count), and zeros up to 16 bytes, as they are sent.
template <typename T> __device__ __forceinline__ uint4 load_sent(const T *p, int count) {
  uint4 words = {0, 0, 0, 0};
  if (count >= elements_of_words<T> && is_aligned(p)) {
    words = *reinterpret_cast<const uint4 *>(p);
  } else {
    T elements[elements_of_words<T>] = {};
#pragma unroll
    for (int i = 0; i < elements_of_words<T>; ++i)
      if (i < count)
        elements[i] = p[i];
    memcpy(&words, elements, 16);
  }
  return without_poison<T>(words);
}
// p[0..count) = the first elements of `words`.
template <typename T> __device__ __forceinline__ void store_received(T *p, uint4 words, int count) {
  if (count >= elements_of_words<T> && is_aligned(p)) {
    *reinterpret_cast<uint4 *>(p) = words;
    return;
  }
  T elements[elements_of_words<T>];
  memcpy(elements, &words, 16);
#pragma unroll
  for (int i = 0; i < elements_of_words<T>; ++i)
    if (i < count)
      p[i] = elements[i];
}

// A thread's view of the round that runs.
template <int ranks> struct Round {
  PeerTable *table;
  unsigned number, rank;
  unsigned char *buffers[ranks]; // of this round, by rank
  unsigned char *own, *previous; // this rank's, and that of the round before
  unsigned previous_words;
  unsigned ticket; // of this block, in its first thread, when it has arrived
  bool failed;     // a word did not arrive in time, now or in an earlier round: nothing more is sent or stored
};
// Fills in the buffers of round `number`.
template <int ranks> __device__ __forceinline__ void find_buffers(Round<ranks> &round) {
  unsigned long long bytes = round.table->round_bytes;
#pragma unroll
  for (int t = 0; t < ranks; ++t) {
    auto *exchange = reinterpret_cast<unsigned char *>(round.table->exchange[t]);
    round.buffers[t] = exchange + round.number % 3 * bytes;
    if (t == static_cast<int>(round.rank)) {
      round.own = round.buffers[t];
      round.previous = exchange + (round.number % 3 + 2) % 3 * bytes; // number + 2 may be past the last number
    }
  }
}
template <int ranks> __device__ __forceinline__ Round<ranks> begin_round(PeerTable *table) {
  Round<ranks> round;
  round.table = table;
  // One read of what kernels change: thousands of threads read it, all from one place of the cache that they share.
  // What only the host writes stays in the cache of the multiprocessor.
  uint4 state = poll_words(&table->round);
  round.number = state.x;
  round.rank = table->rank;
  round.previous_words = state.z;
  round.failed = state.w != 0;
  round.ticket = ~0u;
  find_buffers(round);
  return round;
}
// Counts the block among those that have read the table. The number comes back while the block waits for other ranks.
template <int ranks> __device__ __forceinline__ void arrive(Round<ranks> &round) {
  __syncthreads(); // all threads have read the table
  if (threadIdx.x == 0)
    round.ticket = take_ticket(&round.table->arrived);
}
// Thread i of the grid, of n threads, takes words i, i + n and so on.
__device__ __forceinline__ int first_word() { return static_cast<int>(block_number() * blockDim.x + threadIdx.x); }
__device__ __forceinline__ int next_word() { return static_cast<int>(block_count() * blockDim.x); }

template <int ranks>
__device__ __forceinline__ void push_to_all(const Round<ranks> &round, unsigned long long offset, uint4 words) {
#pragma unroll
  for (int t = 0; t < ranks; ++t)
    push_words(round.buffers[t] + offset, words);
}
template <int ranks>
__device__ __forceinline__ void push_to_others(const Round<ranks> &round, unsigned long long offset, uint4 words) {
#pragma unroll
  for (int t = 0; t < ranks; ++t)
    if (t != static_cast<int>(round.rank))
      push_words(round.buffers[t] + offset, words);
}
// Restores the poison in the buffer of the round before.
template <int ranks> __device__ __forceinline__ void clear_previous(const Round<ranks> &round) {
  for (unsigned i = first_word(); i < round.previous_words; i += next_word())
    reinterpret_cast<uint4 *>(round.previous)[i] = missing_words;
}
// Fails the round when it has waited for the words of rank `from` for longer than the table allows, or when another
// thread has failed it. `begin` is the time of the first call, and 0 before it.
template <int ranks>
__device__ __forceinline__ void check_time(Round<ranks> &round, unsigned long long &begin, int from) {
  unsigned long long now = global_time();
  begin = begin == 0 ? now : begin;
  bool is_late = now - begin > round.table->timeout_ns;
  if (is_late && claim(&round.table->failed, static_cast<unsigned>(from) + 1))
    round.table->failed_round = round.number;
  round.failed = is_late || read_now(&round.table->failed) != 0;
}
constexpr int spins_of_check = 1024; // about 1 ms
// words[t] = what lies at `offset` + t * `stride` of this rank's buffer, for t < count, as soon as all of it has
// arrived; it comes from rank t. The words are undefined if the round fails. Words that are given have arrived.
template <int ranks>
__device__ __forceinline__ void receive(Round<ranks> &round, uint4 (&words)[ranks], unsigned long long offset,
                                        unsigned long long stride, int count = ranks) {
  const unsigned char *from = round.own + offset;
#pragma unroll
  for (int t = 0; t < ranks; ++t)
    if (t < count && !has_arrived(words[t]))
      words[t] = poll_words(from + t * stride);
  unsigned long long begin = 0;
  for (int spins = 1; !round.failed; ++spins) {
    int missing = -1;
#pragma unroll
    for (int t = 0; t < ranks; ++t)
      if (t < count && !has_arrived(words[t])) {
        missing = t;
        words[t] = poll_words(from + t * stride);
      }
    if (missing < 0)
      return;
    if (spins % spins_of_check == 0)
      check_time(round, begin, missing);
  }
}
template <int ranks>
__device__ __forceinline__ void receive_all(Round<ranks> &round, uint4 (&words)[ranks], unsigned long long offset,
                                            unsigned long long stride, int count = ranks) {
#pragma unroll
  for (int t = 0; t < ranks; ++t)
    words[t] = missing_words;
  receive(round, words, offset, stride, count);
}
// The same of all ranks but this one, whose words are `own`, as they may be sent.
template <int ranks>
__device__ __forceinline__ void receive_others(Round<ranks> &round, uint4 (&words)[ranks], uint4 own,
                                               unsigned long long offset, unsigned long long stride) {
#pragma unroll
  for (int t = 0; t < ranks; ++t)
    words[t] = t == static_cast<int>(round.rank) ? own : missing_words;
  receive(round, words, offset, stride);
}
// The number after the last round, a multiple of 3: the buffers rotate when the numbers start again.
constexpr unsigned last_round = 0xffffffffu;
__device__ __forceinline__ unsigned round_after(unsigned number) { return number + 1 == last_round ? 0 : number + 1; }
// `bytes`: of the buffer that this round wrote. When all blocks have read the table, it may be that of the next round,
// which no kernel reads before this one has ended.
__device__ __forceinline__ void let_next_begin(PeerTable *table, unsigned number, unsigned long long bytes) {
  table->arrived = 0;
  table->previous_words = static_cast<unsigned>(bytes / 16);
  table->round = round_after(number);
}
// Ends a round in which the block has arrived.
template <int ranks>
__device__ __forceinline__ void end_round(const Round<ranks> &round, PeerTable *table, unsigned long long bytes) {
  if (threadIdx.x == 0 && round.ticket == block_count() - 1)
    let_next_begin(table, round.number, bytes);
}
// The same for a kernel with much work after it has received its pieces: its blocks arrive here, and it keeps nothing
// of the round in registers.
__device__ __forceinline__ void end_round(PeerTable *table, unsigned long long bytes) {
  __syncthreads();
  if (threadIdx.x == 0 && take_ticket(&table->arrived) == block_count() - 1)
    let_next_begin(table, read_now(&table->round), bytes);
}

// y[0..count) = the sum of x[0..count) of all ranks. Each rank pushes its elements to slot `rank` of all others, and
// each rank sums them: one hop, and ranks - 1 times the bytes over each link.
template <int ranks, typename T>
__device__ __forceinline__ void all_reduce_one_shot(T *y, const T *x, PeerTable *table, int count) {
  constexpr int elements = elements_of_words<T>;
  const int words = ceil_div(count, elements);
  const unsigned long long slot = 16ull * words;
  auto sent = [&](int i) { return load_sent(x + i * elements, count - i * elements); };
  // The first elements are on their way while the table is read.
  uint4 first = {0, 0, 0, 0};
  if (first_word() < words)
    first = sent(first_word());
  Round<ranks> round = begin_round<ranks>(table);
  arrive(round);
  for (int i = first_word(); i < words && !round.failed; i += next_word())
    push_to_others(round, round.rank * slot + 16ull * i, i == first_word() ? first : sent(i));
  clear_previous(round);
  for (int i = first_word(); i < words && !round.failed; i += next_word()) {
    // The same thread has pushed these elements of x, which may be y.
    uint4 received[ranks], own = i == first_word() ? first : sent(i);
    receive_others(round, received, own, 16ull * i, slot);
    if (!round.failed)
      store_received(y + i * elements, sum_of_ranks<T>(received), count - i * elements);
  }
  end_round(round, table, ranks * slot);
}

// The same in two hops, and 2 * (ranks - 1) / ranks times the bytes over each link: rank p sums part p of the elements,
// which comes to slots by sender, and pushes the sum to all ranks, behind these slots.
template <int ranks, typename T>
__device__ __forceinline__ void all_reduce_two_shot(T *y, const T *x, PeerTable *table, int count) {
  constexpr int elements = elements_of_words<T>;
  const int words = ceil_div(count, elements), part = ceil_div(words, ranks);
  const unsigned long long slot = 16ull * part;
  Round<ranks> round = begin_round<ranks>(table);
  arrive(round);
  for (int i = first_word(); i < part && !round.failed; i += next_word()) {
    uint4 sent[ranks];
#pragma unroll
    for (int p = 0; p < ranks; ++p)
      if (int word = p * part + i; word < words)
        sent[p] = load_sent(x + word * elements, count - word * elements);
#pragma unroll
    for (int p = 0; p < ranks; ++p)
      if (p * part + i < words)
        push_words(round.buffers[p] + round.rank * slot + 16ull * i, sent[p]);
  }
  clear_previous(round);
  const int owned = static_cast<int>(round.rank) * part; // first word of this rank's part
  for (int i = first_word(); i < part && owned + i < words && !round.failed; i += next_word()) {
    uint4 received[ranks];
    receive_all(round, received, 16ull * i, slot);
    if (!round.failed)
      push_to_all(round, (ranks + round.rank) * slot + 16ull * i, sum_of_ranks<T>(received));
  }
  for (int i = first_word(); i < part && !round.failed; i += next_word()) {
    uint4 received[ranks];
    receive_all(round, received, ranks * slot + 16ull * i, slot, ceil_div(words - i, part));
    // The same thread has read these elements of x, which may be y.
#pragma unroll
    for (int p = 0; p < ranks; ++p)
      if (int word = p * part + i; word < words && !round.failed)
        store_received(y + word * elements, received[p], count - word * elements);
  }
  end_round(round, table, 2 * ranks * slot);
}

// A tile of the sum over ranks of x[rows][columns] (tile.receive_sum), in pieces of 16 bytes of a row. A kernel begins
// the round, pushes its pieces unless the launch before it has pushed them, clears the buffer of the round before,
// receives the pieces, and ends the round. `slot` is what a rank has of the step in bytes, `offset` where the piece
// begins in x in elements; it lies at the same place of a slot for each rank.
//
// `is_first`: whether the piece exists, and no other thread has it. A piece must be pushed once: a word that arrives
// after another thread's has been read could be one of a later round.
template <int ranks, typename T>
__device__ __forceinline__ void push_piece(const Round<ranks> &round, const T *piece, long long slot, long long offset,
                                           bool is_first) {
  uint4 words;
  memcpy(&words, piece, 16);
  if (is_first && !round.failed)
    push_to_others(round, round.rank * slot + offset * sizeof(T), without_poison<T>(words));
}
// piece[0..16 bytes) = the sum of the pieces of all ranks, of which this one has `own`; 0 where there is none or the
// round fails.
template <int ranks, typename T>
__device__ __forceinline__ void receive_piece(Round<ranks> &round, T *piece, const T *own, long long slot,
                                              long long offset, bool present) {
  uint4 sum = {0, 0, 0, 0};
  if (present) {
    uint4 received[ranks], words;
    memcpy(&words, own, 16);
    receive_others(round, received, without_poison<T>(words), offset * sizeof(T), slot);
    if (!round.failed)
      sum = sum_of_ranks<T>(received);
  }
  memcpy(piece, &sum, 16);
}
// The same where a kernel before pushes the pieces of all ranks, this one's as well, and may not have ended. All lanes
// of a warp call it. After some attempts one lane waits, since polls of all lanes would slow down that kernel.
template <int ranks, typename T>
__device__ __forceinline__ void receive_pushed(Round<ranks> &round, T *piece, long long slot, long long offset,
                                               bool present) {
  constexpr int attempts = 8; // about 6 us
  const unsigned char *from = round.own + offset * sizeof(T);
  uint4 words[ranks];
#pragma unroll
  for (int t = 0; t < ranks; ++t)
    words[t] = present ? missing_words : uint4{0, 0, 0, 0};
  for (int i = 0; i < attempts; ++i) {
    bool arrived = true;
#pragma unroll
    for (int t = 0; t < ranks; ++t)
      if (!has_arrived(words[t]))
        words[t] = poll_words(from + t * slot);
#pragma unroll
    for (int t = 0; t < ranks; ++t)
      arrived &= has_arrived(words[t]);
    if (all_lanes(arrived || round.failed))
      break;
  }
  if (threadIdx.x % 32 == 0)
    receive(round, words, offset * sizeof(T), slot);
  __syncwarp();
  receive(round, words, offset * sizeof(T), slot);
  uint4 sum = sum_of_ranks<T>(words);
  if (!present || round.failed)
    sum = {0, 0, 0, 0};
  memcpy(piece, &sum, 16);
}
// Whether all pieces of this thread have arrived. Otherwise it stores nothing.
template <int ranks> __device__ __forceinline__ bool is_complete(const Round<ranks> &round) { return !round.failed; }

// A kernel that computes rows pushes them itself, one launch before the kernel that receives the sum of them
// (tile.store ... through): this rank's slot in the buffers of all ranks in the round that runs next. Its own buffer
// has them as well, so that the next kernel sees which of them are there while this one runs.
template <int ranks> struct Pushes {
  // The slots, or where they lie from the start of exchange memory: with many ranks they take too many registers of a
  // kernel that multiplies while it has them.
  static constexpr bool has_slots = ranks <= 4;
  unsigned char *slots[has_slots ? ranks : 1];
  const PeerTable *table;
  unsigned long long offset;
  bool active; // false without peer memory, where a communicator sums the rows, and after a round has failed
};
template <int ranks> __device__ __forceinline__ unsigned char *slot_of(const Pushes<ranks> &pushes, int t) {
  if constexpr (Pushes<ranks>::has_slots)
    return pushes.slots[t];
  else
    return reinterpret_cast<unsigned char *>(pushes.table->exchange[t]) + pushes.offset;
}
// `slot` is what a rank has of the step in bytes. Earlier launches must have ended. The launch that receives the sum is
// the next one that begins a round, so that the number in the table is that of its round.
template <int ranks> __device__ __forceinline__ Pushes<ranks> begin_pushes(PeerTable *table, long long slot) {
  Pushes<ranks> pushes = {};
  if (table == nullptr)
    return pushes;
  uint4 state = poll_words(&table->round);
  pushes.table = table;
  pushes.offset = state.x % 3 * table->round_bytes + table->rank * slot;
  if constexpr (Pushes<ranks>::has_slots)
#pragma unroll
    for (int t = 0; t < ranks; ++t)
      pushes.slots[t] = reinterpret_cast<unsigned char *>(table->exchange[t]) + pushes.offset;
  pushes.active = state.w == 0;
  return pushes;
}
// Pushes registers[0..N), whole words which lie `offset` elements from the start of the rows. `is_first` is as for
// push_piece.
template <int N, int ranks, typename T>
__device__ __forceinline__ void push_elements(const Pushes<ranks> &pushes, const T *registers, long long offset,
                                              bool is_first) {
  static_assert(N * sizeof(T) % 4 == 0, "a word is pushed as a whole");
  constexpr int count = N * sizeof(T) / 4;
  unsigned words[count];
  memcpy(words, registers, sizeof words);
  if (!is_first || !pushes.active)
    return;
#pragma unroll
  for (int i = 0; i < count; ++i)
    words[i] = without_poison<T>(words[i]);
#pragma unroll
  for (int t = 0; t < ranks; ++t)
    push_words(slot_of(pushes, t) + offset * sizeof(T), words);
}
