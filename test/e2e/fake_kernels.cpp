#include "fake_kernels.h"

#include "../codegen/gpu/emulated_launch.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <sys/mman.h>

namespace inlay::fake {

struct Kernel {
  std::string name;
  void (*run)(void **, const EmulatedLaunch *);
  const int *parameter_bytes; // ends with 0
};

namespace {

constexpr size_t kPage = 4096, kAlignment = 256;

std::mutex mutex;

struct Memory {
  std::byte *mapped;
  size_t mapped_bytes;
  size_t bytes;
  std::vector<std::byte> before; // contents before the current launch
};
std::map<std::byte *, Memory> memories;

// The memory that was written since the last launch that waited for all earlier launches. Later launches may run at the
// same time as these writes.
std::vector<LateWrite> unfinished;

void Snapshot() {
  for (auto &[address, memory] : memories)
    memory.before.assign(address, address + memory.bytes);
}

// Adds the memory that differs from the snapshot to `unfinished`, in units of 64 bytes.
void CollectWrites() {
  constexpr size_t kUnit = 64;
  for (auto &[address, memory] : memories)
    for (size_t at = 0; at < memory.bytes;) {
      size_t end = at;
      while (end < memory.bytes &&
             std::memcmp(address + end, memory.before.data() + end, std::min(kUnit, memory.bytes - end)) != 0)
        end = std::min(end + kUnit, memory.bytes);
      if (end > at)
        unfinished.push_back({reinterpret_cast<unsigned char *>(address + at), static_cast<long long>(end - at)});
      at = std::max(end, at + kUnit);
    }
}

void Log(const Launch &launch, int64_t microseconds) {
  const char *path = std::getenv("FAKE_LOG");
  if (!path)
    return;
  int sizes[6] = {};
  std::memcpy(sizes, launch.parameters.back().data(), sizeof sizes);
  std::FILE *file = std::fopen(path, "a");
  if (!file)
    return;
  std::fprintf(file, "%s %u %u %u", launch.kernel->name.c_str(), launch.grid[0], launch.grid[1], launch.grid[2]);
  for (int size : sizes)
    std::fprintf(file, " %d", size);
  std::fprintf(file, " %lld\n", static_cast<long long>(microseconds));
  std::fclose(file);
}

void *Library() {
  static void *library = [] {
    void *opened = dlopen(std::getenv("FAKE_KERNELS"), RTLD_NOW | RTLD_LOCAL);
    if (!opened) {
      std::fprintf(stderr, "FAKE_KERNELS: %s\n", dlerror());
      std::abort();
    }
    return opened;
  }();
  return library;
}

} // namespace

bool HasKernels() { return std::getenv("FAKE_KERNELS") != nullptr; }

const Kernel *FindKernel(const std::string &name) {
  std::lock_guard lock(mutex);
  static std::map<std::string, Kernel> kernels;
  auto it = kernels.find(name);
  if (it == kernels.end()) {
    Kernel kernel{name, nullptr, nullptr};
    kernel.run = reinterpret_cast<decltype(kernel.run)>(dlsym(Library(), ("run_" + name).c_str()));
    kernel.parameter_bytes = static_cast<const int *>(dlsym(Library(), ("parameters_" + name).c_str()));
    if (!kernel.run || !kernel.parameter_bytes)
      return nullptr;
    it = kernels.emplace(name, kernel).first;
  }
  return &it->second;
}

void SetParameters(Launch &launch, void **parameters) {
  for (const int *bytes = launch.kernel->parameter_bytes; *bytes; ++bytes, ++parameters) {
    const auto *value = static_cast<const std::byte *>(*parameters);
    launch.parameters.emplace_back(value, value + *bytes);
  }
}

void Run(const Launch &launch) {
  std::lock_guard lock(mutex);
  if (!launch.may_start_early)
    unfinished.clear();
  Snapshot();
  std::vector<void *> parameters;
  for (const auto &value : launch.parameters) {
    // Tensor maps are aligned to 64 bytes.
    void *copy = std::aligned_alloc(64, (value.size() + 63) / 64 * 64);
    parameters.push_back(std::memcpy(copy, value.data(), value.size()));
  }
  EmulatedLaunch emulated{{launch.grid[0], launch.grid[1], launch.grid[2]},
                          launch.threads,
                          launch.cluster,
                          launch.shared_bytes,
                          unfinished.data(),
                          static_cast<int>(unfinished.size())};
  auto begin = std::chrono::steady_clock::now();
  launch.kernel->run(parameters.data(), &emulated);
  auto elapsed = std::chrono::steady_clock::now() - begin;
  for (void *parameter : parameters)
    std::free(parameter);
  CollectWrites();
  Log(launch, std::chrono::duration_cast<std::chrono::microseconds>(elapsed).count());
}

void *Allocate(size_t bytes) {
  // Place the memory directly before a page that cannot be accessed, as closely as the alignment allows.
  size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  size_t pages = (rounded + kPage - 1) / kPage * kPage;
  void *mapped = mmap(nullptr, pages + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    return nullptr;
  auto *first = static_cast<std::byte *>(mapped) + kPage;
  if (mprotect(first, pages, PROT_READ | PROT_WRITE) != 0)
    return nullptr;
  std::memset(first, 0xff, pages);
  std::byte *address = first + pages - rounded;
  std::lock_guard lock(mutex);
  memories[address] = {static_cast<std::byte *>(mapped), pages + 2 * kPage, rounded, {}};
  return address;
}

void Free(void *memory) {
  std::lock_guard lock(mutex);
  auto it = memories.find(static_cast<std::byte *>(memory));
  munmap(it->second.mapped, it->second.mapped_bytes);
  memories.erase(it);
  unfinished.clear();
}

} // namespace inlay::fake
