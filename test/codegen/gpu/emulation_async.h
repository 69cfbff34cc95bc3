// TMA and warpgroup products for emulation.h. Copies happen when they are issued, which is the earliest moment
// that the program allows. mbarriers count arrivals and bytes.
#include "emulation.h"

#define __grid_constant__
// Each part of a library (emulation.py) has its own scheduler and fibers, so parts must not share functions.
#define __forceinline__ static inline

using mbarrier = long long;
/// Stored in the eight bytes of the mbarrier. The NaNs that shared memory is filled with are not a valid state.
struct MbarrierState {
  short count, pending;
  int bytes : 31;
  unsigned phase : 1;
};
static_assert(sizeof(MbarrierState) == sizeof(mbarrier));

static MbarrierState &stateOf(mbarrier *bar) {
  auto &state = *reinterpret_cast<MbarrierState *>(bar);
  if (state.count <= 0)
    fail("an mbarrier is used before it is initialised");
  return state;
}
static void endPhase(MbarrierState &state) {
  ++progress;
  if (state.pending > 0 || state.bytes != 0)
    return;
  state.pending = state.count;
  state.phase ^= 1;
}
static void mbarrier_init(mbarrier *bar, int count) {
  MbarrierState state = {static_cast<short>(count), static_cast<short>(count), 0, 0};
  memcpy(bar, &state, sizeof(state));
}
static void fence_mbarrier_init() {}
static void fence_async_proxy() {}
static void mbarrier_arrive_expect(mbarrier *bar, int bytes) {
  MbarrierState &state = stateOf(bar);
  if (--state.pending < 0)
    fail("more threads arrive at an mbarrier than it counts");
  state.bytes += bytes;
  endPhase(state);
}
static void mbarrier_arrive(mbarrier *bar) { mbarrier_arrive_expect(bar, 0); }
template <typename T> static void mbarrier_arrive_written(T *, mbarrier *bar) { mbarrier_arrive(bar); }
/// The same address in another block of the cluster.
template <typename T> static T *inBlock(T *p, int rank) {
  ptrdiff_t offset = reinterpret_cast<unsigned char *>(p) - current->block->shared;
  return reinterpret_cast<T *>((*cluster)[rank].shared + offset);
}
static void mbarrier_wait(mbarrier *bar, int parity) {
  if (stateOf(bar).phase != static_cast<unsigned>(parity))
    return;
  // The phase is the upper bit of the second half.
  waitUntil("an mbarrier",
            {reinterpret_cast<const unsigned *>(bar) + 1, 1u << 31, static_cast<unsigned>(parity) << 31});
  stateOf(bar); // still an mbarrier
}
static void complete(mbarrier *bar, int bytes) {
  MbarrierState &state = stateOf(bar);
  state.bytes -= bytes;
  endPhase(state);
}
static void send_to_block(float *p, int rank, float value, mbarrier *bar) {
  *inBlock(p, rank) = value;
  complete(inBlock(bar, rank), 4);
}
static void __syncwarp() { arrive(warpOf().barrier, "the lanes of its warp"); }
static float warp_sum(float value) {
  for (int mask = 16; mask > 0; mask /= 2)
    value += shuffle_xor(value, mask);
  return value;
}

static bool all_lanes(bool value) {
  bool result = true;
  exchange(value, [&](auto of) {
    for (int other = 0; other < 32; ++other)
      result &= of(other);
  });
  return result;
}

static long long evict_first_policy() { return 0; }
template <typename D, typename S>
static void bulk_copy(D *shared, const S *global, int bytes, mbarrier *bar, long long = 0) {
  if (bytes <= 0 || (reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global) | bytes) % 16 != 0) {
    fprintf(stderr, "bulk copy of %d bytes to %p from %p\n", bytes, (void *)shared, (const void *)global);
    fail("a bulk copy that the hardware refuses");
  }
  memcpy(shared, global, bytes);
  complete(bar, bytes);
}

