// Runs kernels from cubins or PTX on an NVIDIA GPU with the driver API, which is loaded at run time.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_DEVICE_H_
#define INLAY_RUNTIME_DEVICE_CUDA_DEVICE_H_

#include "runtime/device/device.h"

namespace inlay {

// Opens the first GPU that can run `target` ("sm_90a"). Errors say what is missing: the driver, a GPU, or a GPU with
// the right chip. `cublaslt` is the path of libcublasLt.so or of its directory, for bundles that need it. If it is
// empty, the library is searched.
absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(std::string_view target, int threads,
                                                       const std::string &cublaslt);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_DEVICE_H_
