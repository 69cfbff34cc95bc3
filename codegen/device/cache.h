// Loads with a cache policy, of 1 to 16 bytes.
#pragma once
#include "base.h"

// ld.global.nc: for memory that is not written while the kernel runs.
template <typename T> __device__ __forceinline__ T load_read_only(const T *p) { return __ldg(p); }
// ld.global.cg: cached in L2 only, so that it sees what other SMs wrote.
template <typename T> __device__ __forceinline__ T load_l2_only(const T *p) { return __ldcg(p); }
__device__ __forceinline__ bfloat16 load_l2_only(const bfloat16 *p) { return {__ldcg(&p->bits)}; }
__device__ __forceinline__ float16 load_l2_only(const float16 *p) { return {__ldcg(&p->bits)}; }
