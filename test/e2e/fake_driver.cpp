// A libcuda.so.1 for tests on machines without a GPU. Device memory is host memory, and copies are made at once. Memory
// that is exported to other processes is theirs, too.
// Kernels run when they are launched (FAKE_KERNELS, see fake_kernels.h) or do nothing. The parameters of kernels are
// read from the cubin. Environment variables:
//   FAKE_GPUS          number of GPUs (1)
//   FAKE_CHIPS         their chips ("90"), separated by commas if they differ
//   FAKE_FIRST_GPU     number of the first one on the PCI bus (0)
//   FAKE_MEMORY        bytes of memory of each
//   FAKE_NO_PEER=0:1   GPU 0 cannot access the memory of GPU 1
//   FAKE_BROKEN=0:1    GPU 0 says that it can, but what it writes there is lost and what it reads is zeros
//   FAKE_FAULT=0:1     GPU 0 says that it can, but what it copies from there or to there is an error
//   FAKE_NO_EXPORT=1   memory cannot be shared with other processes
//   FAKE_STUCK=1       what GPU 1 is given never ends; 1:kernel: from its first kernel on. Nor does what waits for it
//                      with an event
//   FAKE_LATE=NAME     kernels with this in their name run late: when other work follows on their stream, or something
//                      waits for that or for an event behind them
//   FAKE_FAILED=1:0:R  GPU 1 has waited for rank 0 in vain in round R of the exchange
#include "fake_driver.h"

#include "fake_driver_state.h"
#include "fake_kernels.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace inlay::fake;
namespace fake = inlay::fake;

constexpr int kMaxGpus = 8;

int Number(const char *name, int otherwise) {
  const char *text = std::getenv(name);
  return text ? static_cast<int>(std::strtol(text, nullptr, 10)) : otherwise;
}

int GpuCount() { return Number("FAKE_GPUS", 1); }

// The last chip of the list is that of all GPUs after it.
int ChipOf(int gpu) {
  const char *text = std::getenv("FAKE_CHIPS");
  if (!text)
    return 90;
  for (const char *comma; gpu > 0 && (comma = std::strchr(text, ',')); --gpu)
    text = comma + 1;
  return static_cast<int>(std::strtol(text, nullptr, 10));
}

// Whether the variable names this pair of GPUs.
bool Names(const char *variable, int from, int to) {
  const char *text = std::getenv(variable);
  return text && text == std::to_string(from) + ":" + std::to_string(to);
}

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

Handles contexts[kMaxGpus]{Handles(0), Handles(1), Handles(2), Handles(3),
                           Handles(4), Handles(5), Handles(6), Handles(7)};

size_t Memory() {
  const char *text = std::getenv("FAKE_MEMORY");
  return text ? std::strtoull(text, nullptr, 10) : size_t{1} << 30;
}

// Handles live to the end of the process. The runtime leaves those of a GPU that does not answer.
Handles &MakeHandleOf(int gpu) {
  static std::deque<Handles> made;
  std::lock_guard lock(mutex);
  return made.emplace_back(gpu);
}

Result MakeHandle(Handle *handle) {
  if (!current)
    return kInvalidContext;
  *handle = &MakeHandleOf(current->gpu);
  return kOk;
}

std::atomic<int> shared_events{0}, events_destroyed_too_early{0};

Result FreeHandle(Handle) { return kOk; }

std::atomic<bool> has_launched[kMaxGpus];

bool IsStuck(int gpu) {
  const char *text = std::getenv("FAKE_STUCK");
  return text && (text == std::to_string(gpu) || (text == std::to_string(gpu) + ":kernel" && has_launched[gpu]));
}

// Whether what a stream was given, or what it was given before an event, never ends.
bool NeverEnds(Handle handle) {
  bool never = IsStuck(GpuOf(handle));
  for (int gpu = 0; gpu < kMaxGpus; ++gpu)
    never |= (Get(handle).waits_for >> gpu & 1) != 0 && IsStuck(gpu);
  return never;
}

