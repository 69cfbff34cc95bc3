// Communication between the lanes of a warp and between the blocks of a cluster.
#pragma once
#include "shared_address.h"

template <typename T> __device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <typename T> __device__ __forceinline__ T shuffle_from(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
// The number of the lane, which the compiler does not know beforehand: nothing that depends on it moves out of a loop.
__device__ __forceinline__ int read_lane() {
  int lane;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}
__device__ __forceinline__ bool all_lanes(bool value) { return __all_sync(0xffffffffu, value); }
// The sum over the lanes, in all of them.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2)
    value += shuffle_xor(value, mask);
  return value;
}

__device__ __forceinline__ int cluster_rank() {
  int rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// A barrier of all threads of the cluster. What a thread wrote to its own block's shared memory is visible to all after
// it. (An arrive that releases all memory would wait for the whole GPU: MEMBAR.ALL.GPU.)
__device__ __forceinline__ void cluster_barrier() {
  asm volatile("fence.release.sync_restrict::shared::cta.cluster;\nbarrier.cluster.arrive.relaxed.aligned;\n"
               "barrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}
// A barrier of all threads of the cluster, after which their earlier reads of other blocks' memory are complete. It
// does not make writes visible.
__device__ __forceinline__ void cluster_leave() {
  asm volatile("fence.acq_rel.cta;\nbarrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}
// Signals that this block has started. After cluster_wait all blocks have started, and the mbarriers that they
// initialised and fenced can be used.
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
// Loads four bytes from the same address in the shared memory of another block of the cluster.
template <typename T> __device__ __forceinline__ T load_of_block(const T *p, int rank) {
  static_assert(sizeof(T) == 4, "distributed shared memory is read in words");
  unsigned address = shared_address(p), remote, word;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(word) : "r"(remote) : "memory");
  T value;
  memcpy(&value, &word, 4);
  return value;
}
// registers[0..N) = p[0..N) in the shared memory of block `rank`, for N of 1, 2 or 4. The address is a multiple of 4 N.
template <int N, typename T> __device__ __forceinline__ void load_vector_of_block(T *registers, const T *p, int rank) {
  static_assert(sizeof(T) == 4 && (N == 1 || N == 2 || N == 4), "a load has 4, 8 or 16 bytes");
  unsigned remote, words[N];
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(shared_address(p)), "r"(rank));
  if constexpr (N == 1)
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(words[0]) : "r"(remote) : "memory");
  else if constexpr (N == 2)
    asm volatile("ld.shared::cluster.v2.u32 {%0, %1}, [%2];" : "=r"(words[0]), "=r"(words[1]) : "r"(remote) : "memory");
  else
    asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(remote)
                 : "memory");
  memcpy(registers, words, sizeof words);
}
// Writes four bytes to the same address in block `rank`, completed on the mbarrier at the same address as `bar` there.
__device__ __forceinline__ void send_to_block(float *p, int rank, float value, long long *bar) {
  asm volatile(
      "{\n.reg .b32 to, announced;\nmapa.shared::cluster.u32 to, %0, %2;\n"
      "mapa.shared::cluster.u32 announced, %1, %2;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [to], %3, [announced];\n}" ::"r"(shared_address(p)),
      "r"(shared_address(bar)), "r"(rank), "r"(__float_as_int(value))
      : "memory");
}
