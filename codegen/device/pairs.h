// Arithmetic on two bfloat16 in a register, rounded to nearest.
#pragma once
#include "base.h"

__device__ __forceinline__ int subtract_pair(int x, int y) {
  int z;
  asm("sub.rn.bf16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y));
  return z;
}
__device__ __forceinline__ int multiply_pair(int x, int y) {
  int z;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y));
  return z;
}
// x * y + z, rounded once. Operands without an exponent count.
__device__ __forceinline__ int multiply_add_pair(int x, int y, int z) {
  int r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
  return r;
}
// The same number twice.
__device__ __forceinline__ int pair_of(float x) { return static_cast<int>(pack<bfloat16>(x, x)); }
