// TMA and warpgroup products for emulation.h: copies happen when they are issued, at the earliest moment
// that the program allows, and mbarriers count arrivals and bytes.
#include "emulation.h"

#include <map>

#define __grid_constant__
#define __forceinline__ inline

using mbarrier = long long;
struct MbarrierState {
  int count = 0, pending = 0, bytes = 0, phase = 0;
};
static std::map<mbarrier *, MbarrierState> mbarriers;

static MbarrierState &stateOf(mbarrier *bar) {
  auto it = mbarriers.find(bar);
  if (it == mbarriers.end()) {
    fprintf(stderr, "an mbarrier is used before it is initialised\n");
    abort();
  }
  return it->second;
}
static void endPhase(MbarrierState &state) {
  if (state.pending > 0 || state.bytes != 0)
    return;
  state.pending = state.count;
  state.phase ^= 1;
}
static void mbarrier_init(mbarrier *bar, int count) { mbarriers[bar] = {count, count, 0, 0}; }
static void fence_mbarrier_init() {}
static void fence_async_proxy() {}
static void mbarrier_arrive_expect(mbarrier *bar, int bytes) {
  MbarrierState &state = stateOf(bar);
  state.bytes += bytes;
  --state.pending;
  endPhase(state);
}
static void mbarrier_arrive(mbarrier *bar) { mbarrier_arrive_expect(bar, 0); }
/// The same place in another block of the cluster.
template <typename T> static T *inBlock(T *p, int rank) {
  ptrdiff_t offset = reinterpret_cast<unsigned char *>(p) - current->block->shared;
  return reinterpret_cast<T *>((*cluster)[rank].shared + offset);
}
static void mbarrier_wait(mbarrier *bar, int parity) {
  while (stateOf(bar).phase == parity)
    swapcontext(&current->context, &scheduler);
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
static void __syncwarp() { arrive(warpOf().barrier); }
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
    abort();
  }
  memcpy(shared, global, bytes);
  complete(bar, bytes);
}

struct CUtensorMap {
  const unsigned char *memory;
  long long dims[4], strides[4], box[4]; // innermost first; strides in bytes
  int rank, swizzle;
};
static void prefetch_tensor_map(const CUtensorMap &) {}
static void copyBox(unsigned char *shared, const CUtensorMap &map, mbarrier *bar, const int *at) {
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
template <typename T> static void mma_8_rows(float *d, const int *a, uint4 b) {
  const int a0[4] = {a[0], 0, a[1], 0}, a1[4] = {a[2], 0, a[3], 0};
  const int b0[2] = {int(b.x), int(b.y)}, b1[2] = {int(b.z), int(b.w)};
  mma_m16n8k16<T>(d, a0, b0);
  mma_m16n8k16<T>(d, a1, b1);
}

template <int> static void setmaxnreg_dec() {}
template <int> static void setmaxnreg_inc() {}
static void wgmma_fence() {}
static void wgmma_commit() {}
template <int> static void wgmma_wait() {}
// In units of 16 bytes, as in the hardware's descriptor.
template <typename T> static long long swizzled_tile(const T *tile) {
  if (reinterpret_cast<uintptr_t>(tile) % 1024 != 0) {
    fprintf(stderr, "a swizzled tile starts at %p\n", (const void *)tile);
    abort();
  }
  return reinterpret_cast<long long>(tile) / 16;
}
template <typename T, int N> static void wgmma_m64k16(float *d, long long a, long long b, bool accumulate) {
  auto element = [](long long tile, int row, int k) {
    uintptr_t at = static_cast<uintptr_t>(tile) * 16 + row / 8 * 1024 + row % 8 * 128 + 2 * k;
    at ^= (at / 128 % 8) * 16;
    return to_float(*reinterpret_cast<const T *>(at));
  };
  int thread = current->thread.x % 128, warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
  for (int i = 0; i < N / 2; ++i) {
    int row = 16 * warp + g + 8 * (i / 2 % 2), column = i / 4 * 8 + 2 * t + i % 2;
    float sum = accumulate ? d[i] : 0.0f;
    for (int k = 0; k < 16; ++k)
      sum += element(a, row, k) * element(b, column, k);
    d[i] = sum;
  }
}

template <int> static void register_fence(float *) {}
// The distance of slabs stands above the address.
template <typename T> static long long swizzled_columns(const T *tile, int slab) {
  return swizzled_tile(tile) | static_cast<long long>(slab / 16) << 48;
}
template <typename T, int N> static void wgmma_m64k16_columns(float *d, const int *a, long long b) {
  auto element = [](long long tile, int column, int k) {
    uintptr_t slab = static_cast<uintptr_t>(tile >> 48) * 16,
              start = static_cast<uintptr_t>(tile & 0xffffffffffff) * 16;
    uintptr_t at = start + column / 64 * slab + k * 128 + column % 64 * 2;
    at ^= (at / 128 % 8) * 16;
    return to_float(*reinterpret_cast<const T *>(at));
  };
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
  for (int i = 0; i < N / 2; ++i) {
    int h = i / 2 % 2, column = i / 4 * 8 + 2 * t + i % 2;
    for (int k = 0; k < 16; ++k)
      d[i] += rows[h][k] * element(b, column, k);
  }
}
template <typename T> static void store_words(T *target, const int *words) { memcpy(target, words, 16); }

static int load_read_only(const int *p) { return *p; }
static float load_read_only(const float *p) { return *p; }
template <typename T> static T load_l2_only(const T *p) { return *p; }
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
