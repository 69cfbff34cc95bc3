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
