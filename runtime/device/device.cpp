#include "runtime/device/device.h"

#include "fmt/format.h"
#include "runtime/device/cpu_device.h"
#include "runtime/device/cuda_device.h"

namespace inlay {

std::array<uint32_t, 3> GridOf(const plan::Launch &launch, const StepSizes &sizes, bool is_half) {
  std::array<uint32_t, 3> grid{1, 1, 1};
  const auto &counts = is_half && launch.half_grid() ? *launch.half_grid() : *launch.grid();
  for (uint32_t i = 0; i < counts.size(); ++i) {
    const plan::Count &count = *counts.Get(i);
    auto extent = static_cast<size_t>(count.extent());
    uint64_t size = extent < sizes.size() ? static_cast<uint64_t>(std::max(sizes[extent], 0)) : 1;
    grid[i] = static_cast<uint32_t>((size + count.divisor() - 1) / count.divisor() * count.multiplier());
  }
  return grid;
}

absl::StatusOr<std::unique_ptr<Device>> OpenDevice(std::string_view target, int threads, const std::string &cublaslt,
                                                   const DeviceRank &rank) {
  if (target == "cpu")
    return std::unique_ptr<Device>(std::make_unique<CpuDevice>(threads, rank));
  if (target.starts_with("sm_"))
    return OpenCudaDevice(target, threads, cublaslt, rank);
  return absl::InvalidArgumentError(fmt::format("target '{}' is unknown; expected cpu or sm_90a", target));
}

} // namespace inlay
