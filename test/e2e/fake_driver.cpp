// A libcuda.so.1 for tests on machines without a GPU. Device memory is host memory, and copies are made at once.
// Kernels run when they are launched (FAKE_KERNELS, see fake_kernels.h) or do nothing. The environment variables
// FAKE_CHIP ("90") and FAKE_MEMORY (bytes) set the chip and the size of the memory. The parameters of kernels are read
// from the cubin.
#include "../codegen/gpu/emulated_launch.h"
#include "fake_kernels.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace {

namespace fake = inlay::fake;

using Result = int;
using Pointer = uint64_t;
using Handle = void *;
constexpr Result kOk = 0, kInvalidValue = 1, kOutOfMemory = 2, kInvalidImage = 200, kNotFound = 500;

int Number(const char *name, int otherwise) {
  const char *text = std::getenv(name);
  return text ? static_cast<int>(std::strtol(text, nullptr, 10)) : otherwise;
}

std::mutex mutex;
std::unordered_map<Pointer, size_t> allocated;
size_t used;

size_t Memory() {
  const char *text = std::getenv("FAKE_MEMORY");
  return text ? std::strtoull(text, nullptr, 10) : size_t{1} << 30;
}

Result MakeHandle(Handle *handle) {
  *handle = std::malloc(1);
  return kOk;
}

Result FreeHandle(Handle handle) {
  std::free(handle);
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

// The launches that this thread is capturing, or null.
using Graph = std::vector<fake::Launch>;
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

// The names are those of the CUDA driver API.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

Result cuInit(unsigned) { return kOk; }
Result cuGetErrorString(Result result, const char **text) {
  *text = result == kInvalidImage ? "device kernel image is invalid" : "some other error";
  return kOk;
}
Result cuDeviceGetCount(int *count) {
  *count = 1;
  return kOk;
}
Result cuDeviceGet(int *device, int) {
  *device = 0;
  return kOk;
}
Result cuDeviceGetName(char *name, int size, int) {
  std::strncpy(name, "Fake GPU", static_cast<size_t>(size));
  return kOk;
}
Result cuDeviceGetAttribute(int *value, int attribute, int) {
  int chip = Number("FAKE_CHIP", 90);
  *value = attribute == 75 ? chip / 10 : attribute == 76 ? chip % 10 : 1;
  return kOk;
}
Result cuDevicePrimaryCtxRetain(Handle *context, int) { return MakeHandle(context); }
Result cuDevicePrimaryCtxRelease_v2(int) { return kOk; }
Result cuCtxSetCurrent(Handle) { return kOk; }
Result cuMemGetInfo_v2(size_t *free, size_t *total) {
  std::lock_guard lock(mutex);
  *total = Memory();
  *free = *total - used;
  return kOk;
}
Result cuMemAlloc_v2(Pointer *memory, size_t bytes) {
  std::lock_guard lock(mutex);
  if (bytes > Memory() - used)
    return kOutOfMemory;
  void *given = fake::Allocate(bytes);
  if (!given)
    return kOutOfMemory;
  // Without kernels nothing writes the sampled tokens, so they must be valid ids.
  if (!fake::HasKernels())
    std::memset(given, 0, bytes);
  *memory = reinterpret_cast<Pointer>(given);
  allocated[*memory] = bytes;
  used += bytes;
  return kOk;
}
Result cuMemFree_v2(Pointer memory) {
  std::lock_guard lock(mutex);
  used -= allocated.at(memory);
  allocated.erase(memory);
  fake::Free(reinterpret_cast<void *>(memory));
  return kOk;
}
Result cuMemAllocHost_v2(void **memory, size_t bytes) {
  *memory = std::malloc(bytes);
  return kOk;
}
Result cuMemFreeHost(void *memory) { return FreeHandle(memory); }
Result cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes, Handle) {
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return kOk;
}
Result cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes, Handle) {
  std::memcpy(to, reinterpret_cast<void *>(from), bytes);
  return kOk;
}
Result cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, Handle) {
  std::memcpy(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes);
  return kOk;
}
// CUDA_MEMCPY2D, of which only the fields for copies from the host to the device are used.
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
Result cuMemcpy2DAsync_v2(const RowsCopy *copy, Handle) {
  for (size_t row = 0; row < copy->rows; ++row)
    std::memcpy(reinterpret_cast<std::byte *>(copy->to_device) + row * copy->to_pitch,
                copy->from_host + row * copy->from_pitch, copy->bytes);
  return kOk;
}
Result cuMemsetD8Async(Pointer memory, unsigned char value, size_t bytes, Handle) {
  std::memset(reinterpret_cast<void *>(memory), value, bytes);
  return kOk;
}
Result cuStreamCreate(Handle *stream, unsigned) { return MakeHandle(stream); }
Result cuStreamDestroy_v2(Handle stream) { return FreeHandle(stream); }
Result cuStreamWaitEvent(Handle, Handle, unsigned) { return kOk; }
Result cuStreamSynchronize(Handle) { return kOk; }
Result cuStreamBeginCapture_v2(Handle, int) {
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
Result cuEventRecord(Handle, Handle) { return kOk; }
Result cuEventSynchronize(Handle) { return kOk; }
Result cuGraphInstantiateWithFlags(Handle *executable, Handle graph, unsigned long long) {
  *executable = new Graph(*static_cast<Graph *>(graph));
  return kOk;
}
Result cuGraphLaunch(Handle executable, Handle) {
  for (const fake::Launch &launch : *static_cast<Graph *>(executable))
    fake::Run(launch);
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
    if (!(it->second.kernel = fake::FindKernel(name)))
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
  fake::Launch launch;
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
  if (captured)
    captured->push_back(std::move(launch));
  else
    fake::Run(launch);
  return kOk;
}
Result cuTensorMapEncodeTiled(CUtensorMap *map, int type, uint32_t rank, void *address, const uint64_t *dims,
                              const uint64_t *strides, const uint32_t *box, const uint32_t *, int, int swizzle, int,
                              int) {
  constexpr int kByte = 0, kFloat16 = 6, kBfloat16 = 9;
  if ((type != kByte && type != kFloat16 && type != kBfloat16) || rank > 4)
    return kInvalidValue;
  *map = {};
  map->memory = static_cast<const unsigned char *>(address);
  map->rank = static_cast<int>(rank);
  map->swizzle = swizzle ? 16 << swizzle : 0; // swizzle 1 is 32 bytes
  map->strides[0] = type == kByte ? 1 : 2;
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
