#include "runtime/device/cuda_gpus.h"

#include "fmt/format.h"

#include <algorithm>
#include <cstdlib>

namespace inlay {

using namespace cuda_driver;

namespace {

struct VisibleGpu {
  FoundGpu gpu;
  std::string chip; // "sm_90"
  std::string Describe() const { return fmt::format("{} ({})", gpu.name, chip); }
};

std::vector<VisibleGpu> FindVisible(const Api &api) {
  int count = 0;
  api.DeviceGetCount(&count);
  std::vector<VisibleGpu> visible;
  for (int i = 0; i < count; ++i) {
    FoundGpu gpu{.ordinal = i, .name = ""};
    char name[128] = {};
    int major = 0, minor = 0;
    api.DeviceGet(&gpu.device, i);
    api.DeviceGetName(name, sizeof name - 1, gpu.device);
    api.DeviceGetAttribute(&major, kComputeCapabilityMajor, gpu.device);
    api.DeviceGetAttribute(&minor, kComputeCapabilityMinor, gpu.device);
    gpu.name = name;
    visible.push_back({std::move(gpu), fmt::format("sm_{}{}", major, minor)});
  }
  return visible;
}

// The chip whose code a target is. Code for sm_90a runs on compute capability 9.0 only.
std::string_view ChipOf(std::string_view target) {
  return target.ends_with('a') ? target.substr(0, target.size() - 1) : target;
}

absl::StatusOr<std::vector<FoundGpu>> FindNamed(std::span<const VisibleGpu> visible, const std::string &all,
                                                std::string_view target, std::span<const int32_t> devices) {
  std::vector<FoundGpu> named;
  for (int32_t device : devices) {
    if (device < 0 || static_cast<size_t>(device) >= visible.size())
      return absl::InvalidArgumentError(
          fmt::format("--device names GPU {}, but this machine has {}: {}; expected indices of these from 0 on, after "
                      "CUDA_VISIBLE_DEVICES",
                      device, visible.size(), all));
    const VisibleGpu &found = visible[static_cast<size_t>(device)];
    if (found.chip != ChipOf(target))
      return absl::FailedPreconditionError(
          fmt::format("--device names GPU {}, {}, which cannot run code for {}; name another GPU of {}, or compile the "
                      "model with --target for this chip",
                      device, found.Describe(), target, all));
    named.push_back(found.gpu);
  }
  return named;
}

} // namespace

bool SharesGpus(std::span<const int32_t> devices) {
  for (size_t i = 0; i < devices.size(); ++i)
    if (std::ranges::find(devices.subspan(i + 1), devices[i]) != devices.end())
      return true;
  return false;
}

void PrepareSharedGpus() {
  // Streams that share one of the 8 hardware queues of a context wait for each other. Each rank has three streams.
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", /*replace=*/0);
  // Loading a kernel at its first launch may wait for all kernels of the context, of which one may wait for it.
  setenv("CUDA_MODULE_LOADING", "EAGER", /*replace=*/0);
}

absl::StatusOr<std::vector<FoundGpu>> FindGpus(const Api &api, std::string_view target, uint32_t ranks,
                                               std::span<const int32_t> devices) {
  const std::vector<VisibleGpu> visible = FindVisible(api);
  std::string all;
  std::vector<FoundGpu> suitable;
  for (const VisibleGpu &found : visible) {
    all += (all.empty() ? "" : ", ") + found.Describe();
    if (found.chip == ChipOf(target))
      suitable.push_back(found.gpu);
  }
  if (suitable.empty())
    return absl::FailedPreconditionError(fmt::format(
        "the code is for {}, but this machine has {}; compile the model with --target for this chip, or use "
        "--target cpu",
        target, all.empty() ? "no GPU" : all));
  if (!devices.empty() && devices.size() < ranks)
    return absl::InvalidArgumentError(
        fmt::format("--device names too few GPUs: found {}, expected one for each of {} ranks, separated by commas",
                    devices.size(), ranks));
  if (!devices.empty())
    return FindNamed(visible, all, target, devices.first(ranks));
  if (suitable.size() < ranks)
    return absl::FailedPreconditionError(fmt::format(
        "the bundle is for {} ranks, each on a GPU for {} of its own, but this machine has {}: {}; use a machine with "
        "more of them, name more of them in CUDA_VISIBLE_DEVICES, or compile the model for at most "
        "{} (--tensor-parallel-size times --pipeline-parallel-size). For a check, ranks can share GPUs (--device)",
        ranks, target, suitable.size(), all, suitable.size()));
  suitable.resize(ranks);
  return suitable;
}

} // namespace inlay
