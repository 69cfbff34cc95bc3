// Finds the GPUs that can run a target.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_GPUS_H_
#define INLAY_RUNTIME_DEVICE_CUDA_GPUS_H_

#include "absl/status/statusor.h"
#include "runtime/device/cuda_driver.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace inlay {

struct FoundGpu {
  cuda_driver::DeviceHandle device = 0;
  int ordinal = 0; // among those that the driver shows (CUDA_VISIBLE_DEVICES)
  std::string name;
};

// Returns the GPUs of `ranks` ranks: rank r has the r-th that can run `target`. Errors name the GPUs of this machine.
absl::StatusOr<std::vector<FoundGpu>> FindGpus(const cuda_driver::Api &api, std::string_view target, uint32_t ranks);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_GPUS_H_
