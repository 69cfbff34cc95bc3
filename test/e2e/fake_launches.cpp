// Modules, launches and graphs of the fake driver (fake_driver.cpp).
#include "../codegen/gpu/emulated_launch.h"
#include "fake_driver.h"
#include "fake_driver_state.h"
#include "fake_kernels.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace inlay::fake;
namespace fake = inlay::fake;

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

bool IsLate(std::string_view name) {
  const char *text = std::getenv("FAKE_LATE");
  return text && name.find(text) != name.npos;
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

// The names are those of the CUDA driver API.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

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
  if (fake::HasKernels() && !it->second.kernel) {
    it->second.kernel = fake::FindKernel(name, current->gpu);
    if (!it->second.kernel)
      return kNotFound;
  }
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
// A fake GPU has one multiprocessor.
Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Handle, int, size_t) {
  const char *text = std::getenv("FAKE_BLOCKS");
  *blocks = text ? static_cast<int>(std::strtol(text, nullptr, 10)) : 2112;
  return kOk;
}
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
  fake::NoteLaunch();
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
