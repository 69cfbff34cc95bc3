// A libcuda.so.1 for tests on machines without a GPU. Device memory is host memory, and copies are made at once. Memory
// that is exported to other processes is theirs, too.
// Kernels run when they are launched (FAKE_KERNELS, see fake_kernels.h) or do nothing. The parameters of kernels are
// read from the cubin. Environment variables:
//   FAKE_GPUS          number of GPUs (1)
//   FAKE_CHIP          their chip ("90")
//   FAKE_FIRST_GPU     number of the first one on the PCI bus (0)
//   FAKE_MEMORY        bytes of memory of each
//   FAKE_NO_PEER=0:1   GPU 0 cannot access the memory of GPU 1
//   FAKE_BROKEN=0:1    GPU 0 says that it can, but what it writes there is lost and what it reads is zeros
//   FAKE_NO_EXPORT=1   memory cannot be shared with other processes
//   FAKE_STUCK=1       what GPU 1 is given never ends; 1:kernel: from its first kernel on. Nor does what waits for it
//                      with an event
//   FAKE_LATE=NAME     kernels with this in their name run late: when other work follows on their stream, or something
//                      waits for that or for an event behind them
//   FAKE_FAILED=1:0:R  GPU 1 has waited for rank 0 in vain in round R of the exchange
#include "fake_driver.h"

#include "../codegen/gpu/emulated_launch.h"
#include "fake_kernels.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <elf.h>
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

namespace fake = inlay::fake;

using Result = int;
using Pointer = uint64_t;
using Handle = void *;
constexpr Result kOk = 0, kInvalidValue = 1, kOutOfMemory = 2, kInvalidImage = 200, kInvalidContext = 201,
                 kInvalidHandle = 400, kNotFound = 500, kNotReady = 600, kIllegalAddress = 700;
constexpr int kMaxGpus = 8;

int Number(const char *name, int otherwise) {
  const char *text = std::getenv(name);
  return text ? static_cast<int>(std::strtol(text, nullptr, 10)) : otherwise;
}

int GpuCount() { return Number("FAKE_GPUS", 1); }

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

// Handles of streams and events are those of the GPU whose context was current.
struct Handles {
  explicit Handles(int gpu) : gpu(gpu) {}
  const int gpu;
  // GPU i is bit i: those that never ended when a stream waited for them, or the stream of an event.
  std::atomic<unsigned> waits_for{0};
  std::atomic<bool> is_recorded{false}; // an event
  // Of a stream: its work that runs late.
  std::mutex running; // guards the two below
  std::deque<std::function<void()>> late;
  size_t has_run = 0; // of all its late work
  // Of an event: the stream that it was recorded on, and the late work before it.
  Handles *stream = nullptr;
  size_t before = 0;
};
Handles contexts[kMaxGpus]{Handles(0), Handles(1), Handles(2), Handles(3),
                           Handles(4), Handles(5), Handles(6), Handles(7)};
thread_local const Handles *current = nullptr;

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

Result FreeHandle(Handle) { return kOk; }

Handles &Get(Handle handle) { return *static_cast<Handles *>(handle); }
int GpuOf(Handle handle) { return Get(handle).gpu; }

// Runs the late work of a stream that is before `end`.
void RunLate(Handles &stream, size_t end = SIZE_MAX) {
  std::lock_guard lock(stream.running);
  while (!stream.late.empty() && stream.has_run < end) {
    const std::function<void()> work = std::move(stream.late.front());
    stream.late.pop_front();
    ++stream.has_run;
    work();
  }
}
// Work of a stream needs its context.
Result CheckStream(Handle stream) {
  return !current ? kInvalidContext : stream && GpuOf(stream) != current->gpu ? kInvalidHandle : kOk;
}

// The same for work that runs when it is enqueued.
Result CheckWork(Handle stream) {
  const Result result = CheckStream(stream);
  if (!result && stream)
    RunLate(Get(stream));
  return result;
}

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

