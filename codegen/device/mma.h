// Warp-level matrix products, mma.sync.m16n8k16, and the loads of their operands.
//
// Lane l holds, with g = l / 4 and t = l % 4:
//   d[0..1] (g, 2t..2t+1)   d[2..3] (g + 8, 2t..2t+1)          of 16 x 8
//   a[0] (g, 2t..)  a[1] (g + 8, 2t..)  a[2] (g, 2t + 8..)  a[3] (g + 8, 2t + 8..)   of 16 x 16
//   b[0] (2t.., g)  b[1] (2t + 8.., g)                          of 16 x 8
// A register of a or b holds two adjacent elements along k.
#pragma once
#include "base.h"
#include "shared_address.h"

template <typename T> __device__ __forceinline__ void mma_m16n8k16(float *d, const int *a, const int *b);
template <> __device__ __forceinline__ void mma_m16n8k16<bfloat16>(float *d, const int *a, const int *b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <> __device__ __forceinline__ void mma_m16n8k16<float16>(float *d, const int *a, const int *b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same of bfloat16 where equal calls may be made once.
__device__ __forceinline__ void mma_m16n8k16_once(float *d, const int *a, const int *b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Adds two products to d[0..3]. Each lane passes 8 adjacent elements along k (4 words) of row g of the left operand
// (rows 8..15 are 0) and of column g of the right one. Any order of k is correct if both operands use the same one.
template <typename T> __device__ __forceinline__ void mma_8_rows(float *d, const int *a, uint4 b) {
  const int a0[4] = {a[0], 0, a[1], 0}, a1[4] = {a[2], 0, a[3], 0};
  const int b0[2] = {int(b.x), int(b.y)}, b1[2] = {int(b.z), int(b.w)};
  mma_m16n8k16<T>(d, a0, b0);
  mma_m16n8k16<T>(d, a1, b1);
}
// The same with rows 8..15: a[0..3] is row g, a[4..7] row g + 8.
template <typename T> __device__ __forceinline__ void mma_16_rows(float *d, const int *a, uint4 b) {
  const int a0[4] = {a[0], a[4], a[1], a[5]}, a1[4] = {a[2], a[6], a[3], a[7]};
  const int b0[2] = {int(b.x), int(b.y)}, b1[2] = {int(b.z), int(b.w)};
  mma_m16n8k16<T>(d, a0, b0);
  mma_m16n8k16<T>(d, a1, b1);
}
// The same product with the weights as its left operand: `low` and `high` are 8 adjacent elements along k of weight
// rows g and g + 8, `x` those of column g of the activations. d[0..1] are (g, 2t..2t+1), d[2..3] (g + 8, 2t..2t+1).
template <typename T> __device__ __forceinline__ void mma_weights(float *d, uint4 low, uint4 high, const int *x) {
  const int a0[4] = {int(low.x), int(high.x), int(low.y), int(high.y)};
  const int a1[4] = {int(low.z), int(high.z), int(low.w), int(high.w)};
  mma_m16n8k16<T>(d, a0, x);
  mma_m16n8k16<T>(d, a1, x + 2);
}

// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
template <typename T> __device__ __forceinline__ void ldmatrix_x4(int *r, const T *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
template <typename T> __device__ __forceinline__ void ldmatrix_x4_trans(int *r, const T *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
// Two 8 x 8 matrices; lanes 0..15 give the addresses.
template <typename T> __device__ __forceinline__ void ldmatrix_x2(int *r, const T *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
template <typename T> __device__ __forceinline__ void ldmatrix_x2_trans(int *r, const T *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
// Transposes an 8 x 8 matrix of 16-bit elements. Each lane passes and gets two adjacent elements of a row.
__device__ __forceinline__ int transpose_8x8(int x) {
  int y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}
