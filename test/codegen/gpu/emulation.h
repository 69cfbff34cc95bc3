// Runs a generated kernel on the CPU, with one fiber per thread: defines the functions of the device headers that the
// generic lowering calls, in plain C++. Copies by cp.async happen when they are waited for, which is the latest moment
// that the program allows. Results of earlier launches appear when no fiber can continue without them.
#include "emulated_launch.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <sys/mman.h>
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
  int expected = 0, arrived = 0;
  unsigned generation = 0;
};
struct Warp {
  Barrier barrier;
  alignas(16) unsigned char slots[2][32][64];
};
struct Block {
  Barrier barrier, named[16];
  Index3 index;
  int rank = 0;
  std::vector<Warp> warps;
  unsigned char *shared = nullptr;
};
/// What a fiber waits for: `(*word & mask) != value`. The scheduler evaluates it, because a switch to a fiber and back
/// takes much longer: its stack and registers are rarely in the first-level cache.
struct Wait {
  const unsigned *word;
  unsigned mask, value;
};
static const unsigned anyWord = 0;
constexpr Wait readyNow = {&anyWord, 0, 1}, never = {&anyWord, 0, 0};
struct Fiber {
  void *stackPointer = nullptr;
  Index3 thread;
  Block *block = nullptr;
  Wait *wait = nullptr;
  const char *waitsFor = "";
  unsigned clusterGeneration = 0;
  std::vector<std::vector<std::function<void()>>> groups;
  std::vector<std::function<void()>> pending;
};
static void *scheduler;
static Fiber *current;
static std::vector<Block> *cluster;
static Barrier clusterBarrier;
static Index3 gridDim, blockDim;
// Counts events after which a waiting fiber may be able to continue.
static unsigned long long progress;
#define threadIdx (current->thread)
#define blockIdx (current->block->index)
#define shared_memory (current->block->shared)

