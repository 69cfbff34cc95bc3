// Runs kernels from cubins or PTX on an NVIDIA GPU with the driver API, which is loaded at run time.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_DEVICE_H_
#define INLAY_RUNTIME_DEVICE_CUDA_DEVICE_H_

#include "runtime/device/device.h"

namespace inlay {

// The first GPU that runs `target` ("sm_90a"). Errors say what is missing: driver, GPU, or the right chip. `cublaslt`:
// the library or its folder, for bundles that need it; empty: searched.
absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(std::string_view target, int threads,
                                                       const std::string &cublaslt);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_DEVICE_H_
