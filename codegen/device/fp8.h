// Floats of 8 bits.
#pragma once
#include "base.h"

// numbers[0..2) of two e4m3 codes, the first in the lower byte.
__device__ __forceinline__ void convert_e4m3x2(float *numbers, unsigned short codes) {
  unsigned halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(codes));
  numbers[0] = to_float(low_half<float16>(halves));
  numbers[1] = to_float(high_half<float16>(halves));
}

// Numbers of four neighbouring e4m3 codes, as pairs: (0, 2) and (1, 3).
template <typename T> __device__ __forceinline__ void widen_e4m3x4(int *pairs, unsigned codes);
// Sign, exponent and fraction at the places that they have in bfloat16, whose exponent is larger by 120. Exact, but the
// code of NaN becomes 480.
template <> __device__ __forceinline__ void widen_e4m3x4<bfloat16>(int *pairs, unsigned codes) {
  const unsigned even = (codes << 8 & 0x80008000u) | (codes << 4 & 0x07f007f0u);
  const unsigned odd = (codes & 0x80008000u) | (codes >> 4 & 0x07f007f0u);
  const unsigned factor = 0x7b807b80u; // 2^120
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(pairs[0]) : "r"(even), "r"(factor));
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(pairs[1]) : "r"(odd), "r"(factor));
}
template <> __device__ __forceinline__ void widen_e4m3x4<float16>(int *pairs, unsigned codes) {
  const unsigned ordered = __byte_perm(codes, 0, 0x3120);
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pairs[0]) : "h"(static_cast<unsigned short>(ordered)));
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pairs[1]) : "h"(static_cast<unsigned short>(ordered >> 16)));
}

// wide[0..16) of the e4m3 codes[0..16), in their order; aligned to 4 bytes.
template <typename T> __device__ __forceinline__ void widen_e4m3x16(T *wide, const e4m3 *codes) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    unsigned four;
    memcpy(&four, codes + 4 * i, 4);
    int pairs[2];
    widen_e4m3x4<T>(pairs, __byte_perm(four, 0, 0x3120));
    memcpy(wide + 4 * i, pairs, 8);
  }
}

// pairs[0..8) of 16 codes: two for each word, (0, 2) and (1, 3).
template <typename T> __device__ __forceinline__ void widen_e4m3_words(int *pairs, const int *words) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
    widen_e4m3x4<T>(pairs + 2 * i, static_cast<unsigned>(words[i]));
}