// Pushes the callee-saved registers, stores the stack pointer at `from` and continues with the stack pointer `to`.
extern "C" void emulation_switch(void **from, void *to);
asm(R"(
.text
.type emulation_switch,@function
emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
static void yield() { emulation_switch(&current->stackPointer, scheduler); }
[[noreturn]] static void fail(const char *problem) {
  fprintf(stderr, "block %u %u %u, thread %u: %s\n", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, problem);
  abort();
}
static void waitUntil(const char *what, Wait condition) {
  if ((*condition.word & condition.mask) != condition.value)
    return;
  current->waitsFor = what;
  *current->wait = condition;
  yield();
  *current->wait = readyNow;
}
static void waitForNext(const Barrier &barrier, unsigned generation, const char *what) {
  waitUntil(what, {&barrier.generation, ~0u, generation});
}

static void countArrival(Barrier &barrier) {
  ++progress;
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.generation;
  }
}
static void arrive(Barrier &barrier, const char *what) {
  unsigned generation = barrier.generation;
  countArrival(barrier);
  waitForNext(barrier, generation, what);
}
static void __syncthreads() { arrive(current->block->barrier, "the threads of its block"); }
static void named_barrier(int id, int threads) {
  Barrier &barrier = current->block->named[id];
  barrier.expected = threads;
  arrive(barrier, "the threads of its named barrier");
}
static int lane() { return current->thread.x % 32; }
static int read_lane() { return lane(); }
static Warp &warpOf() { return current->block->warps[current->thread.x / 32]; }
/// Publishes `mine` to the warp and calls `read` with a function that returns the value of each lane. The slots of an
/// exchange are reused by the second exchange after it, which no lane starts before all lanes have read.
template <typename T, typename Read> static void exchange(const T &mine, Read read) {
  static_assert(sizeof(T) <= 64);
  Warp &warp = warpOf();
  auto &slots = warp.slots[warp.barrier.generation & 1];
  memcpy(slots[lane()], &mine, sizeof(T));
  arrive(warp.barrier, "the lanes of its warp");
  read([&](int other) -> const T & { return *reinterpret_cast<const T *>(slots[other]); });
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
static float __uint_as_float(unsigned x) { return __int_as_float(static_cast<int>(x)); }
static float to_float(bfloat16 x) { return __int_as_float(static_cast<int>(static_cast<unsigned>(x.bits) << 16)); }
template <typename T> static T from_float(float x);
template <> bfloat16 from_float<bfloat16>(float x) {
  unsigned bits = static_cast<unsigned>(__float_as_int(x));
  if (x != x)
    return {0x7fff};
  return {static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}
struct e4m3 {
  unsigned char bits;
};
/// The numbers that the codes stand for. Those of 0 to 0x7e grow.
static const std::array<float, 256> e4m3Numbers = [] {
  std::array<float, 256> numbers{};
  for (int code = 0; code < 256; ++code) {
    int exponent = code >> 3 & 15, fraction = code & 7;
    float magnitude =
        exponent ? ldexpf(static_cast<float>(8 + fraction), exponent - 10) : ldexpf(static_cast<float>(fraction), -9);
    numbers[code] = exponent == 15 && fraction == 7 ? NAN : code & 0x80 ? -magnitude : magnitude;
  }
  return numbers;
}();
static float to_float(e4m3 x) { return e4m3Numbers[x.bits]; }
static void convert_e4m3x2(float *numbers, unsigned short codes) {
  numbers[0] = to_float(e4m3{static_cast<unsigned char>(codes)});
  numbers[1] = to_float(e4m3{static_cast<unsigned char>(codes >> 8)});
}
template <> e4m3 from_float<e4m3>(float x) {
  if (x != x)
    return {0x7f};
  // The nearest number of 0 to 448, the even code of two.
  const float *first = e4m3Numbers.data(), magnitude = fabsf(x);
  int code = static_cast<int>(std::lower_bound(first, first + 0x7e, magnitude) - first);
  if (code > 0) {
    float below = magnitude - first[code - 1], above = first[code] - magnitude;
    if (below < above || (below == above && code % 2 == 1))
      --code;
  }
  return {static_cast<unsigned char>(code | (std::signbit(x) ? 0x80 : 0))};
}
static void to_e4m3x2(e4m3 *codes, float low, float high) {
  codes[0] = from_float<e4m3>(low);
  codes[1] = from_float<e4m3>(high);
}
template <typename T> static void widen_e4m3x4(int *pairs, unsigned codes) {
  auto number = [&](int i) { return from_float<T>(to_float(e4m3{static_cast<unsigned char>(codes >> (8 * i))})).bits; };
  pairs[0] = static_cast<int>(number(0) | static_cast<unsigned>(number(2)) << 16);
  pairs[1] = static_cast<int>(number(1) | static_cast<unsigned>(number(3)) << 16);
}
template <typename T> static void widen_e4m3_words(int *pairs, const int *words) {
  for (int i = 0; i < 4; ++i)
    widen_e4m3x4<T>(pairs + 2 * i, static_cast<unsigned>(words[i]));
}
template <typename T> static void widen_e4m3x16(T *wide, const e4m3 *codes) {
  for (int i = 0; i < 16; ++i)
    wide[i] = from_float<T>(to_float(codes[i]));
}
static int pack_bits(bfloat16 low, bfloat16 high) {
  return static_cast<int>(low.bits | static_cast<unsigned>(high.bits) << 16);
}
static float maximum(float a, float b) { return a != a || b != b ? NAN : a > b ? a : b; }
static float minimum(float a, float b) { return a != a || b != b ? NAN : a < b ? a : b; }
static int max(int a, int b) { return a > b ? a : b; }
static int min(int a, int b) { return a < b ? a : b; }
static int ceil_div(int a, int b) { return a / b + (a % b != 0 && (a < 0) == (b < 0)); }
static int floor_div(int a, int b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
static float rsqrtf(float x) { return 1.0f / sqrtf(x); }

template <int N, typename T> static void load_vector_or_zero(T *registers, const T *p, long long offset, bool present) {
  p += present ? offset : 0;
  if (reinterpret_cast<uintptr_t>(p) % (N * sizeof(T)) != 0)
    fail("a load that is not aligned");
  memcpy(registers, p, N * sizeof(T));
  if (!present)
    memset(static_cast<void *>(registers), 0, N * sizeof(T));
}
template <int N, typename T> static void load_vector(T *registers, const T *p, bool present) {
  if (present && reinterpret_cast<uintptr_t>(p) % (N * sizeof(T)) != 0) {
    fail("misaligned load");
  }
  for (int i = 0; i < N; ++i)
    registers[i] = present ? p[i] : T{};
}
template <int N, typename T> static void load_vector_l2_only(T *registers, const T *p, bool present) {
  load_vector<N>(registers, p, present);
}
template <int N, typename T> static void store_vector(T *p, const T *registers, bool present) {
  if (present && reinterpret_cast<uintptr_t>(p) % (N * sizeof(T)) != 0) {
    fail("misaligned store");
  }
  for (int i = 0; present && i < N; ++i)
    p[i] = registers[i];
}
template <typename T> static void cp_async_16(T *shared, const T *global, bool present) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 || (present && reinterpret_cast<uintptr_t>(global) % 16 != 0)) {
    fail("misaligned cp.async");
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
/// Adds to d the products of rows g and g + 8 of the left operand with columns 2 t and 2 t + 1 of the right one.
template <typename T> static void mma_m16n8k16(float *d, const int *a, const int *b) {
  struct Fragment {
    int a[4], b[2];
  } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  int g = lane() / 4, t = lane() % 4;
  exchange(mine, [&](auto of) {
    for (int k = 0; k < 16; ++k) {
      int from = k % 8 / 2, high = k / 8;
      const Fragment &rows = of(g * 4 + from), &even = of(8 * t + from), &odd = of(8 * t + 4 + from);
      for (int h = 0; h < 2; ++h) {
        float left = to_float(T{half(rows.a[h + 2 * high], k % 2)});
        d[2 * h] += left * to_float(T{half(even.b[high], k % 2)});
        d[2 * h + 1] += left * to_float(T{half(odd.b[high], k % 2)});
      }
    }
  });
}
template <int matrices, bool transposed, typename T> static void ldmatrix(int *r, const T *row) {
  if (lane() < 8 * matrices && reinterpret_cast<uintptr_t>(row) % 16 != 0) {
    fail("misaligned ldmatrix");
  }
  int g = lane() / 4, t = lane() % 4;
  // Elements are units of 16 bits, whatever they hold.
  exchange(reinterpret_cast<const bfloat16 *>(row), [&](auto of) {
    for (int m = 0; m < matrices; ++m) {
      bfloat16 low = transposed ? of(8 * m + 2 * t)[g] : of(8 * m + g)[2 * t];
      bfloat16 high = transposed ? of(8 * m + 2 * t + 1)[g] : of(8 * m + g)[2 * t + 1];
      r[m] = pack_bits(low, high);
    }
  });
}
template <typename T> static void ldmatrix_x4(int *r, const T *row) { ldmatrix<4, false>(r, row); }
template <typename T> static void ldmatrix_x4_trans(int *r, const T *row) { ldmatrix<4, true>(r, row); }
template <typename T> static void ldmatrix_x2(int *r, const T *row) { ldmatrix<2, false>(r, row); }
template <typename T> static void ldmatrix_x2_trans(int *r, const T *row) { ldmatrix<2, true>(r, row); }
static unsigned dependencyEnded; // 0 or 1
/// Whether the next launch may start only when the launches before this one have ended.
static bool dependentsAreLate;
static std::vector<std::pair<LateWrite, std::vector<unsigned char>>> lateContents;
static void depend() { waitUntil("the launches before it", {&dependencyEnded, ~0u, 0}); }
static void launch_dependents() { dependentsAreLate &= dependencyEnded != 0; }
static int cluster_rank() { return current->block->rank; }
static void cluster_barrier() { arrive(clusterBarrier, "the threads of its cluster"); }
static void cluster_leave() { cluster_barrier(); }
static void cluster_arrive() {
  current->clusterGeneration = clusterBarrier.generation;
  countArrival(clusterBarrier);
}
static void cluster_wait() { waitForNext(clusterBarrier, current->clusterGeneration, "the threads of its cluster"); }
template <typename T> static T load_of_block(const T *p, int rank) {
  ptrdiff_t offset = reinterpret_cast<const unsigned char *>(p) - current->block->shared;
  return *reinterpret_cast<const T *>((*cluster)[rank].shared + offset);
}
template <int N, typename T> static void load_vector_of_block(T *registers, const T *p, int rank) {
  if (reinterpret_cast<uintptr_t>(p) % (N * sizeof(T)) != 0)
    fail("misaligned load from another block");
  for (int i = 0; i < N; ++i)
    registers[i] = load_of_block(p + i, rank);
}

static void (*kernelBody)();
static void enter() {
  kernelBody();
  *current->wait = never;
  ++progress;
  yield();
  abort();
}
/// Memory for blocks and for stacks of fibers: their ends. Later launches use it again, because mapping 4,096 stacks
/// takes longer than most kernels run. All parts of a library share it.
inline std::vector<unsigned char *> sharedEnds, stackEnds;
constexpr size_t pageBytes = 4096, mostSharedBytes = 256 * 1024, stackBytes = 128 * 1024;
/// Returns the end of `bytes` of memory. An inaccessible page follows.
static unsigned char *mapMemory(size_t bytes) {
  void *memory =
      mmap(nullptr, bytes + pageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(static_cast<unsigned char *>(memory) + bytes, pageBytes, PROT_NONE) != 0) {
    perror("memory for a block");
    abort();
  }
  return static_cast<unsigned char *>(memory) + bytes;
}
/// Unmaps what mapMemory() gave. A process may have some ten thousand mappings; one that loads many libraries calls
/// this after each launch.
extern "C" __attribute__((used)) inline void releaseMemory() {
  for (unsigned char *end : sharedEnds)
    munmap(end - mostSharedBytes, mostSharedBytes + pageBytes);
  for (unsigned char *end : stackEnds)
    munmap(end - stackBytes, stackBytes + pageBytes);
  sharedEnds.clear();
  stackEnds.clear();
}
/// Shared memory for the block of this rank: `bytes` of NaNs at a multiple of 1024, before an inaccessible page.
static unsigned char *sharedMemory(int rank, size_t bytes) {
  constexpr size_t alignment = 1024;
  while (static_cast<int>(sharedEnds.size()) <= rank)
    sharedEnds.push_back(mapMemory(mostSharedBytes));
  size_t aligned = (bytes + alignment - 1) / alignment * alignment;
  return static_cast<unsigned char *>(memset(sharedEnds[rank] - aligned, 0xff, aligned));
}
/// Makes the fiber of thread `thread` of a block. It starts at enter(), on stack number `index`.
static std::unique_ptr<Fiber> makeFiber(Block &block, int thread, size_t index) {
  if (index == stackEnds.size())
    stackEnds.push_back(mapMemory(stackBytes));
  auto fiber = std::make_unique<Fiber>();
  // The return address of the switch, at a multiple of 16, above the six registers that the switch pops.
  // Stacks begin at different offsets of a page. At the same offset, their first lines would share few places in the
  // cache.
  auto *frame = reinterpret_cast<void **>(stackEnds[index] - 32 - index % 32 * 64);
  frame[0] = reinterpret_cast<void *>(enter);
  fiber->stackPointer = frame - 6;
  fiber->thread.x = thread;
  fiber->block = &block;
  return fiber;
}
/// Called when no fiber can continue: ends the earlier launches. If they have ended already, the kernel hangs.
static void unblock(const std::vector<std::unique_ptr<Fiber>> &fibers) {
  if (!dependencyEnded) {
    for (const auto &[write, contents] : lateContents)
      memcpy(write.to, contents.data(), contents.size());
    dependencyEnded = 1;
    return;
  }
  for (const auto &fiber : fibers)
    if (fiber->wait->mask != 0)
      fprintf(stderr, "block %u %u %u, thread %u waits for %s\n", fiber->block->index.x, fiber->block->index.y,
              fiber->block->index.z, fiber->thread.x, fiber->waitsFor);
  fprintf(stderr, "the kernel hangs\n");
  abort();
}
static void runCluster(const EmulatedLaunch &launch, Index3 first) {
  std::vector<Block> group(launch.cluster);
  std::vector<std::unique_ptr<Fiber>> fibers;
  cluster = &group;
  clusterBarrier = {launch.cluster * launch.threads, 0, 0};
  // Save all contents before any is overwritten with NaNs, because writes may overlap.
  lateContents.clear();
  for (const LateWrite &write : std::span(launch.late, launch.lateCount))
    lateContents.emplace_back(write, std::vector<unsigned char>(write.to, write.to + write.bytes));
  for (const LateWrite &write : std::span(launch.late, launch.lateCount))
    memset(write.to, 0xff, write.bytes);
  dependencyEnded = launch.lateCount == 0 ? 1 : 0;
  for (int rank = 0; rank < launch.cluster; ++rank) {
    Block &block = group[rank];
    block.barrier.expected = launch.threads;
    block.index = {first.x + rank, first.y, first.z};
    block.rank = rank;
    block.warps.resize(launch.threads / 32);
    for (Warp &warp : block.warps)
      warp.barrier.expected = 32;
    block.shared = sharedMemory(rank, launch.sharedBytes);
    for (int thread = 0; thread < launch.threads; ++thread)
      fibers.push_back(makeFiber(block, thread, fibers.size()));
  }
  std::vector<Wait> waits(fibers.size(), readyNow);
  for (size_t i = 0; i < fibers.size(); ++i)
    fibers[i]->wait = &waits[i];
  // Plain pointers, because most kernels are compiled without optimization.
  const Wait *begin = waits.data(), *end = begin + waits.size();
  for (size_t ended = 0; ended < fibers.size();) {
    unsigned long long before = progress;
    for (const Wait *wait = begin; wait != end; ++wait) {
      if ((*wait->word & wait->mask) == wait->value)
        continue;
      current = fibers[wait - begin].get();
      emulation_switch(&scheduler, current->stackPointer);
      ended += wait->mask == 0 && wait->value == never.value;
    }
    if (ended < fibers.size() && progress == before)
      unblock(fibers);
  }
  if (!dependencyEnded) { // the cluster did not wait for earlier launches
    dependentsAreLate = false;
    unblock(fibers);
  }
}
/// Runs the grid, one cluster at a time. Shared memory starts as NaNs. Returns whether the next launch may start only
/// when the launches before this one have ended.
static bool runGrid(void (*body)(), const EmulatedLaunch &launch) {
  if (launch.threads % 32 != 0 || launch.grid[0] % launch.cluster != 0) {
    fprintf(stderr, "a grid of %u blocks of %d threads in clusters of %d cannot be launched\n", launch.grid[0],
            launch.threads, launch.cluster);
    abort();
  }
  kernelBody = body;
  dependentsAreLate = true;
  gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
  blockDim = {static_cast<unsigned>(launch.threads), 1, 1};
  for (unsigned z = 0; z < gridDim.z; ++z)
    for (unsigned y = 0; y < gridDim.y; ++y)
      for (unsigned x = 0; x < gridDim.x; x += launch.cluster)
        runCluster(launch, {x, y, z});
  return dependentsAreLate;
}
