// Runs the text of a generated kernel on the CPU, one fiber a thread: the functions of the device headers that the
// generic lowering calls, in plain C++. Copies by cp.async happen when they are waited for, at the latest moment that
// the program allows.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __restrict__ __restrict

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};
struct Barrier {
  int expected = 0, arrived = 0, generation = 0;
};
struct Warp {
  Barrier barrier;
  alignas(16) unsigned char slots[32][64];
};
struct Block {
  Barrier barrier;
  Index3 index;
  int rank = 0;
  std::vector<Warp> warps;
  std::unique_ptr<unsigned char[]> memory;
  unsigned char *shared = nullptr;
};
struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  Index3 thread;
  Block *block = nullptr;
  bool done = false;
  int clusterGeneration = 0;
  std::vector<std::vector<std::function<void()>>> groups;
  std::vector<std::function<void()>> pending;
};
static ucontext_t scheduler;
static Fiber *current;
static std::vector<Block> *cluster;
static Barrier clusterBarrier;
static Index3 gridDim;
#define threadIdx (current->thread)
#define blockIdx (current->block->index)
#define shared_memory (current->block->shared)

static void arrive(Barrier &barrier) {
  int generation = barrier.generation;
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  while (barrier.generation == generation)
    swapcontext(&current->context, &scheduler);
}
static void __syncthreads() { arrive(current->block->barrier); }
static int lane() { return current->thread.x % 32; }
static Warp &warpOf() { return current->block->warps[current->thread.x / 32]; }
/// Shows `mine` to the warp and calls `read` with everybody's.
template <typename T, typename Read> static void exchange(const T &mine, Read read) {
  Warp &warp = warpOf();
  memcpy(warp.slots[lane()], &mine, sizeof(T));
  arrive(warp.barrier);
  read([&](int other) {
    T value;
    memcpy(&value, warp.slots[other], sizeof(T));
    return value;
  });
  arrive(warp.barrier);
}
template <typename T> static T __shfl_sync(unsigned, T value, int from) {
  T result;
  exchange(value, [&](auto of) { result = of(from); });
  return result;
}
template <typename T> static T shuffle_xor(T value, int mask) {
  T result;
  exchange(value, [&](auto of) { result = of(lane() ^ mask); });
  return result;
}

struct bfloat16 {
  unsigned short bits;
};
struct StepSizes {
  int v[6];
};
static float __int_as_float(int x) {
  float y;
  memcpy(&y, &x, 4);
  return y;
}
static int __float_as_int(float x) {
  int y;
  memcpy(&y, &x, 4);
  return y;
}
static float to_float(bfloat16 x) { return __int_as_float(static_cast<int>(static_cast<unsigned>(x.bits) << 16)); }
template <typename T> static T from_float(float x);
template <> bfloat16 from_float<bfloat16>(float x) {
  unsigned bits = static_cast<unsigned>(__float_as_int(x));
  if (x != x)
    return {0x7fff};
  return {static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}
static int pack_bits(bfloat16 low, bfloat16 high) {
  return static_cast<int>(low.bits | static_cast<unsigned>(high.bits) << 16);
}
static float maximum(float a, float b) { return a != a || b != b ? NAN : a > b ? a : b; }
static float minimum(float a, float b) { return a != a || b != b ? NAN : a < b ? a : b; }
static int max(int a, int b) { return a > b ? a : b; }
static int min(int a, int b) { return a < b ? a : b; }
static int ceil_div(int a, int b) { return a / b + (a % b != 0 && (a < 0) == (b < 0)); }
static float rsqrtf(float x) { return 1.0f / sqrtf(x); }

template <int N, typename T> static void load_vector(T *registers, const T *p, bool present) {
  if (present && reinterpret_cast<uintptr_t>(p) % (N * sizeof(T)) != 0) {
    fprintf(stderr, "misaligned load of %d elements\n", N);
    abort();
  }
  for (int i = 0; i < N; ++i)
    registers[i] = present ? p[i] : T{};
}
template <int N, typename T> static void store_vector(T *p, const T *registers, bool present) {
  if (present && reinterpret_cast<uintptr_t>(p) % (N * sizeof(T)) != 0) {
    fprintf(stderr, "misaligned store of %d elements\n", N);
    abort();
  }
  for (int i = 0; present && i < N; ++i)
    p[i] = registers[i];
}
template <typename T> static void cp_async_16(T *shared, const T *global, bool present) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 || (present && reinterpret_cast<uintptr_t>(global) % 16 != 0)) {
    fprintf(stderr, "misaligned cp.async\n");
    abort();
  }
  current->pending.push_back([=] {
    if (present)
      memcpy(shared, global, 16);
    else
      memset(shared, 0, 16);
  });
}
static void cp_async_commit() {
  current->groups.push_back(std::move(current->pending));
  current->pending.clear();
}
template <int pending> static void cp_async_wait() {
  while (static_cast<int>(current->groups.size()) > pending) {
    for (auto &copy : current->groups.front())
      copy();
    current->groups.erase(current->groups.begin());
  }
}
static unsigned short half(int x, int i) { return static_cast<unsigned short>(static_cast<unsigned>(x) >> (16 * i)); }
template <typename T> static void mma_m16n8k16(float *d, const int *a, const int *b) {
  struct Fragment {
    int a[4], b[2];
  } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  int g = lane() / 4, t = lane() % 4;
  exchange(mine, [&](auto of) {
    for (int i = 0; i < 4; ++i) {
      int row = g + 8 * (i / 2), column = 2 * t + i % 2;
      for (int k = 0; k < 16; ++k) {
        int left = of(row % 8 * 4 + k % 8 / 2).a[row / 8 + 2 * (k / 8)];
        int right = of(column * 4 + k % 8 / 2).b[k / 8];
        d[i] += to_float(T{half(left, k % 2)}) * to_float(T{half(right, k % 2)});
      }
    }
  });
}
template <int matrices, bool transposed, typename T> static void ldmatrix(int *r, const T *row) {
  if (lane() < 8 * matrices && reinterpret_cast<uintptr_t>(row) % 16 != 0) {
    fprintf(stderr, "misaligned ldmatrix\n");
    abort();
  }
  int g = lane() / 4, t = lane() % 4;
  exchange(row, [&](auto of) {
    for (int m = 0; m < matrices; ++m) {
      T low = transposed ? of(8 * m + 2 * t)[g] : of(8 * m + g)[2 * t];
      T high = transposed ? of(8 * m + 2 * t + 1)[g] : of(8 * m + g)[2 * t + 1];
      r[m] = pack_bits(low, high);
    }
  });
}
template <typename T> static void ldmatrix_x4(int *r, const T *row) { ldmatrix<4, false>(r, row); }
template <typename T> static void ldmatrix_x4_trans(int *r, const T *row) { ldmatrix<4, true>(r, row); }
template <typename T> static void ldmatrix_x2(int *r, const T *row) { ldmatrix<2, false>(r, row); }
template <typename T> static void ldmatrix_x2_trans(int *r, const T *row) { ldmatrix<2, true>(r, row); }
/// What the launch before this one writes: it has ended where a block waits for it, and at no time before.
struct LateWrite {
  unsigned char *to;
  std::vector<unsigned char> before, after;
};
static std::vector<LateWrite> lateWrites;
static Barrier dependency;
static void depend() {
  if (lateWrites.empty())
    return;
  arrive(dependency);
  for (const LateWrite &write : lateWrites)
    memcpy(write.to, write.after.data(), write.after.size());
}
static void launch_dependents() {}
static int cluster_rank() { return current->block->rank; }
static void cluster_barrier() { arrive(clusterBarrier); }
static void cluster_leave() { arrive(clusterBarrier); }
static void cluster_arrive() {
  current->clusterGeneration = clusterBarrier.generation;
  if (++clusterBarrier.arrived == clusterBarrier.expected) {
    clusterBarrier.arrived = 0;
    ++clusterBarrier.generation;
  }
}
static void cluster_wait() {
  while (clusterBarrier.generation == current->clusterGeneration)
    swapcontext(&current->context, &scheduler);
}
template <typename T> static T load_of_block(const T *p, int rank) {
  ptrdiff_t offset = reinterpret_cast<const unsigned char *>(p) - current->block->shared;
  return *reinterpret_cast<const T *>((*cluster)[rank].shared + offset);
}
static long long load_pair_of_block(const float *p, int rank, int) {
  return load_of_block(reinterpret_cast<const long long *>(p), rank);
}
static float first_of_pair(long long pair) { return std::bit_cast<float>(static_cast<int>(pair)); }
static float second_of_pair(long long pair) { return std::bit_cast<float>(static_cast<int>(pair >> 32)); }

