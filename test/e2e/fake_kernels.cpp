#include "fake_kernels.h"

#include "../codegen/gpu/emulated_launch.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <map>
#include <mutex>
#include <sys/mman.h>

namespace inlay::fake {

struct Kernel {
  std::string name;
  bool (*run)(void **, const EmulatedLaunch *); // as runGrid of emulation.h returns
  const int *parameter_bytes;                   // ends with 0
};

namespace {

constexpr size_t kPage = 4096, kAlignment = 256;

constexpr int kDevices = 8, kInstances = 8;

struct Memory {
  std::byte *mapped;
  size_t mapped_bytes;
  size_t bytes;
  bool is_shared;
  std::vector<std::byte> before; // contents before the current launch
};

// A copy of the library, which has variables. Its mutex is locked while one of its kernels runs.
struct Instance {
  std::mutex mutex;
  std::map<std::string, Kernel> kernels;
  void *library = nullptr;
};

// What a device has. It has more than one instance if ranks that share it run kernels at the same time, which wait for
// each other. None of these kernels starts early.
struct DeviceState {
  Instance instances[kInstances];
  std::mutex mutex; // guards the members below
  std::map<std::byte *, Memory> memories;
  // The memory that was written since the last launch that waited for all earlier launches. Later launches may run at
  // the same time as these writes. A launch whose dependents start when it has waited leaves its own writes only.
  std::vector<LateWrite> unfinished;
};
DeviceState devices[kDevices];

void Snapshot(DeviceState &device) {
  for (auto &[address, memory] : device.memories)
    if (!memory.is_shared)
      memory.before.assign(address, address + memory.bytes);
}

// Adds the memory that differs from the snapshot to `unfinished`, in units of 64 bytes.
void CollectWrites(DeviceState &device) {
  constexpr size_t kUnit = 64;
  for (auto &[address, memory] : device.memories)
    for (size_t at = 0; at < memory.bytes && !memory.is_shared;) {
      size_t end = at;
      while (end < memory.bytes &&
             std::memcmp(address + end, memory.before.data() + end, std::min(kUnit, memory.bytes - end)) != 0)
        end = std::min(end + kUnit, memory.bytes);
      if (end > at)
        device.unfinished.push_back(
            {reinterpret_cast<unsigned char *>(address + at), static_cast<long long>(end - at)});
      at = std::max(end, at + kUnit);
    }
}

void Log(const Launch &launch, int64_t microseconds) {
  const char *path = std::getenv("FAKE_LOG");
  if (!path)
    return;
  // The sizes of the step are the last parameter of 24 bytes.
  int sizes[6] = {};
  for (const std::vector<std::byte> &parameter : launch.parameters)
    if (parameter.size() == sizeof sizes)
      std::memcpy(sizes, parameter.data(), sizeof sizes);
  std::FILE *file = std::fopen(path, "a");
  if (!file)
    return;
  std::fprintf(file, "%s %u %u %u", launch.kernel->name.c_str(), launch.grid[0], launch.grid[1], launch.grid[2]);
  for (int size : sizes)
    std::fprintf(file, " %d", size);
  std::fprintf(file, " %lld\n", static_cast<long long>(microseconds));
  std::fclose(file);
}

[[noreturn]] void Fail(const char *problem) {
  std::fprintf(stderr, "FAKE_KERNELS: %s\n", problem);
  std::abort();
}

// Loads the library, of which all but the first instance of the first device get a copy: the same file would be the
// same instance.
void *Library(int device, int instance) {
  std::string path = std::getenv("FAKE_KERNELS");
  const int number = device + kDevices * instance;
  std::string copy = path + "." + std::to_string(number);
  if (number > 0) {
    std::error_code error;
    std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing, error);
    if (error)
      Fail(error.message().c_str());
  }
  void *opened = dlopen((number > 0 ? copy : path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!opened)
    Fail(dlerror());
  return opened;
}

// The mutex of the instance is locked.
const Kernel *FindIn(int device, int instance, const std::string &name) {
  Instance &state = devices[device].instances[instance];
  if (!state.library)
    state.library = Library(device, instance);
  auto it = state.kernels.find(name);
  if (it == state.kernels.end()) {
    Kernel kernel{name, nullptr, nullptr};
    kernel.run = reinterpret_cast<decltype(kernel.run)>(dlsym(state.library, ("run_" + name).c_str()));
    kernel.parameter_bytes = static_cast<const int *>(dlsym(state.library, ("parameters_" + name).c_str()));
    if (!kernel.run || !kernel.parameter_bytes)
      return nullptr;
    it = state.kernels.emplace(name, kernel).first;
  }
  return &it->second;
}

} // namespace

bool HasKernels() { return std::getenv("FAKE_KERNELS") != nullptr; }

const Kernel *FindKernel(const std::string &name, int device) {
  std::lock_guard lock(devices[device].instances[0].mutex);
  return FindIn(device, 0, name);
}

const std::string &NameOf(const Kernel &kernel) { return kernel.name; }

void SetParameters(Launch &launch, void **parameters) {
  for (const int *bytes = launch.kernel->parameter_bytes; *bytes; ++bytes, ++parameters) {
    const auto *value = static_cast<const std::byte *>(*parameters);
    launch.parameters.emplace_back(value, value + *bytes);
  }
}

void Run(const Launch &launch) {
  DeviceState &state = devices[launch.device];
  int instance = 0;
  while (!state.instances[instance].mutex.try_lock())
    if (++instance == kInstances)
      Fail("too many kernels run on one device");
  std::lock_guard running(state.instances[instance].mutex, std::adopt_lock);
  const Kernel *kernel = FindIn(launch.device, instance, launch.kernel->name);
  std::vector<LateWrite> unfinished;
  {
    std::lock_guard lock(state.mutex);
    if (!launch.may_start_early)
      state.unfinished.clear();
    unfinished = state.unfinished;
    Snapshot(state);
  }
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
  bool has_late_dependents = kernel->run(parameters.data(), &emulated);
  auto elapsed = std::chrono::steady_clock::now() - begin;
  for (void *parameter : parameters)
    std::free(parameter);
  {
    std::lock_guard lock(state.mutex);
    if (has_late_dependents)
      state.unfinished.clear();
    CollectWrites(state);
  }
  Log(launch, std::chrono::duration_cast<std::chrono::microseconds>(elapsed).count());
}

void *Allocate(size_t bytes, int device, bool is_shared) {
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
  DeviceState &state = devices[device];
  std::lock_guard lock(state.mutex);
  state.memories[address] = {static_cast<std::byte *>(mapped), pages + 2 * kPage, rounded, is_shared, {}};
  return address;
}

void Free(void *memory) {
  for (DeviceState &state : devices) {
    std::lock_guard lock(state.mutex);
    auto it = state.memories.find(static_cast<std::byte *>(memory));
    if (it == state.memories.end())
      continue;
    munmap(it->second.mapped, it->second.mapped_bytes);
    state.memories.erase(it);
    state.unfinished.clear();
  }
}

} // namespace inlay::fake