void RunLateBefore(Handles &event) {
  if (event.stream)
    RunLate(*event.stream, event.before);
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

thread_local const fake::Handles *fake::current = nullptr;

void fake::NoteLaunch() { has_launched[current->gpu] = true; }

void fake::WaitFor(void *stream, int gpu) {
  if (IsStuck(gpu))
    Get(stream).waits_for |= 1u << gpu;
}

int fake::SharedEvents() { return shared_events; }
int fake::EventsDestroyedTooEarly() { return events_destroyed_too_early; }

// The names are those of the CUDA driver API.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

Result cuInit(unsigned) { return kOk; }
Result cuGetErrorString(Result result, const char **text) {
  *text = result == kInvalidImage ? "device kernel image is invalid" : "some other error";
  return kOk;
}
Result cuDeviceGetCount(int *count) {
  *count = GpuCount();
  return kOk;
}
Result cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return kOk;
}
Result cuDeviceGetName(char *name, int size, int) {
  std::strncpy(name, "Fake GPU", static_cast<size_t>(size));
  return kOk;
}
Result cuDeviceGetAttribute(int *value, int attribute, int gpu) {
  const int chip = ChipOf(gpu);
  constexpr int kSharesMemoryFiles = 103;
  *value = attribute == kSharesMemoryFiles ? std::getenv("FAKE_NO_EXPORT") == nullptr
           : attribute == 75               ? chip / 10
           : attribute == 76               ? chip % 10
                                           : 1;
  return kOk;
}
Result cuDeviceGetPCIBusId(char *text, int size, int device) {
  std::snprintf(text, static_cast<size_t>(size), "0000:%02x:00.0", Number("FAKE_FIRST_GPU", 0) + device + 1);
  return kOk;
}
Result cuDeviceCanAccessPeer(int *can, int from, int to) {
  *can = from != to && !Names("FAKE_NO_PEER", from, to);
  return kOk;
}
Result cuDevicePrimaryCtxRetain(Handle *context, int device) {
  *context = &contexts[device];
  return kOk;
}
Result cuDevicePrimaryCtxRelease_v2(int) { return kOk; }
Result cuCtxSetCurrent(Handle context) {
  current = static_cast<const Handles *>(context);
  return kOk;
}
Result cuMemGetInfo_v2(size_t *free, size_t *total) {
  std::lock_guard lock(mutex);
  *total = Memory();
  *free = *total - used[current->gpu];
  return kOk;
}
Result cuMemAlloc_v2(Pointer *memory, size_t bytes) {
  std::lock_guard lock(mutex);
  if (bytes > Memory() - used[current->gpu])
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
  if (bytes > Memory() - used[properties->gpu])
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
Result cuStreamCreate(Handle *stream, unsigned) { return MakeHandle(stream); }
Result cuStreamCreateWithPriority(Handle *stream, unsigned, int) { return MakeHandle(stream); }
Result cuStreamDestroy_v2(Handle stream) { return FreeHandle(stream); }
// An event of another GPU that was not recorded would not be waited for. That of another rank is waited for only after
// its thread has recorded it.
Result cuStreamWaitEvent(Handle stream, Handle event, unsigned) {
  if (Result result = CheckStream(stream))
    return result;
  if (GpuOf(stream) != GpuOf(event) && !Get(event).is_recorded)
    return kInvalidHandle;
  RunLateBefore(Get(event));
  if (NeverEnds(event))
    Get(stream).waits_for |= Get(event).waits_for | 1u << GpuOf(event);
  return kOk;
}
Result cuStreamSynchronize(Handle stream) {
  RunLate(Get(stream));
  return kOk;
}
Result cuStreamQuery(Handle stream) {
  RunLate(Get(stream));
  return NeverEnds(stream) ? kNotReady : kOk;
}
Result cuEventCreate(Handle *event, unsigned) { return MakeHandle(event); }
Result cuEventDestroy_v2(Handle event) {
  shared_events -= Get(event).is_shared;
  events_destroyed_too_early += Get(event).opened > 0;
  if (Handles *original = Get(event).original)
    --original->opened;
  return FreeHandle(event);
}
// An event of another process is recorded there. The runtime waits for it only afterwards.
struct IpcEventHandle {
  int gpu, process;
  Handles *event; // of that process
  char unused[48];
};
Result cuIpcGetEventHandle(IpcEventHandle *handle, Handle event) {
  shared_events += !Get(event).is_shared.exchange(true);
  *handle = {GpuOf(event), getpid(), &Get(event), {}};
  return kOk;
}
Result cuIpcOpenEventHandle(Handle *event, IpcEventHandle handle) {
  if (!current)
    return kInvalidContext;
  Handles &opened = MakeHandleOf(handle.gpu);
  opened.is_recorded = true;
  if (handle.process == getpid()) {
    opened.original = handle.event;
    ++handle.event->opened;
  }
  opened.is_shared = true;
  ++shared_events;
  *event = &opened;
  return kOk;
}
Result cuEventRecord(Handle event, Handle stream) {
  if (Result result = CheckStream(stream); result || GpuOf(event) != GpuOf(stream))
    return result ? result : kInvalidHandle;
  Get(event).waits_for = Get(stream).waits_for.load();
  std::lock_guard lock(Get(stream).running);
  Get(event).stream = &Get(stream);
  Get(event).before = Get(stream).has_run + Get(stream).late.size();
  Get(event).is_recorded = true;
  return kOk;
}
Result cuEventSynchronize(Handle event) {
  RunLateBefore(Get(event));
  return kOk;
}
Result cuEventQuery(Handle event) {
  RunLateBefore(Get(event));
  return NeverEnds(event) ? kNotReady : kOk;
}
}
// NOLINTEND(readability-identifier-naming)
