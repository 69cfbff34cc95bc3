// Products of mma.m16n8k16 whose left operand is packed codes of quantized weights (docs/quantization.md).
//
// Each lane passes a piece, 16 bytes, of weight rows g and g + 8, and the columns of the activations that the piece
// has, in their order, as pairs of bfloat16 in `x`: 16 columns for codes of 8 bits, 32 for codes of 4 bits. A word of
// codes has columns 2 i, 2 i + 1, 2 i + 8 and 2 i + 9, so that a mask takes a register of the left operand out of it.
// Two chains of sums are added to, d[0..4) and d[4..8), each as mma.m16n8k16 has them.
//
// Integers are read as bfloat16 without an exponent: bits 0 to 7 of a half are c times 2^-133. Of 8 bits, one fused
// multiply-add scales them and subtracts the zero point, so sums are those of numbers / 64.
#pragma once
#include "mma.h"
#include "pairs.h"
#include "unpack_pairs.h"

constexpr int kPairOfUnit = 0x7f007f00; // 2^127: 2^-133 becomes 1 / 64
constexpr int kPairOfFp8 = 0x7b807b80;  // 2^120 undoes what pair_of_f8e4m3 leaves

// One product of `low` and `high` words of the same i.
__device__ __forceinline__ void mma_pairs(float *d, int low, int high, int low8, int high8, int x, int x8) {
  const int a[4] = {low, high, low8, high8}, b[2] = {x, x8};
  mma_m16n8k16<bfloat16>(d, a, b);
}

// Zero points are -z / 64, twice in a register; e4m3 has none.
__device__ __forceinline__ void mma_f8e4m3(float *d, uint4 low, uint4 high, const int *x, int, int) {
  const unsigned l[4] = {low.x, low.y, low.z, low.w}, h[4] = {high.x, high.y, high.z, high.w};
#pragma unroll
  for (int i = 0; i < 4; ++i)
    mma_pairs(d + i % 2 * 4, multiply_pair(pair_of_f8e4m3(l[i] << 8), kPairOfFp8),
              multiply_pair(pair_of_f8e4m3(h[i] << 8), kPairOfFp8), multiply_pair(pair_of_f8e4m3(l[i]), kPairOfFp8),
              multiply_pair(pair_of_f8e4m3(h[i]), kPairOfFp8), x[i], x[4 + i]);
}
__device__ __forceinline__ int pair_of_byte(unsigned word, int zero) {
  return multiply_add_pair(static_cast<int>(word & 0x00ff00ffu), kPairOfUnit, zero);
}
__device__ __forceinline__ void mma_u8(float *d, uint4 low, uint4 high, const int *x, int low_zero, int high_zero) {
  const unsigned l[4] = {low.x, low.y, low.z, low.w}, h[4] = {high.x, high.y, high.z, high.w};
#pragma unroll
  for (int i = 0; i < 4; ++i)
    mma_pairs(d + i % 2 * 4, pair_of_byte(l[i], low_zero), pair_of_byte(h[i], high_zero),
              pair_of_byte(l[i] >> 8, low_zero), pair_of_byte(h[i] >> 8, high_zero), x[i], x[4 + i]);
}
// As u8 of codes that are 128 larger, with zero points to match.
__device__ __forceinline__ void mma_i8(float *d, uint4 low, uint4 high, const int *x, int low_zero, int high_zero) {
  constexpr unsigned sign = 0x80808080u;
  const uint4 l = {low.x ^ sign, low.y ^ sign, low.z ^ sign, low.w ^ sign};
  const uint4 h = {high.x ^ sign, high.y ^ sign, high.z ^ sign, high.w ^ sign};
  mma_u8(d, l, h, x, low_zero, high_zero);
}
// Codes of 4 bits stay q and 16 q times 2^-133, since an instruction more for each pair would take longer than memory
// does: the activations are scaled instead, once for all weight rows, and zero points multiply their sums. Sums are
// those of codes times 2^-93. Activations are less than 2^87.
constexpr int kPairOfLowNibble = 0x53805380, kPairOfHighNibble = 0x51805180; // 2^40, 2^36

// N pairs of activations, in rounds of 32 columns, for the next two functions.
template <int N> __device__ __forceinline__ void scale_columns_u4(int *scaled, const int *x) {
#pragma unroll
  for (int i = 0; i < N; ++i)
    scaled[i] = multiply_pair(x[i], i / 4 % 2 ? kPairOfHighNibble : kPairOfLowNibble);
}
__device__ __forceinline__ void mma_u4(float *d, uint4 low, uint4 high, const int *scaled) {
  const unsigned l[4] = {low.x, low.y, low.z, low.w}, h[4] = {high.x, high.y, high.z, high.w};
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int p = 0; p < 2; ++p) {
      const int lower = static_cast<int>(l[i] >> (8 * p)), upper = static_cast<int>(h[i] >> (8 * p));
      mma_pairs(d + 4 * p, lower & 0x000f000f, upper & 0x000f000f, lower & 0x00f000f0, upper & 0x00f000f0,
                scaled[8 * p + i], scaled[8 * p + 4 + i]);
    }
}
// The same with codes that are all 1: sums of the activations, in each row of d.
__device__ __forceinline__ void mma_ones_u4(float *d, const int *scaled) {
  constexpr int one = 0x00010001, high_one = 0x00100010;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int a[4] = {one, one, high_one, high_one};
    const int b[2] = {scaled[i / 4 * 8 + i % 4], scaled[i / 4 * 8 + 4 + i % 4]};
    mma_m16n8k16_once(d + i % 2 * 4, a, b);
  }
}
