// Warpgroup matrix products: d (64 x N, registers) + a (64 x 16) x b (N x 16)^T from shared memory, of 16-bit floats to
// f32; of e4m3 to f32 and of signed char to int, 32 elements along k instead of 16.
//
// Both operands are K-major, in atoms of 8 rows x 128 bytes with the 128-byte swizzle. Lane l of warp w holds, with
// g = l / 4 and t = l % 4: d[4 i + 2 h + c] = (16 w + g + 8 h, 8 i + 2 t + c).
#pragma once
#include "base.h"
#include "shared_address.h"

// The matrix descriptor of a tile that starts at a multiple of 1024 bytes. Add 2 to advance by 32 bytes along k.
__device__ __forceinline__ long long swizzled_tile(const void *tile) {
  constexpr unsigned long long kLayout128B = 1ull << 62, kAtomStride = 64ull << 32, kLeading = 1ull << 16;
  return kLayout128B | kAtomStride | kLeading | ((shared_address(tile) & 0x3ffff) >> 4);
}
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most `pending` committed groups are in flight.
template <int pending> __device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

// The descriptor of a transposed right operand: 64 columns are a row of 128 bytes for each k, and the next 64 columns
// are `slab` bytes further. Add 128 to advance by 16 along k.
__device__ __forceinline__ long long swizzled_columns(const void *tile, int slab) {
  constexpr unsigned long long kLayout128B = 1ull << 62, kAtomStride = 64ull << 32;
  return kLayout128B | kAtomStride | static_cast<unsigned long long>(slab / 16) << 16 |
         ((shared_address(tile) & 0x3ffff) >> 4);
}
// A register fence: the compiler moves no read of these accumulators before it. Call it after waiting for the product.
template <int N> __device__ __forceinline__ void register_fence(float *d) {
#pragma unroll
  for (int i = 0; i < N; ++i)
    asm volatile("" : "+f"(d[i])::"memory");
}
template <int N> __device__ __forceinline__ void register_fence(int *d) {
#pragma unroll
  for (int i = 0; i < N; ++i)
    asm volatile("" : "+r"(d[i])::"memory");
}

#define D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define D16(i) D4(i), D4(i + 4), D4(i + 8), D4(i + 12)
#define D64(i) D16(i), D16(i + 16), D16(i + 32), D16(i + 48)
#define R0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define R1 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define R2 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define R3 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define R4 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define R5 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define R6 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define R7 "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

template <typename T, int N>
__device__ __forceinline__ void wgmma_m64k16(float *d, long long a, long long b, bool accumulate);
// a_, b_ and p_ are the numbers of the asm operands that follow the N / 2 accumulators; `sums` lists the accumulators.
#define WGMMA(T, type, N, sums, a_, b_, p_, ...)                                                                       \
  template <>                                                                                                          \
  __device__ __forceinline__ void wgmma_m64k16<T, N>(float *d, long long a, long long b, bool accumulate) {            \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p_ ", 0;\n"                                                     \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" sums "}, %" #a_ ", %" #b_        \
                 ", p, 1, 1, 0, 0;\n}"                                                                                 \
                 : __VA_ARGS__                                                                                         \
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));                                                 \
  }
// d += a * b, with a in registers (in each warp in the layout of mma.sync.m16n8k16) and b in shared memory, described
// by `swizzled_columns`.
template <typename T, int N> __device__ __forceinline__ void wgmma_m64k16_columns(float *d, const int *a, long long b);
#define WGMMA_COLUMNS(T, type, N, sums, a0, a1, a2, a3, b_, ...)                                                       \
  template <> __device__ __forceinline__ void wgmma_m64k16_columns<T, N>(float *d, const int *a, long long b) {        \
    asm volatile("{\n.reg .pred p;\nsetp.eq.b32 p, 0, 0;\n"                                                            \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" sums "}, {%" #a0 ", %" #a1       \
                 ", %" #a2 ", %" #a3 "}, %" #b_ ", p, 1, 1, 1;\n}"                                                     \
                 : __VA_ARGS__                                                                                         \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                                \
  }
