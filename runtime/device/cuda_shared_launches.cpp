#include "runtime/device/cuda_shared_launches.h"

#include "fmt/format.h"

#include <chrono>

namespace inlay {

using namespace cuda_driver;

CudaSharedLaunches::CudaSharedLaunches(RankGroup &group, const Api &api, std::span<const RankGpu> gpus,
                                       uint32_t ranks_of_stage)
    : group_(group), api_(api), gpus_(gpus), ranks_of_stage_(ranks_of_stage), calls_(gpus.size()) {}

absl::Status CudaSharedLaunches::Open() {
  for (uint32_t rank = 0; rank < gpus_.size(); ++rank) {
    if (!gpus_[rank].is_here())
      continue;
    api_.ContextSetCurrent(gpus_[rank].context);
    for (Event &event : calls_[rank].events)
      if (absl::Status status =
              CheckOfRank(api_, gpus_[rank], rank, api_.EventCreate(&event, kEventDisableTiming), "making an event");
          !status.ok())
        return status;
  }
  return absl::OkStatus();
}

absl::Status CudaSharedLaunches::Meet(uint32_t rank) {
  const RankGpu &gpu = gpus_[rank];
  const uint64_t number = calls_[rank].recorded;
  const size_t slot = number % kSlots;
  api_.ContextSetCurrent(gpu.context);
  if (absl::Status status =
          CheckOfRank(api_, gpu, rank, api_.EventRecord(calls_[rank].events[slot], gpu.stream), "recording an event");
      !status.ok())
    return status;
  calls_[rank].recorded = number + 1;
  group_.Notify();
  const uint32_t first = rank / ranks_of_stage_ * ranks_of_stage_;
  for (uint32_t other = first; other < first + ranks_of_stage_; ++other) {
    if (other == rank || !gpus_[other].is_here() || gpus_[other].device != gpu.device)
      continue;
    absl::Status status =
        group_.Wait([&] { return calls_[other].recorded > number; },
                    [&] {
                      return fmt::format("{} has waited {:.3g} s (--distributed-timeout) until {} exchanges with it "
                                         "on GPU {}; the engine cannot continue",
                                         group_.Describe(rank), std::chrono::duration<double>(group_.timeout()).count(),
                                         group_.Describe(other), gpu.ordinal);
                    });
    if (!status.ok())
      return status;
    status = CheckOfRank(api_, gpu, rank, api_.StreamWaitEvent(gpu.stream, calls_[other].events[slot], 0),
                         "waiting for a rank on the same GPU");
    if (!status.ok())
      return status;
  }
  return absl::OkStatus();
}

void CudaSharedLaunches::Close() {
  for (uint32_t rank = 0; rank < gpus_.size(); ++rank)
    for (Event &event : calls_[rank].events)
      if (event) {
        api_.ContextSetCurrent(gpus_[rank].context);
        api_.EventDestroy(event);
        event = nullptr;
      }
}

} // namespace inlay