static void prefetch_tensor_map(const CUtensorMap &) {}
static void copyBox(unsigned char *shared, const CUtensorMap &map, mbarrier *bar, const int *at) {
  if (reinterpret_cast<uintptr_t>(shared) % 128 != 0 || (map.swizzle != 0 && map.swizzle != 128))
    fail("a box that is not aligned, or of a swizzle that is not emulated");
  if (at[0] % 8 != 0)
    fail("a box that begins between multiples of 16 bytes"); // an illegal instruction on an H200
  long long elements = 1;
  for (int d = 0; d < map.rank; ++d)
    elements *= map.box[d];
  for (long long e = 0; e < elements; ++e) {
    long long rest = e, from = 0;
    bool inside = true;
    for (int d = 0; d < map.rank; ++d) {
      long long index = at[d] + rest % map.box[d];
      rest /= map.box[d];
      inside &= index >= 0 && index < map.dims[d];
      from += index * map.strides[d];
    }
    long long to = 2 * e;
    if (map.swizzle == 128)
      to ^= (to / 128 % 8) * 16;
    unsigned short value = 0;
    if (inside)
      memcpy(&value, map.memory + from, 2);
    memcpy(shared + to, &value, 2);
  }
  complete(bar, static_cast<int>(2 * elements));
}
template <typename T> static void tma_load_2d(T *shared, const CUtensorMap &map, mbarrier *bar, int x, int y) {
  int at[] = {x, y};
  copyBox(reinterpret_cast<unsigned char *>(shared), map, bar, at);
}
template <typename T>
static void tma_load_4d(T *shared, const CUtensorMap &map, mbarrier *bar, int x, int y, int z, int w, long long = 0) {
  int at[] = {x, y, z, w};
  copyBox(reinterpret_cast<unsigned char *>(shared), map, bar, at);
}

struct uint4 {
  unsigned x, y, z, w;
};
static void set_words(int *words, uint4 v) {
  words[0] = int(v.x), words[1] = int(v.y), words[2] = int(v.z), words[3] = int(v.w);
}
static void mma_m16n8k16_once(float *d, const int *a, const int *b) { mma_m16n8k16<bfloat16>(d, a, b); }
template <typename T> static void mma_16_rows(float *d, const int *a, uint4 b) {
  const int a0[4] = {a[0], a[4], a[1], a[5]}, a1[4] = {a[2], a[6], a[3], a[7]};
  const int b0[2] = {int(b.x), int(b.y)}, b1[2] = {int(b.z), int(b.w)};
  mma_m16n8k16<T>(d, a0, b0);
  mma_m16n8k16<T>(d, a1, b1);
}
template <typename T> static void mma_8_rows(float *d, const int *a, uint4 b) {
  const int a0[4] = {a[0], 0, a[1], 0}, a1[4] = {a[2], 0, a[3], 0};
  const int b0[2] = {int(b.x), int(b.y)}, b1[2] = {int(b.z), int(b.w)};
  mma_m16n8k16<T>(d, a0, b0);
  mma_m16n8k16<T>(d, a1, b1);
}

template <typename T> static void mma_weights(float *d, uint4 low, uint4 high, const int *x) {
  const int a0[4] = {int(low.x), int(high.x), int(low.y), int(high.y)};
  const int a1[4] = {int(low.z), int(high.z), int(low.w), int(high.w)};
  mma_m16n8k16<T>(d, a0, x);
  mma_m16n8k16<T>(d, a1, x + 2);
}