// d = a * b or d += a * b, with a in registers as above and b in shared memory, described by `swizzled_tile`.
template <typename T, int N>
__device__ __forceinline__ void wgmma_m64k16_registers(float *d, const int *a, long long b, bool accumulate);
#define WGMMA_REGISTERS(T, type, N, sums, a0, a1, a2, a3, b_, p_, ...)                                                 \
  template <>                                                                                                          \
  __device__ __forceinline__ void wgmma_m64k16_registers<T, N>(float *d, const int *a, long long b, bool accumulate) { \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p_ ", 0;\n"                                                     \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" sums "}, {%" #a0 ", %" #a1       \
                 ", %" #a2 ", %" #a3 "}, %" #b_ ", p, 1, 1, 0;\n}"                                                     \
                 : __VA_ARGS__                                                                                         \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));             \
  }
// p is the number after b.
#define WGMMA_LEFT(N, sums, a0, a1, a2, a3, b, p, ...)                                                                 \
  WGMMA_REGISTERS(bfloat16, "bf16", N, sums, a0, a1, a2, a3, b, p, __VA_ARGS__)                                        \
  WGMMA_REGISTERS(float16, "f16", N, sums, a0, a1, a2, a3, b, p, __VA_ARGS__)                                          \
  WGMMA_COLUMNS(bfloat16, "bf16", N, sums, a0, a1, a2, a3, b, __VA_ARGS__)                                             \
  WGMMA_COLUMNS(float16, "f16", N, sums, a0, a1, a2, a3, b, __VA_ARGS__)
#define WGMMA_BOTH(N, sums, a, b, p, ...)                                                                              \
  WGMMA(bfloat16, "bf16", N, sums, a, b, p, __VA_ARGS__)                                                               \
  WGMMA(float16, "f16", N, sums, a, b, p, __VA_ARGS__)
WGMMA_BOTH(16, "%0, %1, %2, %3, %4, %5, %6, %7", 8, 9, 10, D4(0), D4(4))
WGMMA_BOTH(32, R0, 16, 17, 18, D16(0))
WGMMA_BOTH(64, R0 ", " R1, 32, 33, 34, D16(0), D16(16))
WGMMA_BOTH(80, R0 ", " R1 ", %32, %33, %34, %35, %36, %37, %38, %39", 40, 41, 42, D16(0), D16(16), D4(32), D4(36))
WGMMA_BOTH(96, R0 ", " R1 ", " R2, 48, 49, 50, D16(0), D16(16), D16(32))
WGMMA_BOTH(128, R0 ", " R1 ", " R2 ", " R3, 64, 65, 66, D64(0))
WGMMA_BOTH(160, R0 ", " R1 ", " R2 ", " R3 ", " R4, 80, 81, 82, D64(0), D16(64))
WGMMA_BOTH(192, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5, 96, 97, 98, D64(0), D16(64), D16(80))
WGMMA_BOTH(224, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5 ", " R6, 112, 113, 114, D64(0), D16(64), D16(80), D16(96))
WGMMA_BOTH(256, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5 ", " R6 ", " R7, 128, 129, 130, D64(0), D64(64))
WGMMA_LEFT(16, "%0, %1, %2, %3, %4, %5, %6, %7", 8, 9, 10, 11, 12, 13, D4(0), D4(4))
WGMMA_LEFT(32, R0, 16, 17, 18, 19, 20, 21, D16(0))
WGMMA_LEFT(64, R0 ", " R1, 32, 33, 34, 35, 36, 37, D16(0), D16(16))
WGMMA_LEFT(80, R0 ", " R1 ", %32, %33, %34, %35, %36, %37, %38, %39", 40, 41, 42, 43, 44, 45, D16(0), D16(16), D4(32),
           D4(36))
WGMMA_LEFT(96, R0 ", " R1 ", " R2, 48, 49, 50, 51, 52, 53, D16(0), D16(16), D16(32))
WGMMA_LEFT(128, R0 ", " R1 ", " R2 ", " R3, 64, 65, 66, 67, 68, 69, D64(0))
WGMMA_LEFT(160, R0 ", " R1 ", " R2 ", " R3 ", " R4, 80, 81, 82, 83, 84, 85, D64(0), D16(64))
WGMMA_LEFT(192, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5, 96, 97, 98, 99, 100, 101, D64(0), D16(64), D16(80))
WGMMA_LEFT(224, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5 ", " R6, 112, 113, 114, 115, 116, 117, D64(0), D16(64),
           D16(80), D16(96))
