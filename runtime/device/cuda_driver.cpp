#include "runtime/device/cuda_driver.h"

#include "fmt/format.h"
#include "runtime/device/symbols.h"

#include <dlfcn.h>

namespace inlay::cuda_driver {

absl::StatusOr<const Api *> LoadDriver() {
  static const absl::StatusOr<Api> api = []() -> absl::StatusOr<Api> {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!library)
      return absl::UnavailableError("no NVIDIA driver: libcuda.so.1 cannot be loaded; install driver 580 or newer, or "
                                    "use --target cpu");
    Api loaded{};
    Symbols find{library, {}};
    find(loaded.Init, "cuInit");
    find(loaded.GetErrorString, "cuGetErrorString");
    find(loaded.DeviceGetCount, "cuDeviceGetCount");
    find(loaded.DeviceGet, "cuDeviceGet");
    find(loaded.DeviceGetName, "cuDeviceGetName");
    find(loaded.DeviceGetAttribute, "cuDeviceGetAttribute");
    find(loaded.DeviceGetPciBusId, "cuDeviceGetPCIBusId");
    find(loaded.CanAccessPeer, "cuDeviceCanAccessPeer");
    find(loaded.PrimaryContextRetain, "cuDevicePrimaryCtxRetain");
    find(loaded.PrimaryContextRelease, "cuDevicePrimaryCtxRelease_v2");
    find(loaded.ContextSetCurrent, "cuCtxSetCurrent");
    find(loaded.MemGetInfo, "cuMemGetInfo_v2");
    find(loaded.MemAlloc, "cuMemAlloc_v2");
    find(loaded.MemFree, "cuMemFree_v2");
    find(loaded.MemAllocHost, "cuMemAllocHost_v2");
    find(loaded.MemFreeHost, "cuMemFreeHost");
    find(loaded.MemHostRegister, "cuMemHostRegister_v2");
    find(loaded.MemHostUnregister, "cuMemHostUnregister");
    find(loaded.MemcpyToDeviceAsync, "cuMemcpyHtoDAsync_v2");
    find(loaded.MemcpyToHostAsync, "cuMemcpyDtoHAsync_v2");
    find(loaded.MemcpyOnDeviceAsync, "cuMemcpyDtoDAsync_v2");
    find(loaded.MemcpyRowsAsync, "cuMemcpy2DAsync_v2");
    find(loaded.MemsetAsync, "cuMemsetD8Async");
    find(loaded.MemsetWordsAsync, "cuMemsetD32Async");
    find(loaded.StreamCreate, "cuStreamCreate");
    find(loaded.StreamCreateWithPriority, "cuStreamCreateWithPriority");
    find(loaded.StreamDestroy, "cuStreamDestroy_v2");
    find(loaded.StreamSynchronize, "cuStreamSynchronize");
    find(loaded.StreamQuery, "cuStreamQuery");
    find(loaded.StreamWaitEvent, "cuStreamWaitEvent");
    find(loaded.EventCreate, "cuEventCreate");
    find(loaded.EventRecord, "cuEventRecord");
    find(loaded.EventSynchronize, "cuEventSynchronize");
    find(loaded.EventQuery, "cuEventQuery");
    find(loaded.EventDestroy, "cuEventDestroy_v2");
    find(loaded.IpcGetEventHandle, "cuIpcGetEventHandle");
    find(loaded.IpcOpenEventHandle, "cuIpcOpenEventHandle");
    find(loaded.StreamBeginCapture, "cuStreamBeginCapture_v2");
    find(loaded.StreamEndCapture, "cuStreamEndCapture");
    find(loaded.GraphInstantiate, "cuGraphInstantiateWithFlags");
    find(loaded.GraphLaunch, "cuGraphLaunch");
    find(loaded.GraphDestroy, "cuGraphDestroy");
    find(loaded.GraphExecDestroy, "cuGraphExecDestroy");
    find(loaded.ModuleLoadData, "cuModuleLoadData");
    find(loaded.ModuleUnload, "cuModuleUnload");
    find(loaded.ModuleGetFunction, "cuModuleGetFunction");
    find(loaded.FunctionSetAttribute, "cuFuncSetAttribute");
    find(loaded.MaxActiveBlocks, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
    find(loaded.LaunchKernel, "cuLaunchKernelEx");
    find(loaded.TensorMapEncodeTiled, "cuTensorMapEncodeTiled");
    Symbols optional{library, {}};
    optional(loaded.FunctionGetParameter, "cuFuncGetParamInfo");
    optional(loaded.MemGetAllocationGranularity, "cuMemGetAllocationGranularity");
    optional(loaded.MemAddressReserve, "cuMemAddressReserve");
    optional(loaded.MemAddressFree, "cuMemAddressFree");
    optional(loaded.MemCreate, "cuMemCreate");
    optional(loaded.MemRelease, "cuMemRelease");
    optional(loaded.MemMap, "cuMemMap");
    optional(loaded.MemUnmap, "cuMemUnmap");
    optional(loaded.MemSetAccess, "cuMemSetAccess");
    optional(loaded.MemExport, "cuMemExportToShareableHandle");
    optional(loaded.MemImport, "cuMemImportFromShareableHandle");
    if (!find.missing.empty())
      return absl::UnavailableError(
          fmt::format("the NVIDIA driver has no {}; install driver 580 or newer, or use --target cpu", find.missing));
    return loaded;
  }();
  if (!api.ok())
    return api.status();
  return &*api;
}

} // namespace inlay::cuda_driver
