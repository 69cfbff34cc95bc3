#include "runtime/device/cuda_gpus.h"

#include "fmt/format.h"

namespace inlay {

using namespace cuda_driver;

absl::StatusOr<std::vector<FoundGpu>> FindGpus(const Api &api, std::string_view target, uint32_t ranks) {
  // Code for sm_90a runs on compute capability 9.0 only.
  std::string_view wanted = target.ends_with('a') ? target.substr(0, target.size() - 1) : target;
  int count = 0;
  api.DeviceGetCount(&count);
  std::string all;
  std::vector<FoundGpu> suitable;
  for (int i = 0; i < count; ++i) {
    FoundGpu gpu{.ordinal = i, .name = ""};
    char name[128] = {};
    int major = 0, minor = 0;
    api.DeviceGet(&gpu.device, i);
    api.DeviceGetName(name, sizeof name - 1, gpu.device);
    api.DeviceGetAttribute(&major, kComputeCapabilityMajor, gpu.device);
    api.DeviceGetAttribute(&minor, kComputeCapabilityMinor, gpu.device);
    std::string chip = fmt::format("sm_{}{}", major, minor);
    all += fmt::format("{}{} ({})", all.empty() ? "" : ", ", name, chip);
    gpu.name = name;
    if (chip == wanted)
      suitable.push_back(std::move(gpu));
  }
  if (suitable.empty())
    return absl::FailedPreconditionError(fmt::format("the bundle was compiled for {}, but this machine has {}; compile "
                                                     "the model with --target for this chip, or use "
                                                     "--target cpu",
                                                     target, all.empty() ? "no GPU" : all));
  if (suitable.size() < ranks)
    return absl::FailedPreconditionError(fmt::format(
        "the bundle is for {} ranks, each on a GPU for {} of its own, but this machine has {}: {}; use a machine with "
        "more of them, name more of them in CUDA_VISIBLE_DEVICES, or compile the model for at most "
        "{} (--tensor-parallel-size times --pipeline-parallel-size)",
        ranks, target, suitable.size(), all, suitable.size()));
  suitable.resize(ranks);
  return suitable;
}

} // namespace inlay
