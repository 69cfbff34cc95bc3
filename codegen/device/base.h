// Included by every kernel: floats of 16 and 8 bits, the sizes of the step, arithmetic.
//
// cuda_bf16.h is not built into NVRTC and costs half of a kernel's compile time,
// so the two 16-bit formats are declared here: storage types that convert to and
// from float.
#pragma once

struct bfloat16 {
  unsigned short bits;
};
struct float16 {
  unsigned short bits;
};
// A float of 8 bits with a sign, 4 bits of exponent, 3 of fraction and no infinities.
struct e4m3 {
  unsigned char bits;
};

// The sizes of a step, in the order of the plan's Extent.
struct StepSizes {
  int v[INLAY_STEP_SIZE_COUNT];
};

// A barrier of `threads` threads, whole warps; `id` is 1 to 15, since 0 is that of __syncthreads.
__device__ __forceinline__ void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

struct alignas(64) CUtensorMap {
  unsigned long long opaque[16];
};

__device__ __forceinline__ float to_float(bfloat16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ __forceinline__ float to_float(float16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

__device__ __forceinline__ float to_float(e4m3 x) {
  unsigned halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<unsigned short>(x.bits)));
  return to_float(float16{static_cast<unsigned short>(halves)});
}

template <typename T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ bfloat16 from_float<bfloat16>(float x) {
  bfloat16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
template <> __device__ __forceinline__ float16 from_float<float16>(float x) {
  float16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
// The two nearest codes, `low` first; the largest for what is larger.
__device__ __forceinline__ void to_e4m3x2(e4m3 *codes, float low, float high) {
  unsigned short pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  memcpy(codes, &pair, 2);
}
template <> __device__ __forceinline__ e4m3 from_float<e4m3>(float x) {
  e4m3 codes[2];
  to_e4m3x2(codes, x, 0.0f);
  return codes[0];
}

// Two 16-bit floats in a register: `low` in the lower half.
template <typename T> __device__ __forceinline__ unsigned pack(float low, float high);
template <> __device__ __forceinline__ unsigned pack<bfloat16>(float low, float high) {
  unsigned y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
template <> __device__ __forceinline__ unsigned pack<float16>(float low, float high) {
  unsigned y;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
__device__ __forceinline__ unsigned pack_bits(bfloat16 low, bfloat16 high) {
  return static_cast<unsigned>(low.bits) | static_cast<unsigned>(high.bits) << 16;
}
__device__ __forceinline__ unsigned pack_bits(float16 low, float16 high) {
  return static_cast<unsigned>(low.bits) | static_cast<unsigned>(high.bits) << 16;
}
template <typename T> __device__ __forceinline__ T low_half(unsigned x) {
  T y;
  y.bits = static_cast<unsigned short>(x);
  return y;
}
template <typename T> __device__ __forceinline__ T high_half(unsigned x) {
  T y;
  y.bits = static_cast<unsigned short>(x >> 16);
  return y;
}

// Copies 16 bytes to an array of four words, which stays in registers, and from such an array to memory.
__device__ __forceinline__ void set_words(int *words, uint4 v) {
  words[0] = int(v.x), words[1] = int(v.y), words[2] = int(v.z), words[3] = int(v.w);
}
template <typename T> __device__ __forceinline__ void store_words(T *target, const int *words) {
  *reinterpret_cast<uint4 *>(target) =
      make_uint4(unsigned(words[0]), unsigned(words[1]), unsigned(words[2]), unsigned(words[3]));
}

// The larger and the smaller of two values; NaN if either is NaN.
__device__ __forceinline__ float maximum(float a, float b) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}
__device__ __forceinline__ float minimum(float a, float b) {
  float y;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}

// 2^x, computed by the special function unit; subnormal results are 0.
__device__ __forceinline__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Quotients rounded up and down.
__device__ __forceinline__ int ceil_div(int a, int b) { return a / b + (a % b != 0 && (a < 0) == (b < 0)); }
__device__ __forceinline__ int floor_div(int a, int b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