bool IsLate(std::string_view name) {
  const char *text = std::getenv("FAKE_LATE");
  return text && name.find(text) != name.npos;
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
  if (std::find(found.by.begin(), found.by.end(), current->gpu) == found.by.end())
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

// The parameters of a kernel: index -> offset and size in bytes.
using Parameters = std::map<size_t, std::pair<size_t, size_t>>;

// A module is the kernels of its cubin.
struct Function {
  Parameters parameters;
  const fake::Kernel *kernel = nullptr; // null: does nothing
};
using Kernels = std::map<std::string, Function>;

// The work that this thread is capturing, or null.
using Graph = std::vector<std::function<void()>>;
thread_local Graph *captured = nullptr;

// Reads the parameters of kernels from the sections ".nv.info.NAME". A section is a list of attributes: format (u8),
// kind (u8) and two bytes. With format 4 the two bytes are the size of the data that follows. Kind 0x17 is a parameter.
// Its data are index (u32), ordinal (u16), offset (u16) and a u32 with the size from bit 18 on.
Kernels ReadKernels(const char *image) {
  Kernels kernels;
  const auto *header = reinterpret_cast<const Elf64_Ehdr *>(image);
  const auto *sections = reinterpret_cast<const Elf64_Shdr *>(image + header->e_shoff);
  const char *names = image + sections[header->e_shstrndx].sh_offset;
  constexpr std::string_view kPrefix = ".nv.info.";
  for (int i = 0; i < header->e_shnum; ++i) {
    std::string_view section = names + sections[i].sh_name;
    if (!section.starts_with(kPrefix))
      continue;
    Parameters &parameters = kernels[std::string(section.substr(kPrefix.size()))].parameters;
    const char *at = image + sections[i].sh_offset, *end = at + sections[i].sh_size;
    while (at + 4 <= end) {
      uint16_t size = 0, ordinal = 0, offset = 0;
      uint32_t flags = 0;
      std::memcpy(&size, at + 2, 2);
      if (at[1] == 0x17) {
        std::memcpy(&ordinal, at + 8, 2);
        std::memcpy(&offset, at + 10, 2);
        std::memcpy(&flags, at + 12, 4);
        parameters[ordinal] = {offset, flags >> 18};
      }
      at += 4 + (at[0] == 4 ? size : 0);
    }
  }
  return kernels;
}

} // namespace

void fake::Enqueue(std::function<void()> work, void *stream, std::string_view name) {
  if (captured)
    return captured->push_back(std::move(work));
  if (stream && IsLate(name)) {
    std::lock_guard lock(Get(stream).running);
    return Get(stream).late.push_back(std::move(work));
  }
  if (stream)
    RunLate(Get(stream));
  work();
}

