// The functions of the CUDA driver API that the runtime uses. They are loaded at run time, so that a machine without a
// GPU can run everything else and building needs no CUDA header. Struct layouts are those of cuda.h 13.0, unchanged
// since 12.0.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_DRIVER_H_
#define INLAY_RUNTIME_DEVICE_CUDA_DRIVER_H_

#include "absl/status/statusor.h"

#include <cstddef>
#include <cstdint>

namespace inlay::cuda_driver {

using Result = int; // 0: success
using DeviceHandle = int;
using Context = struct ContextTag *;
using Module = struct ModuleTag *;
using Function = struct FunctionTag *;
using Stream = struct StreamTag *;
using Event = struct EventTag *;
using Graph = struct GraphTag *;
using GraphExec = struct GraphExecTag *;
using Pointer = uint64_t;

inline constexpr Result kOutOfMemory = 2, kNotReady = 600;
inline constexpr int kMultiprocessorCount = 16, kComputeCapabilityMajor = 75, kComputeCapabilityMinor = 76;
inline constexpr int kSharesMemoryFiles = 103; // CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED
inline constexpr int kMaxDynamicSharedBytes = 8, kPreferredCarveout = 9, kNonPortableClusterAllowed = 14;
inline constexpr int kAttributeCluster = 4, kAttributeDependentLaunch = 6;
inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventBlockingSync = 1, kEventDisableTiming = 2, kEventInterprocess = 4;
inline constexpr unsigned kPortableHostMemory = 1; // pinned for all contexts
inline constexpr int kCaptureThreadLocal = 1;

struct alignas(64) TensorMap {
  uint64_t opaque[16];
};

struct LaunchAttribute {
  int id;
  int padding;
  union {
    unsigned cluster[3];
    int flag;
    char bytes[64];
  } value;
};

struct LaunchConfig {
  unsigned grid[3], block[3], shared_bytes;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned attribute_count;
};

// CUDA_MEMCPY2D
struct RowsCopy {
  size_t from_x, from_y;
  int from_type; // kHostMemory or kDeviceMemory
  const void *from_host;
  Pointer from_device;
  void *from_array;
  size_t from_pitch;
  size_t to_x, to_y;
  int to_type;
  void *to_host;
  Pointer to_device;
  void *to_array;
  size_t to_pitch;
  size_t bytes, rows;
};
inline constexpr int kHostMemory = 1, kDeviceMemory = 2;

// CUmemLocation, CUmemAllocationProp and CUmemAccessDesc
struct MemoryLocation {
  int type;
  int id;
};
struct AllocationProperties {
  int type;
  int handle_types;
  MemoryLocation location;
  void *security;
  unsigned char flags[8];
};
struct AccessDescription {
  MemoryLocation location;
  int flags;
};
inline constexpr int kFileHandle = 1; // CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
inline constexpr int kPinnedAllocation = 1, kDeviceLocation = 1, kReadWriteAccess = 3;

// CUipcEventHandle
struct IpcEventHandle {
  char bytes[64];
};

struct Api {
  Result (*Init)(unsigned);
  Result (*GetErrorString)(Result, const char **);
  Result (*DeviceGetCount)(int *);
  Result (*DeviceGet)(DeviceHandle *, int);
  Result (*DeviceGetName)(char *, int, DeviceHandle);
  Result (*DeviceGetAttribute)(int *, int, DeviceHandle);
  Result (*DeviceGetPciBusId)(char *, int size, DeviceHandle);
  Result (*CanAccessPeer)(int *, DeviceHandle from, DeviceHandle to);
  Result (*PrimaryContextRetain)(Context *, DeviceHandle);
  Result (*PrimaryContextRelease)(DeviceHandle);
  Result (*ContextSetCurrent)(Context);
  Result (*MemGetInfo)(size_t *, size_t *);
  Result (*MemAlloc)(Pointer *, size_t);
  Result (*MemFree)(Pointer);
  Result (*MemAllocHost)(void **, size_t);
  Result (*MemFreeHost)(void *);
  Result (*MemHostRegister)(void *, size_t, unsigned);
  Result (*MemHostUnregister)(void *);
  // The functions of virtual memory management, for guard pages and for memory that several GPUs access. Null if the
  // driver lacks them.
  Result (*MemGetAllocationGranularity)(size_t *, const AllocationProperties *, int);
  Result (*MemAddressReserve)(Pointer *, size_t, size_t, Pointer, unsigned long long);
  Result (*MemAddressFree)(Pointer, size_t);
  Result (*MemCreate)(uint64_t *, size_t, const AllocationProperties *, unsigned long long);
  Result (*MemRelease)(uint64_t);
  Result (*MemMap)(Pointer, size_t, size_t, uint64_t, unsigned long long);
  Result (*MemUnmap)(Pointer, size_t);
  Result (*MemSetAccess)(Pointer, size_t, const AccessDescription *, size_t);
  // Memory that other processes map. The handle is a file descriptor, which these pass as `int *` and as its value.
  Result (*MemExport)(void *file, uint64_t, int type, unsigned long long);
  Result (*MemImport)(uint64_t *, void *file, int type);
  Result (*MemcpyToDeviceAsync)(Pointer, const void *, size_t, Stream);
  Result (*MemcpyToHostAsync)(void *, Pointer, size_t, Stream);
  Result (*MemcpyOnDeviceAsync)(Pointer, Pointer, size_t, Stream);
  Result (*MemcpyRowsAsync)(const RowsCopy *, Stream);
  Result (*MemsetAsync)(Pointer, unsigned char, size_t, Stream);
  Result (*MemsetWordsAsync)(Pointer, unsigned value, size_t words, Stream);
  Result (*StreamCreate)(Stream *, unsigned);
  Result (*StreamCreateWithPriority)(Stream *, unsigned, int priority); // 0 is that of other streams, -1 a higher one
  Result (*StreamDestroy)(Stream);
  Result (*StreamSynchronize)(Stream);
  Result (*StreamQuery)(Stream); // 0, kNotReady or the error of what runs
  Result (*StreamWaitEvent)(Stream, Event, unsigned);
  Result (*EventCreate)(Event *, unsigned);
  Result (*EventRecord)(Event, Stream);
  Result (*EventSynchronize)(Event);
  Result (*EventQuery)(Event);
  Result (*EventDestroy)(Event);
  Result (*IpcGetEventHandle)(IpcEventHandle *, Event);
  Result (*IpcOpenEventHandle)(Event *, IpcEventHandle);
  Result (*StreamBeginCapture)(Stream, int);
  Result (*StreamEndCapture)(Stream, Graph *);
  Result (*GraphInstantiate)(GraphExec *, Graph, unsigned long long);
  Result (*GraphLaunch)(GraphExec, Stream);
  Result (*GraphDestroy)(Graph);
  Result (*GraphExecDestroy)(GraphExec);
  Result (*ModuleLoadData)(Module *, const void *);
  Result (*ModuleUnload)(Module);
  Result (*ModuleGetFunction)(Function *, Module, const char *);
  Result (*FunctionSetAttribute)(Function, int, int);
  Result (*FunctionGetParameter)(Function, size_t index, size_t *offset, size_t *bytes); // null before CUDA 12.4
  // Blocks of a kernel that a multiprocessor runs at the same time.
  Result (*MaxActiveBlocks)(int *, Function, int threads, size_t shared_bytes);
  Result (*LaunchKernel)(const LaunchConfig *, Function, void **, void **);
  Result (*TensorMapEncodeTiled)(TensorMap *, int type, uint32_t rank, void *address, const uint64_t *dims,
                                 const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,
                                 int interleave, int swizzle, int l2_promotion, int out_of_bounds);
};

// Loads the driver. Unavailable if there is none or it lacks a function.
absl::StatusOr<const Api *> LoadDriver();

} // namespace inlay::cuda_driver

#endif // INLAY_RUNTIME_DEVICE_CUDA_DRIVER_H_
