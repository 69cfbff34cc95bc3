// What the lanes of a warp and the blocks of a cluster tell each other.
#pragma once
#include "shared_address.h"

template <typename T> __device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <typename T> __device__ __forceinline__ T shuffle_from(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
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
// Every thread of the cluster arrives; what was written to shared memory before is visible after.
__device__ __forceinline__ void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// The same in two halves, for what may be done meanwhile.
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
// Four bytes at the same place in the shared memory of another block of the cluster.
template <typename T> __device__ __forceinline__ T load_of_block(const T *p, int rank) {
  static_assert(sizeof(T) == 4, "distributed shared memory is read in words");
  unsigned address = shared_address(p), remote, word;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(word) : "r"(remote) : "memory");
  T value;
  memcpy(&value, &word, 4);
  return value;
}
template <typename T> __device__ __forceinline__ void store_to_block(T *p, int rank, T value) {
  static_assert(sizeof(T) == 4, "distributed shared memory is written in words");
  unsigned remote, word;
  memcpy(&word, &value, 4);
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(shared_address(p)), "r"(rank));
  asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(remote), "r"(word) : "memory");
}