void fake::WaitFor(void *stream, int gpu) {
  if (IsStuck(gpu))
    Get(stream).waits_for |= 1u << gpu;
}

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
Result cuDeviceGetAttribute(int *value, int attribute, int) {
  int chip = Number("FAKE_CHIP", 90);
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
  unsigned gpu = 0, rank = 0, round = 0;
  const char *failure = std::getenv("FAKE_FAILED");
  if (result || bytes != kFailureBytes || !failure || std::sscanf(failure, "%u:%u:%u", &gpu, &rank, &round) != 3 ||
      static_cast<int>(gpu) != current->gpu)
    return result;
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
Result cuStreamBeginCapture_v2(Handle stream, int mode) {
  constexpr int kThreadLocal = 1;
  if (Result result = CheckStream(stream); result || mode != kThreadLocal)
    return result ? result : kInvalidValue;
  captured = new Graph;
  return kOk;
}
Result cuStreamEndCapture(Handle, Handle *graph) {
  *graph = captured;
  captured = nullptr;
  return kOk;
}
Result cuEventCreate(Handle *event, unsigned) { return MakeHandle(event); }
Result cuEventDestroy_v2(Handle event) { return FreeHandle(event); }
// An event of another process is recorded there. The runtime waits for it only afterwards.
struct IpcEventHandle {
  int gpu;
  char unused[60];
};
Result cuIpcGetEventHandle(IpcEventHandle *handle, Handle event) {
  *handle = {GpuOf(event), {}};
  return kOk;
}
Result cuIpcOpenEventHandle(Handle *event, IpcEventHandle handle) {
  if (!current)
    return kInvalidContext;
  Handles &opened = MakeHandleOf(handle.gpu);
  opened.is_recorded = true;
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
Result cuGraphInstantiateWithFlags(Handle *executable, Handle graph, unsigned long long) {
  *executable = new Graph(*static_cast<Graph *>(graph));
  return kOk;
}
Result cuGraphLaunch(Handle executable, Handle stream) {
  if (Result result = CheckWork(stream))
    return result;
  for (const std::function<void()> &work : *static_cast<Graph *>(executable))
    work();
  return kOk;
}
Result cuGraphDestroy(Handle graph) {
  delete static_cast<Graph *>(graph);
  return kOk;
}
Result cuGraphExecDestroy(Handle executable) { return cuGraphDestroy(executable); }
// Accepts cubins, which are ELF files, and refuses PTX.
Result cuModuleLoadData(Handle *module, const void *image) {
  if (std::memcmp(image,
                  "\x7f"
                  "ELF",
                  4) != 0)
    return kInvalidImage;
  *module = new Kernels(ReadKernels(static_cast<const char *>(image)));
  return kOk;
}
Result cuModuleUnload(Handle module) {
  delete static_cast<Kernels *>(module);
  return kOk;
}
Result cuModuleGetFunction(Handle *function, Handle module, const char *name) {
  auto &kernels = *static_cast<Kernels *>(module);
  auto it = kernels.find(name);
  if (it == kernels.end())
    return kNotFound;
  if (fake::HasKernels() && !it->second.kernel)
    if (!(it->second.kernel = fake::FindKernel(name, current->gpu)))
      return kNotFound;
  *function = &it->second;
  return kOk;
}
Result cuFuncGetParamInfo(Handle function, size_t index, size_t *offset, size_t *bytes) {
  const Parameters &parameters = static_cast<const Function *>(function)->parameters;
  auto it = parameters.find(index);
  if (it == parameters.end())
    return kInvalidValue;
  *offset = it->second.first;
  *bytes = it->second.second;
  return kOk;
}
Result cuFuncSetAttribute(Handle, int, int) { return kOk; }
// CUlaunchConfig.
struct LaunchAttribute {
  int id, padding;
  unsigned value[16];
};
struct LaunchConfig {
  unsigned grid[3], block[3], shared_bytes;
  Handle stream;
  const LaunchAttribute *attributes;
  unsigned attribute_count;
};
Result cuLaunchKernelEx(const LaunchConfig *config, Handle function, void **parameters, void **) {
  constexpr int kCluster = 4, kDependentLaunch = 6;
  if (Result result = CheckStream(config->stream))
    return result;
  has_launched[current->gpu] = true;
  fake::Launch launch;
  launch.device = current->gpu;
  launch.kernel = static_cast<const Function *>(function)->kernel;
  if (!launch.kernel)
    return kOk;
  std::memcpy(launch.grid, config->grid, sizeof launch.grid);
  launch.threads = static_cast<int>(config->block[0]);
  launch.shared_bytes = static_cast<int>(config->shared_bytes);
  for (unsigned i = 0; i < config->attribute_count; ++i) {
    const LaunchAttribute &attribute = config->attributes[i];
    if (attribute.id == kCluster)
      launch.cluster = static_cast<int>(attribute.value[0]);
    else if (attribute.id == kDependentLaunch)
      launch.may_start_early = attribute.value[0] != 0;
  }
  fake::SetParameters(launch, parameters);
  const std::string &name = fake::NameOf(*launch.kernel);
  fake::Enqueue([launch = std::move(launch)] { fake::Run(launch); }, config->stream, name);
  return kOk;
}
Result cuTensorMapEncodeTiled(CUtensorMap *map, int type, uint32_t rank, void *address, const uint64_t *dims,
                              const uint64_t *strides, const uint32_t *box, const uint32_t *, int, int swizzle, int,
                              int) {
  constexpr int kFloat16 = 6, kBfloat16 = 9, kElementBytes = 2;
  if ((type != kFloat16 && type != kBfloat16) || rank > 4)
    return kInvalidValue;
  *map = {};
  map->memory = static_cast<const unsigned char *>(address);
  map->rank = static_cast<int>(rank);
  map->swizzle = swizzle ? 16 << swizzle : 0; // swizzle 1 is 32 bytes
  map->strides[0] = kElementBytes;
  for (uint32_t i = 0; i < rank; ++i) {
    map->dims[i] = static_cast<long long>(dims[i]);
    map->box[i] = static_cast<int>(box[i]);
    if (i > 0)
      map->strides[i] = static_cast<long long>(strides[i - 1]);
  }
  return kOk;
}
}
// NOLINTEND(readability-identifier-naming)
