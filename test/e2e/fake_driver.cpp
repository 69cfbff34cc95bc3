// A libcuda.so.1 for tests on machines without a GPU. Device memory is host memory, and copies are made at once. Memory
// that is exported to other processes is theirs, too.
// Kernels run when they are launched (FAKE_KERNELS, see fake_kernels.h) or do nothing. The parameters of kernels are
// read from the cubin. Environment variables:
//   FAKE_GPUS          number of GPUs (1)
//   FAKE_CHIPS         their chips ("90"), separated by commas if they differ
//   FAKE_FIRST_GPU     number of the first one on the PCI bus (0)
//   FAKE_MEMORY        bytes of memory of each
//   FAKE_BLOCKS        blocks of a kernel that each runs at the same time (2112)
//   FAKE_NO_PEER=0:1   GPU 0 cannot access the memory of GPU 1
//   FAKE_BROKEN=0:1    GPU 0 says that it can, but what it writes there is lost and what it reads is zeros
//   FAKE_FAULT=0:1     GPU 0 says that it can, but what it copies from there or to there is an error
//   FAKE_NO_EXPORT=1   memory cannot be shared with other processes
//   FAKE_STUCK=1       what GPU 1 is given never ends; 1:kernel: from its first kernel on. Nor does what waits for it
//                      with an event
//   FAKE_LATE=NAME     kernels with this in their name run late: when other work follows on their stream, or something
//                      waits for that or for an event behind them
//   FAKE_FAILED=1:0:R  GPU 1 has waited for rank 0 in vain in round R of the exchange
// This file has devices and contexts, fake_memory.cpp memory and copies, fake_streams.cpp streams and events,
// fake_launches.cpp modules, launches and graphs.
#include "fake_driver.h"

#include "fake_driver_state.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

using namespace inlay::fake;
namespace fake = inlay::fake;

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

Handles contexts[kMaxGpus]{Handles(0), Handles(1), Handles(2), Handles(3),
                           Handles(4), Handles(5), Handles(6), Handles(7)};

std::atomic<bool> has_launched[kMaxGpus];

} // namespace

thread_local const fake::Handles *fake::current = nullptr;

void fake::NoteLaunch() { has_launched[current->gpu] = true; }

bool fake::Names(const char *variable, int from, int to) {
  const char *text = std::getenv(variable);
  return text && text == std::to_string(from) + ":" + std::to_string(to);
}

bool fake::IsStuck(int gpu) {
  const char *text = std::getenv("FAKE_STUCK");
  return text && (text == std::to_string(gpu) || (text == std::to_string(gpu) + ":kernel" && has_launched[gpu]));
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
}
// NOLINTEND(readability-identifier-naming)
