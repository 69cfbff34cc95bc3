// Memory and copies of the fake driver (fake_driver.cpp).
#include "fake_driver.h"
#include "fake_driver_state.h"
#include "fake_kernels.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace inlay::fake;
namespace fake = inlay::fake;

struct Allocation {
  size_t bytes;
  int gpu;
  bool is_shared;      // made by cuMemCreate()
  std::vector<int> by; // GPUs that may access it
};

std::mutex mutex; // guards the variables below
std::set<void *> pinned;
std::map<Pointer, Allocation> allocated;
size_t used[kMaxGpus];

size_t MemoryBytes() {
  const char *text = std::getenv("FAKE_MEMORY");
  return text ? std::strtoull(text, nullptr, 10) : size_t{1} << 30;
}

enum class Reach { kYes, kNo, kBroken };

// Whether the current GPU reaches memory. Host memory is not in `allocated`.
Reach ReachOf(Pointer memory) {
  std::lock_guard lock(mutex);
  auto it = allocated.upper_bound(memory);
  if (it == allocated.begin())
    return Reach::kYes;
  const auto &[begin, found] = *--it;
  if (memory >= begin + found.bytes)
    return Reach::kYes;
  if (std::find(found.by.begin(), found.by.end(), current->gpu) == found.by.end() ||
      Names("FAKE_FAULT", current->gpu, found.gpu))
    return Reach::kNo;
  return Names("FAKE_BROKEN", current->gpu, found.gpu) ? Reach::kBroken : Reach::kYes;
}

Result Copy(Pointer to, Pointer from, size_t bytes) {
  Reach writes = ReachOf(to), reads = ReachOf(from);
  if (writes == Reach::kNo || reads == Reach::kNo)
    return kIllegalAddress;
  if (writes == Reach::kBroken)
    return kOk;
  if (reads == Reach::kBroken)
    std::memset(reinterpret_cast<void *>(to), 0, bytes);
  else
    std::memcpy(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes);
  return kOk;
}

} // namespace

// The names are those of the CUDA driver API.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

