// Accesses to memory that other GPUs read and write while a kernel runs.
#pragma once
#include "base.h"

// Writes 16 bytes. All GPUs see each of the four words whole; the words may arrive one after the other.
__device__ __forceinline__ void push_words(void *to, uint4 words) {
  asm volatile("st.relaxed.sys.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(words.x), "r"(words.y),
               "r"(words.z), "r"(words.w)
               : "memory");
}
// Writes 4, 8 or 16 bytes in the same way. The address is a multiple of them.
template <int count> __device__ __forceinline__ void push_words(void *to, const unsigned (&words)[count]) {
  static_assert(count == 1 || count == 2 || count == 4, "one word, two or four");
  if constexpr (count == 4)
    push_words(to, uint4{words[0], words[1], words[2], words[3]});
  else if constexpr (count == 2)
    asm volatile("st.relaxed.sys.global.v2.u32 [%0], {%1, %2};" ::"l"(to), "r"(words[0]), "r"(words[1]) : "memory");
  else
    asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(to), "r"(words[0]) : "memory");
}
// Reads 16 bytes as they are now.
__device__ __forceinline__ uint4 poll_words(const void *from) {
  uint4 words;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "l"(from)
               : "memory");
  return words;
}
// Orders what this thread has written and read before what it writes afterwards, for all GPUs.
__device__ __forceinline__ void fence_of_all_gpus() { asm volatile("fence.acq_rel.sys;" ::: "memory"); }
// Reads a number that other blocks or earlier launches wrote, past the cache of the multiprocessor.
template <typename T> __device__ __forceinline__ T read_now(const T *p) { return *static_cast<const volatile T *>(p); }
// Adds 1 and returns the number before.
__device__ __forceinline__ unsigned take_ticket(unsigned *tickets) { return atomicAdd(tickets, 1u); }
// Writes `value` where 0 stands; whether this thread did.
__device__ __forceinline__ bool claim(unsigned *p, unsigned value) { return atomicCAS(p, 0u, value) == 0u; }
// Nanoseconds of a clock that all multiprocessors share.
__device__ __forceinline__ unsigned long long global_time() {
  unsigned long long time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  return time;
}
