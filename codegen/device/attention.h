// Products of a few queries with keys and values in shared memory, for decode attention.
//
// Keys and values have the layout of TMA copies with the 128-byte swizzle: slabs of 64 columns, with a row of 128 bytes
// for each position. Row i of each 8 rows of a product is position order(i) = i / 2 + 4 * (i % 2), so that reads of
// keys and of values have no bank conflicts. For lane l, g = l / 4 and t = l % 4.
#pragma once
#include "fp8.h"
#include "mma.h"
#include "warp.h"

// Adds products of 16 positions and 8 queries over 32 columns to d; their sums are d[0..3] + d[4..7]. Each lane passes
// 8 adjacent columns of the keys of rows g (`k`) and g + 8 (`k8`) and of query g (`q`).
template <typename T> __device__ __forceinline__ void multiply_keys(float *d, uint4 k, uint4 k8, const int *q) {
  const int a0[4] = {int(k.x), int(k8.x), int(k.y), int(k8.y)}, a1[4] = {int(k.z), int(k8.z), int(k.w), int(k8.w)};
  mma_m16n8k16<T>(d, a0, q);
  mma_m16n8k16<T>(d + 4, a1, q + 2);
}
// Keys and values of 8 bits have slabs of 128 columns. Widened codes come as pairs of every second column, so the
// lanes' 16 columns of a query are put into the order 0, 2, 1, 3 of each four.
__device__ __forceinline__ void order_as_codes(int *query) {
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    const unsigned low = query[i], high = query[i + 1];
    query[i] = int((low & 0xffffu) | high << 16);
    query[i + 1] = int(low >> 16 | (high & 0xffff0000u));
  }
}
// multiply_keys over 64 columns of codes: each lane passes 16 of them.
template <typename T> __device__ __forceinline__ void multiply_key_codes(float *d, uint4 k, uint4 k8, const int *q) {
  const unsigned rows[2][4] = {{k.x, k.y, k.z, k.w}, {k8.x, k8.y, k8.z, k8.w}};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    int low[2], high[2];
    widen_e4m3x4<T>(low, rows[0][i]);
    widen_e4m3x4<T>(high, rows[1][i]);
    const int a[4] = {low[0], high[0], low[1], high[1]};
    mma_m16n8k16<T>(d + i % 2 * 4, a, q + 2 * i);
  }
}
// Reductions over the lanes with the same t.
__device__ __forceinline__ float maximum_over_rows(float value) {
#pragma unroll
  for (int mask = 4; mask < 32; mask *= 2)
    value = fmaxf(value, shuffle_xor(value, mask));
  return value;
}
__device__ __forceinline__ float sum_over_rows(float value) {
#pragma unroll
  for (int mask = 4; mask < 32; mask *= 2)
    value += shuffle_xor(value, mask);
  return value;
}
