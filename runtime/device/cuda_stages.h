// How rows of a step go from the GPUs of a stage of the pipeline to those of the next one.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_STAGES_H_
#define INLAY_RUNTIME_DEVICE_CUDA_STAGES_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/device/cuda_rows_channel.h"
#include "runtime/device/distributed_backend.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace inlay {

// The channels between all stages. Rank r sends to rank r + `ranks_of_stage`.
class CudaStages {
public:
  // `gpus`: of all ranks, opened by their devices. They outlive this, as the group does. `processes`: of the ranks, for
  // Connect(); null if all are in this process.
  CudaStages(RankGroup &group, const cuda_driver::Api &api, std::span<const RankGpu> gpus, uint32_t ranks_of_stage,
             RankProcesses *processes);

  // Decides how rows go. Allocates nothing. Errors name the GPUs that cannot do what was asked for.
  absl::Status Choose(const plan::Target &target, DistributedBackend backend);
  // Memory that Connect() allocates on the GPU of the rank.
  uint64_t bytes(uint32_t rank) const;
  bool Uses(RowsTransport transport) const;
  // Allocates memory and checks that it can be reached. `nccl` has all ranks; null if it is not used.
  absl::Status Connect(Nccl *nccl);
  StageLink *link(uint32_t rank) const { return links_[rank].get(); }

  // Says which rank keeps this one from finishing the step, which it has not finished in time; empty if none is known.
  std::string WhyLate(uint32_t rank, int64_t step) const;
  // Releases all that Connect() has made, or leaves it if a GPU is stuck. Returns false if another process may still
  // use events of this one: then the contexts of the GPUs must stay until this process ends.
  bool Close(bool is_stuck);

private:
  RowsChannel *before(uint32_t rank) const; // null of the first stage
  RowsChannel *after(uint32_t rank) const;  // null of the last stage

  const uint32_t ranks_of_stage_, stages_;
  const bool warns_; // this process prints warnings of the ranks
  DistributedBackend backend_ = DistributedBackend::kAuto;
  std::vector<std::unique_ptr<RowsChannel>> channels_; // by sender
  std::vector<std::unique_ptr<StageLink>> links_;      // by rank
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_STAGES_H_
