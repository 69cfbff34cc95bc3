// Finds the GPUs that can run a target.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_GPUS_H_
#define INLAY_RUNTIME_DEVICE_CUDA_GPUS_H_

#include "absl/status/statusor.h"
#include "runtime/device/cuda_driver.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inlay {

struct FoundGpu {
  cuda_driver::DeviceHandle device = 0;
  int ordinal = 0; // among those that the driver shows (CUDA_VISIBLE_DEVICES)
  std::string name;
};

// Whether two ranks have the same GPU. `devices`: EngineOptions::devices.
bool SharesGpus(std::span<const int32_t> devices);

// Sets what the driver reads from the environment before it starts, for ranks that are threads and share a GPU.
// setenv() must not run while another thread reads the environment. So the first rank's device calls this before it
// starts threads. For those of later ranks the variables are there, and nothing is written.
void PrepareSharedGpus();

// Returns the GPUs of `ranks` ranks. Rank r has GPU devices[r], or if `devices` is empty, the r-th that can run
// `target`. Errors name the GPUs of this machine.
absl::StatusOr<std::vector<FoundGpu>> FindGpus(const cuda_driver::Api &api, std::string_view target, uint32_t ranks,
                                               std::span<const int32_t> devices);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_GPUS_H_
