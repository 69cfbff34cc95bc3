// Loads and stores with a cache policy, of 1 to 16 bytes.
#pragma once
#include "base.h"

// ld.global.nc: memory that nobody writes while the kernel runs.
template <typename T> __device__ __forceinline__ T load_read_only(const T *p) { return __ldg(p); }
// ld.global.cg: cached in L2 only, so that it sees what other SMs wrote.
template <typename T> __device__ __forceinline__ T load_l2_only(const T *p) { return __ldcg(p); }
__device__ __forceinline__ bfloat16 load_l2_only(const bfloat16 *p) { return {__ldcg(&p->bits)}; }
__device__ __forceinline__ float16 load_l2_only(const float16 *p) { return {__ldcg(&p->bits)}; }
// ld.global.cs: likely used once.
template <typename T> __device__ __forceinline__ T load_streaming(const T *p) { return __ldcs(p); }
// Weights: read once a step, so that they do not push out what stays.
__device__ __forceinline__ uint4 load_evict_first(const uint4 *p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::evict_first.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
template <typename T> __device__ __forceinline__ void store_l2_only(T *p, T v) { __stcg(p, v); }
template <typename T> __device__ __forceinline__ void store_streaming(T *p, T v) { __stcs(p, v); }