template <int> static void setmaxnreg_dec() {}
template <int> static void setmaxnreg_inc() {}
static void wgmma_fence() {}
static void wgmma_commit() {}
template <int> static void wgmma_wait() {}
// The address in units of 16 bytes, as in the descriptors of the hardware.
template <typename T> static long long swizzled_tile(const T *tile) {
  if (reinterpret_cast<uintptr_t>(tile) % 1024 != 0) {
    fprintf(stderr, "a swizzled tile starts at %p\n", (const void *)tile);
    fail("a swizzled tile that is not aligned");
  }
  return reinterpret_cast<long long>(tile) / 16;
}
template <typename T, int N> static void wgmma_m64k16(float *d, long long a, long long b, bool accumulate) {
  // Loads 16 elements of a row: 32 of its 128 bytes.
  auto load = [](float *values, long long tile, int row) {
    uintptr_t at = static_cast<uintptr_t>(tile) * 16 + row / 8 * 1024 + row % 8 * 128;
    for (int k = 0; k < 16; k += 8) {
      auto *chunk = reinterpret_cast<const T *>((at + 2 * k) ^ (at / 128 % 8) * 16);
      for (int i = 0; i < 8; ++i)
        values[k + i] = to_float(chunk[i]);
    }
  };
  int thread = current->thread.x % 128, warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
  float rows[2][16], column[16];
  for (int h = 0; h < 2; ++h)
    load(rows[h], a, 16 * warp + g + 8 * h);
  for (int i = 0; i < N / 4; ++i) {
    load(column, b, i / 2 * 8 + 2 * t + i % 2);
    for (int h = 0; h < 2; ++h) {
      float &value = d[i / 2 * 4 + 2 * h + i % 2], sum = accumulate ? value : 0.0f;
      for (int k = 0; k < 16; ++k)
        sum += rows[h][k] * column[k];
      value = sum;
    }
  }
}

