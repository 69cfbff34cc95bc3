// Moves adjacent elements between memory and registers, N at a time.
#pragma once
#include "base.h"

template <int bytes> struct Word;
template <> struct Word<1> {
  using Type = unsigned char;
};
template <> struct Word<2> {
  using Type = unsigned short;
};
template <> struct Word<4> {
  using Type = unsigned;
};
template <> struct Word<8> {
  using Type = uint2;
};
template <> struct Word<16> {
  using Type = uint4;
};

// registers[0..N) = present ? p[0..N) : 0. The address is a multiple of N * sizeof(T) bytes.
template <int N, typename T> __device__ __forceinline__ void load_vector(T *registers, const T *p, bool present) {
  using W = typename Word<N * sizeof(T)>::Type;
  W word = {};
  if (present)
    word = *reinterpret_cast<const W *>(p);
  memcpy(registers, &word, sizeof(W));
}
// The same past the cache of the multiprocessor, for a kernel that has not waited for the launch that wrote p. The wait
// would make sure that this cache has no older words; the L2 cache has the newest when that launch has ended.
template <int N, typename T>
__device__ __forceinline__ void load_vector_l2_only(T *registers, const T *p, bool present) {
  using W = typename Word<N * sizeof(T)>::Type;
  W word = {};
  if (present)
    word = __ldcg(reinterpret_cast<const W *>(p));
  memcpy(registers, &word, sizeof(W));
}
// registers[0..N) = present ? p[offset..) : 0, without a branch: p[0..N) is read in place of what is not there.
template <int N, typename T>
__device__ __forceinline__ void load_vector_or_zero(T *registers, const T *p, long long offset, bool present) {
  using W = typename Word<N * sizeof(T)>::Type;
  W word = *reinterpret_cast<const W *>(p + (present ? offset : 0));
  if (!present)
    word = {};
  memcpy(registers, &word, sizeof(W));
}
// p[0..N) = registers[0..N) if present.
template <int N, typename T> __device__ __forceinline__ void store_vector(T *p, const T *registers, bool present) {
  using W = typename Word<N * sizeof(T)>::Type;
  W word;
  memcpy(&word, registers, sizeof(W));
  if (present)
    *reinterpret_cast<W *>(p) = word;
}