WGMMA_LEFT(256, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5 ", " R6 ", " R7, 128, 129, 130, 131, 132, 133, D64(0),
           D64(64))
// Of codes: `sum` is the type of the sums in PTX, `more` what follows the predicate of accumulation.
template <typename T, int N, typename Sum>
__device__ __forceinline__ void wgmma_m64k32(Sum *d, long long a, long long b, bool accumulate);
#define WGMMA_CODES(T, Sum, types, more, N, sums, a_, b_, p_, ...)                                                     \
  template <>                                                                                                          \
  __device__ __forceinline__ void wgmma_m64k32<T, N, Sum>(Sum * d, long long a, long long b, bool accumulate) {        \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p_ ", 0;\n"                                                     \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k32." types " {" sums "}, %" #a_ ", %" #b_ ", p" more ";\n}"  \
                 : __VA_ARGS__                                                                                         \
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));                                                 \
  }
#define WGMMA_E4M3(N, sums, a, b, p, ...)                                                                              \
  WGMMA_CODES(e4m3, float, "f32.e4m3.e4m3", ", 1, 1", N, sums, a, b, p, __VA_ARGS__)
#define WGMMA_S8(N, sums, a, b, p, ...) WGMMA_CODES(signed char, int, "s32.s8.s8", "", N, sums, a, b, p, __VA_ARGS__)
#define I4(i) "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3])
#define I16(i) I4(i), I4(i + 4), I4(i + 8), I4(i + 12)
#define I64(i) I16(i), I16(i + 16), I16(i + 32), I16(i + 48)
WGMMA_E4M3(16, "%0, %1, %2, %3, %4, %5, %6, %7", 8, 9, 10, D4(0), D4(4))
WGMMA_E4M3(32, R0, 16, 17, 18, D16(0))
WGMMA_E4M3(64, R0 ", " R1, 32, 33, 34, D16(0), D16(16))
WGMMA_E4M3(96, R0 ", " R1 ", " R2, 48, 49, 50, D16(0), D16(16), D16(32))
WGMMA_E4M3(128, R0 ", " R1 ", " R2 ", " R3, 64, 65, 66, D64(0))
WGMMA_E4M3(160, R0 ", " R1 ", " R2 ", " R3 ", " R4, 80, 81, 82, D64(0), D16(64))
WGMMA_E4M3(192, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5, 96, 97, 98, D64(0), D16(64), D16(80))
WGMMA_E4M3(224, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5 ", " R6, 112, 113, 114, D64(0), D16(64), D16(80), D16(96))
WGMMA_E4M3(256, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5 ", " R6 ", " R7, 128, 129, 130, D64(0), D64(64))
WGMMA_S8(16, "%0, %1, %2, %3, %4, %5, %6, %7", 8, 9, 10, I4(0), I4(4))
WGMMA_S8(32, R0, 16, 17, 18, I16(0))
WGMMA_S8(64, R0 ", " R1, 32, 33, 34, I16(0), I16(16))
WGMMA_S8(96, R0 ", " R1 ", " R2, 48, 49, 50, I16(0), I16(16), I16(32))
WGMMA_S8(128, R0 ", " R1 ", " R2 ", " R3, 64, 65, 66, I64(0))
WGMMA_S8(160, R0 ", " R1 ", " R2 ", " R3 ", " R4, 80, 81, 82, I64(0), I16(64))
WGMMA_S8(192, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5, 96, 97, 98, I64(0), I16(64), I16(80))
WGMMA_S8(224, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5 ", " R6, 112, 113, 114, I64(0), I16(64), I16(80), I16(96))
WGMMA_S8(256, R0 ", " R1 ", " R2 ", " R3 ", " R4 ", " R5 ", " R6 ", " R7, 128, 129, 130, I64(0), I64(64))
#undef I64
#undef I16
#undef I4
#undef WGMMA_S8
#undef WGMMA_E4M3
#undef WGMMA_CODES
#undef WGMMA_LEFT
#undef WGMMA_COLUMNS
#undef WGMMA_REGISTERS
#undef WGMMA_BOTH
#undef WGMMA
#undef R0
#undef R1
#undef R2
#undef R3
#undef R4
#undef R5
#undef R6
#undef R7
#undef D4
#undef D16
#undef D64
