// Runs kernels from cubins or PTX on an NVIDIA GPU with the driver API, which is loaded at run time.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_DEVICE_H_
#define INLAY_RUNTIME_DEVICE_CUDA_DEVICE_H_

#include "runtime/device/device.h"

namespace inlay {

// Opens a GPU that can run `target` ("sm_90a"): the first one, or that of the rank. Errors say what is missing: the
// driver, a GPU, one with the right chip, or enough of them; or which element of `rank.devices` is wrong. `cublaslt` is
// the path of libcublasLt.so or of its directory, for bundles that need it. If it is empty, the library is searched.
absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(std::string_view target, int threads,
                                                       const std::string &cublaslt, const DeviceRank &rank);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_DEVICE_H_