// 32 codes of a row are 32 of its 128 bytes.
static float numberOf(e4m3 code) { return to_float(code); }
static int numberOf(signed char code) { return code; }
template <typename T, int N, typename Sum> static void wgmma_m64k32(Sum *d, long long a, long long b, bool accumulate) {
  auto load = [](Sum *values, long long tile, int row) {
    uintptr_t at = static_cast<uintptr_t>(tile) * 16 + row / 8 * 1024 + row % 8 * 128;
    for (int k = 0; k < 32; ++k)
      values[k] = numberOf(*reinterpret_cast<const T *>((at + k) ^ (at / 128 % 8) * 16));
  };
  int thread = current->thread.x % 128, warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
  Sum rows[2][32], column[32];
  for (int h = 0; h < 2; ++h)
    load(rows[h], a, 16 * warp + g + 8 * h);
  for (int i = 0; i < N / 4; ++i) {
    load(column, b, i / 2 * 8 + 2 * t + i % 2);
    for (int h = 0; h < 2; ++h) {
      Sum &value = d[i / 2 * 4 + 2 * h + i % 2], sum = accumulate ? value : Sum(0);
      for (int k = 0; k < 32; ++k)
        sum += rows[h][k] * column[k];
      value = sum;
    }
  }
}
template <int> static void register_fence(float *) {}
template <int> static void register_fence(int *) {}
// The distance of slabs is in the bits above the address.
template <typename T> static long long swizzled_columns(const T *tile, int slab) {
  return swizzled_tile(tile) | static_cast<long long>(slab / 16) << 48;
}
template <typename T, int N> static void wgmma_m64k16_columns(float *d, const int *a, long long b) {
  uintptr_t slab = static_cast<uintptr_t>(b >> 48) * 16, start = static_cast<uintptr_t>(b & 0xffffffffffff) * 16;
  int g = lane() / 4, t = lane() % 4;
  float rows[2][16] = {}; // g and g + 8
  struct Operand {
    int words[4];
  } mine = {{a[0], a[1], a[2], a[3]}};
  exchange(mine, [&](auto of) {
    for (int k = 0; k < 16; ++k)
      for (int h = 0; h < 2; ++h)
        rows[h][k] = to_float(T{half(of(4 * g + k % 8 / 2).words[2 * (k / 8) + h], k % 2)});
  });
  for (int i = 0; i < N / 4; ++i) {
    int column = i / 2 * 8 + 2 * t + i % 2;
    float *pair = d + i / 2 * 4 + i % 2;
    for (int k = 0; k < 16; ++k) {
      uintptr_t at = start + column / 64 * slab + k * 128 + column % 64 * 2;
      float value = to_float(*reinterpret_cast<const T *>(at ^ (at / 128 % 8) * 16));
      for (int h = 0; h < 2; ++h)
        pair[2 * h] += rows[h][k] * value;
    }
  }
}
template <typename T, int N> static void wgmma_m64k16_registers(float *d, const int *a, long long b, bool accumulate) {
  int g = lane() / 4, t = lane() % 4;
  float rows[2][16] = {}; // g and g + 8
  struct Operand {
    int words[4];
  } mine = {{a[0], a[1], a[2], a[3]}};
  exchange(mine, [&](auto of) {
    for (int k = 0; k < 16; ++k)
      for (int h = 0; h < 2; ++h)
        rows[h][k] = to_float(T{half(of(4 * g + k % 8 / 2).words[2 * (k / 8) + h], k % 2)});
  });
  for (int i = 0; i < N / 4; ++i) {
    int column = i / 2 * 8 + 2 * t + i % 2;
    uintptr_t at = static_cast<uintptr_t>(b) * 16 + column / 8 * 1024 + column % 8 * 128;
    for (int h = 0; h < 2; ++h) {
      float &value = d[i / 2 * 4 + 2 * h + i % 2], sum = accumulate ? value : 0.0f;
      for (int k = 0; k < 16; ++k)
        sum += rows[h][k] * to_float(*reinterpret_cast<const T *>((at + 2 * k) ^ (at / 128 % 8) * 16));
      value = sum;
    }
  }
}
template <typename T> static int pack(float low, float high);
static int subtract_pair(int x, int y) {
  auto of = [](int pair, int i) { return to_float(bfloat16{half(pair, i)}); };
  return pack<bfloat16>(of(x, 0) - of(y, 0), of(x, 1) - of(y, 1));
}
static int multiply_pair(int x, int y) {
  auto of = [](int pair, int i) { return to_float(bfloat16{half(pair, i)}); };
  return pack<bfloat16>(of(x, 0) * of(y, 0), of(x, 1) * of(y, 1));
}
static int multiply_add_pair(int x, int y, int z) {
  auto of = [](int pair, int i) { return to_float(bfloat16{half(pair, i)}); };
  return pack<bfloat16>(std::fma(of(x, 0), of(y, 0), of(z, 0)), std::fma(of(x, 1), of(y, 1), of(z, 1)));
}
static int pair_of(float x) { return pack<bfloat16>(x, x); }
template <typename T> static void store_words(T *target, const int *words) { memcpy(target, words, 16); }

template <typename T> static T loadAligned(const T *p) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(T) != 0)
    fail("misaligned load");
  return *p;
}
template <typename T> static T load_read_only(const T *p) { return loadAligned(p); }
template <typename T> static T load_l2_only(const T *p) { return loadAligned(p); }
template <typename T> static T load_streaming(const T *p) { return loadAligned(p); }
static uint4 load_evict_first(const uint4 *p) { return loadAligned(p); }
template <typename T> static void store_l2_only(T *p, T v) { *p = v; }
template <typename T> static void store_streaming(T *p, T v) { *p = v; }
template <typename T> static T low_half(int x) { return {half(x, 0)}; }
template <typename T> static T high_half(int x) { return {half(x, 1)}; }
template <typename T> static T shuffle_from(T value, int lane) { return __shfl_sync(~0u, value, lane); }
static float exp2_approximate(float x) { return exp2f(x); }
template <typename T> static int pack(float low, float high) {
  return pack_bits(from_float<T>(low), from_float<T>(high));
}
static int transpose_8x8(int x) {
  int result = 0, g = lane() / 4, t = lane() % 4;
  exchange(x, [&](auto of) { result = half(of(8 * t + g / 2), g % 2) | half(of(8 * t + 4 + g / 2), g % 2) << 16; });
  return result;
}