static void (*kernelBody)();
static void enter() {
  kernelBody();
  current->done = true;
  swapcontext(&current->context, &scheduler);
}
/// Runs the grid, one cluster at a time. Shared memory starts as NaNs.
static void runGrid(void (*body)(), const unsigned *grid, int threads, int blocks, int sharedBytes) {
  kernelBody = body;
  gridDim = {grid[0], grid[1], grid[2]};
  for (unsigned z = 0; z < grid[2]; ++z)
    for (unsigned y = 0; y < grid[1]; ++y)
      for (unsigned x = 0; x < grid[0]; x += blocks) {
        std::vector<Block> group(blocks);
        std::vector<std::unique_ptr<Fiber>> fibers;
        cluster = &group;
        clusterBarrier = dependency = {blocks * threads, 0, 0};
        for (const LateWrite &write : lateWrites)
          memcpy(write.to, write.before.data(), write.before.size());
        for (int rank = 0; rank < blocks; ++rank) {
          Block &block = group[rank];
          block.barrier.expected = threads;
          block.index = {x + rank, y, z};
          block.rank = rank;
          block.warps.resize(threads / 32);
          for (Warp &warp : block.warps)
            warp.barrier.expected = 32;
          block.memory.reset(new unsigned char[sharedBytes + 1024]);
          memset(block.memory.get(), 0xff, sharedBytes + 1024);
          block.shared = block.memory.get() + (1024 - reinterpret_cast<uintptr_t>(block.memory.get()) % 1024);
          for (int thread = 0; thread < threads; ++thread) {
            auto fiber = std::make_unique<Fiber>();
            fiber->stack.resize(128 * 1024);
            fiber->thread.x = thread;
            fiber->block = &block;
            getcontext(&fiber->context);
            fiber->context.uc_stack.ss_sp = fiber->stack.data();
            fiber->context.uc_stack.ss_size = fiber->stack.size();
            fiber->context.uc_link = nullptr;
            makecontext(&fiber->context, enter, 0);
            fibers.push_back(std::move(fiber));
          }
        }
        for (bool running = true; running;) {
          running = false;
          for (auto &fiber : fibers) {
            if (fiber->done)
              continue;
            running = true;
            current = fiber.get();
            swapcontext(&scheduler, &fiber->context);
          }
        }
      }
}
