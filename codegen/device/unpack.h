// Numbers of the codes of quantized weights: numbers[0..N) of N neighbouring codes of a row, in 1 byte each, or two of
// 4 bits in a byte, the first in the lower half. N is 2, 4, 8 or, for codes of 8 bits, 1.
#pragma once
#include "base.h"
#include "fp8.h"

// The next bytes, up to 4, as a word with zeros above them.
template <int bytes> __device__ __forceinline__ unsigned code_word(const signed char *codes) {
  unsigned word = 0;
  memcpy(&word, codes, bytes);
  return word;
}
// The fraction of the float 2^23 counts units: 2^23 + n for the integer n < 2^23 in its lower bits.
__device__ __forceinline__ float integer_above_2_23(unsigned n) { return __uint_as_float(0x4b000000u | n); }

template <int N> __device__ __forceinline__ void unpack_u8(float *numbers, const signed char *codes) {
  constexpr int step = N < 4 ? N : 4;
#pragma unroll
  for (int i = 0; i < N; i += step) {
    const unsigned word = code_word<step>(codes + i);
#pragma unroll
    for (int j = 0; j < step; ++j)
      numbers[i + j] = integer_above_2_23(word >> (8 * j) & 0xff) - 8388608.0f;
  }
}
template <int N> __device__ __forceinline__ void unpack_i8(float *numbers, const signed char *codes) {
  constexpr int step = N < 4 ? N : 4;
#pragma unroll
  for (int i = 0; i < N; i += step) {
    // 128 more than each code, without a sign.
    const unsigned word = code_word<step>(codes + i) ^ 0x80808080u;
#pragma unroll
    for (int j = 0; j < step; ++j)
      numbers[i + j] = integer_above_2_23(word >> (8 * j) & 0xff) - 8388736.0f;
  }
}
template <int N> __device__ __forceinline__ void unpack_u4(float *numbers, const signed char *codes) {
  const unsigned word = code_word<N / 2>(codes);
#pragma unroll
  for (int i = 0; i < N; ++i)
    numbers[i] = integer_above_2_23(word >> (4 * i) & 15) - 8388608.0f;
}

// formats/quantization/nf4.h
static __device__ const float nf4_numbers[16] = {-1.0f,
                                                 -0.6961928009986877f,
                                                 -0.5250730514526367f,
                                                 -0.39491748809814453f,
                                                 -0.28444138169288635f,
                                                 -0.18477343022823334f,
                                                 -0.09105003625154495f,
                                                 0.0f,
                                                 0.07958029955625534f,
                                                 0.16093020141124725f,
                                                 0.24611230194568634f,
                                                 0.33791524171829224f,
                                                 0.44070982933044434f,
                                                 0.5626170039176941f,
                                                 0.7229568362236023f,
                                                 1.0f};
template <int N> __device__ __forceinline__ void unpack_nf4(float *numbers, const signed char *codes) {
  const unsigned word = code_word<N / 2>(codes);
#pragma unroll
  for (int i = 0; i < N; ++i)
    numbers[i] = nf4_numbers[word >> (4 * i) & 15];
}

template <int N> __device__ __forceinline__ void unpack_f8e4m3(float *numbers, const signed char *codes) {
  if (N == 1) {
    float pair[2];
    convert_e4m3x2(pair, static_cast<unsigned short>(code_word<1>(codes)));
    numbers[0] = pair[0];
  }
#pragma unroll
  for (int i = 0; i + 1 < N; i += 2)
    convert_e4m3x2(numbers + i, static_cast<unsigned short>(code_word<2>(codes + i)));
}