Result cuMemGetInfo_v2(size_t *free, size_t *total) {
  std::lock_guard lock(mutex);
  *total = MemoryBytes();
  *free = *total - used[current->gpu];
  return kOk;
}
Result cuMemAlloc_v2(Pointer *memory, size_t bytes) {
  std::lock_guard lock(mutex);
  if (bytes > MemoryBytes() - used[current->gpu])
    return kOutOfMemory;
  void *given = fake::Allocate(bytes, current->gpu);
  if (!given)
    return kOutOfMemory;
  // Without kernels nothing writes the sampled tokens, so they must be valid ids.
  if (!fake::HasKernels())
    std::memset(given, 0, bytes);
  *memory = reinterpret_cast<Pointer>(given);
  allocated[*memory] = {bytes, current->gpu, false, {current->gpu}};
  used[current->gpu] += bytes;
  return kOk;
}
Result cuMemFree_v2(Pointer memory) {
  std::lock_guard lock(mutex);
  const Allocation &found = allocated.at(memory);
  if (found.is_shared)
    return kInvalidValue;
  used[found.gpu] -= found.bytes;
  allocated.erase(memory);
  fake::Free(reinterpret_cast<void *>(memory));
  return kOk;
}
// Virtual memory management: a handle is a file in memory, which ends with the number of its GPU. It is mapped over the
// memory that cuMemAddressReserve() has allocated.
struct AllocationProperties {
  int type, handle_types, location_type, gpu;
  void *security;
  unsigned char flags[8];
};
struct AccessDescription {
  int type, gpu, flags;
};
struct Physical {
  size_t bytes;
  int gpu, file;
  bool is_exported;
};
constexpr int kFileHandle = 1;
Result cuMemGetAllocationGranularity(size_t *granularity, const AllocationProperties *, int) {
  *granularity = 65536;
  return kOk;
}
Result cuMemAddressReserve(Pointer *address, size_t bytes, size_t, Pointer, unsigned long long) {
  std::lock_guard lock(mutex);
  void *given = fake::Allocate(bytes, current->gpu, /*is_shared=*/true);
  *address = reinterpret_cast<Pointer>(given);
  return given ? kOk : kOutOfMemory;
}
Result cuMemAddressFree(Pointer address, size_t) {
  fake::Free(reinterpret_cast<void *>(address));
  return kOk;
}
Result cuMemCreate(uint64_t *handle, size_t bytes, const AllocationProperties *properties, unsigned long long) {
  std::lock_guard lock(mutex);
  if (bytes > MemoryBytes() - used[properties->gpu])
    return kOutOfMemory;
  const int file = memfd_create("fake GPU", MFD_CLOEXEC);
  const std::vector<std::byte> nans(bytes, std::byte{0xff});
  if (pwrite(file, nans.data(), bytes, 0) != static_cast<ssize_t>(bytes) ||
      pwrite(file, &properties->gpu, sizeof(int), static_cast<off_t>(bytes)) != sizeof(int))
    return kOutOfMemory;
  *handle =
      reinterpret_cast<uint64_t>(new Physical{bytes, properties->gpu, file, properties->handle_types == kFileHandle});
  return kOk;
}
Result cuMemRelease(uint64_t handle) {
  auto *physical = reinterpret_cast<Physical *>(handle);
  close(physical->file);
  delete physical;
  return kOk;
}
Result cuMemExportToShareableHandle(void *file, uint64_t handle, int type, unsigned long long) {
  const Physical &physical = *reinterpret_cast<const Physical *>(handle);
  if (type != kFileHandle || !physical.is_exported)
    return kInvalidValue;
  const int copy = dup(physical.file);
  std::memcpy(file, &copy, sizeof copy);
  return kOk;
}
Result cuMemImportFromShareableHandle(uint64_t *handle, void *given, int type) {
  const int file = dup(static_cast<int>(reinterpret_cast<intptr_t>(given)));
  const off_t bytes = lseek(file, 0, SEEK_END) - static_cast<off_t>(sizeof(int));
  int gpu = 0;
  if (type != kFileHandle || bytes <= 0 || pread(file, &gpu, sizeof gpu, bytes) != sizeof gpu)
    return kInvalidValue;
  *handle = reinterpret_cast<uint64_t>(new Physical{static_cast<size_t>(bytes), gpu, file, true});
  return kOk;
}
Result cuMemMap(Pointer address, size_t bytes, size_t, uint64_t handle, unsigned long long) {
  std::lock_guard lock(mutex);
  const Physical &physical = *reinterpret_cast<const Physical *>(handle);
  if (bytes != physical.bytes || mmap(reinterpret_cast<void *>(address), bytes, PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_FIXED, physical.file, 0) == MAP_FAILED)
    return kInvalidValue;
  allocated[address] = {bytes, physical.gpu, true, {}};
  used[physical.gpu] += bytes;
  return kOk;
}
Result cuMemSetAccess(Pointer address, size_t, const AccessDescription *access, size_t count) {
  std::lock_guard lock(mutex);
  for (size_t i = 0; i < count; ++i)
    allocated.at(address).by.push_back(access[i].gpu);
  return kOk;
}
Result cuMemUnmap(Pointer address, size_t bytes) {
  std::lock_guard lock(mutex);
  mmap(reinterpret_cast<void *>(address), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  const Allocation &found = allocated.at(address);
  used[found.gpu] -= found.bytes;
  allocated.erase(address);
  return kOk;
}
Result cuMemAllocHost_v2(void **memory, size_t bytes) {
  *memory = std::malloc(bytes);
  std::lock_guard lock(mutex);
  pinned.insert(*memory);
  return kOk;
}
Result cuMemFreeHost(void *memory) {
  std::lock_guard lock(mutex);
  pinned.erase(memory);
  std::free(memory);
  return kOk;
}
Result cuMemHostRegister_v2(void *memory, size_t, unsigned flags) {
  constexpr unsigned kPortable = 1;
  std::lock_guard lock(mutex);
  return flags == kPortable && pinned.insert(memory).second ? kOk : kInvalidValue;
}
Result cuMemHostUnregister(void *memory) {
  std::lock_guard lock(mutex);
  return pinned.erase(memory) == 1 ? kOk : kInvalidValue;
}
Result cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes, Handle stream) {
  Result result = CheckWork(stream);
  return result ? result : Copy(to, reinterpret_cast<Pointer>(from), bytes);
}
// A copy of 8 bytes from byte 12 of a table of 104 bytes is that of the failure of a rank (PeerTable).
Result cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes, Handle stream) {
  Result result = CheckWork(stream);
  result = result ? result : Copy(reinterpret_cast<Pointer>(to), from, bytes);
  constexpr size_t kTableBytes = 104, kFailureAt = 12, kFailureBytes = 8;
  const char *failure = std::getenv("FAKE_FAILED");
  if (result || bytes != kFailureBytes || !failure)
    return result;
  char *next = nullptr;
  const auto gpu = std::strtol(failure, &next, 10);
  if (gpu != current->gpu || *next != ':')
    return kOk;
  const auto rank = static_cast<unsigned>(std::strtoul(next + 1, &next, 10));
  const auto round = static_cast<unsigned>(*next == ':' ? std::strtoul(next + 1, nullptr, 10) : 0);
  std::lock_guard lock(mutex);
  auto it = allocated.find(from - kFailureAt);
  if (it != allocated.end() && it->second.bytes == kTableBytes) {
    const unsigned words[] = {rank + 1, round};
    std::memcpy(to, words, sizeof words);
  }
  return kOk;
}
Result cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, Handle stream) {
  Result result = CheckWork(stream);
  return result ? result : Copy(to, from, bytes);
}
// CUDA_MEMCPY2D, of which the fields for copies to the device are used.
struct RowsCopy {
  size_t from_x, from_y;
  int from_type;
  const std::byte *from_host;
  Pointer from_device;
  void *from_array;
  size_t from_pitch, to_x, to_y;
  int to_type;
  void *to_host;
  Pointer to_device;
  void *to_array;
  size_t to_pitch, bytes, rows;
};
Result cuMemcpy2DAsync_v2(const RowsCopy *given, Handle stream) {
  if (Result result = CheckWork(stream))
    return result;
  constexpr int kHostMemory = 1;
  fake::Enqueue([copy = *given] {
    const std::byte *from =
        copy.from_type == kHostMemory ? copy.from_host : reinterpret_cast<const std::byte *>(copy.from_device);
    for (size_t row = 0; row < copy.rows; ++row)
      std::memcpy(reinterpret_cast<std::byte *>(copy.to_device) + row * copy.to_pitch, from + row * copy.from_pitch,
                  copy.bytes);
  });
  return kOk;
}
Result cuMemsetD8Async(Pointer memory, unsigned char value, size_t bytes, Handle stream) {
  if (Result result = CheckWork(stream))
    return result;
  Reach reach = ReachOf(memory);
  if (reach == Reach::kYes)
    std::memset(reinterpret_cast<void *>(memory), value, bytes);
  return reach == Reach::kNo ? kIllegalAddress : kOk;
}
Result cuMemsetD32Async(Pointer memory, unsigned value, size_t words, Handle stream) {
  if (Result result = CheckWork(stream))
    return result;
  std::fill_n(reinterpret_cast<unsigned *>(memory), words, value);
  return kOk;
}
}
// NOLINTEND(readability-identifier-naming)
