// Registers of the left operand of 16-bit products from packed codes of quantized weights, as pairs of bfloat16.
//
// `words` are those of ldmatrix for two pieces of docs/quantization.md: rows g and g + 8 of the first, then of the
// second. Codes of 8 bits become the registers of 2 products of 16 columns, a[0..8), codes of 4 bits those of 4,
// a[0..16). A product has rows g and g + 8 of columns 2 t and 2 t + 1, then of those 8 further.
#pragma once
#include "base.h"
#include "pairs.h"

// e4m3 times 2^-120: the bits of a code are the upper ones of the exponent and the fraction, 4 bits further down.
__device__ __forceinline__ int pair_of_f8e4m3(unsigned upper_bytes) {
  return static_cast<int>((upper_bytes & 0x80008000u) | ((upper_bytes >> 4) & 0x07f007f0u));
}
// The codes less 128 * sign: 128 + 7 bits less 128 or 256.
__device__ __forceinline__ int pair_of_i8(unsigned lower_bytes) {
  return subtract_pair(static_cast<int>((lower_bytes & 0x007f007fu) | 0x43004300u),
                       static_cast<int>((lower_bytes & 0x00800080u) | 0x43004300u));
}

__device__ __forceinline__ void unpack_pairs_f8e4m3(int *a, const int *words) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const unsigned word = static_cast<unsigned>(words[i]);
    int *product = a + i / 2 * 4 + i % 2;
    product[0] = pair_of_f8e4m3(word << 8);
    product[2] = pair_of_f8e4m3(word);
  }
}
__device__ __forceinline__ void unpack_pairs_i8(int *a, const int *words) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const unsigned word = static_cast<unsigned>(words[i]);
    int *product = a + i / 2 * 4 + i % 2;
    product[0] = pair_of_i8(word);
    product[2] = pair_of_i8(word >> 8);
  }
}
// Each code less 128.
__device__ __forceinline__ void unpack_pairs_u8(int *a, const int *words) {
  int signed_words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    signed_words[i] = static_cast<int>(static_cast<unsigned>(words[i]) ^ 0x80808080u);
  unpack_pairs_i8(a, signed_words);
}
// Each code and 128.
__device__ __forceinline__ void unpack_pairs_u4(int *a, const int *words) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const unsigned word = static_cast<unsigned>(words[i]);
    int *products = a + i / 2 * 8 + i % 2;
#pragma unroll
    for (int p = 0; p < 4; ++p)
      products[p / 2 * 4 + p % 2 * 2] = static_cast<int>(((word >> (4 * p)) & 0x000f000fu) | 0x43004300u);
  }
}

// N registers of products: less `low` in rows g, less `high` in rows g + 8.
template <int N> __device__ __forceinline__ void subtract_pairs(int *a, int low, int high) {
#pragma unroll
  for (int i = 0; i < N; ++i)
    a[i] = subtract_pair(a[i], i % 2 ? high : low);
}
template <int N> __device__ __forceinline__ void multiply_pairs(int *a, int low, int high) {
#pragma unroll
  for (int i = 0; i < N; ++i)
    a[i] = multiply_pair(a[i], i % 2 ? high : low);
}
