// Runs the part of a planned step that belongs to one rank: copies to its device and launches there.
#ifndef INLAY_RUNTIME_API_RANK_RUNNER_H_
#define INLAY_RUNTIME_API_RANK_RUNNER_H_

#include "runtime/api/loaded_model.h"
#include "runtime/schedule/scheduler.h"

#include <span>
#include <vector>

namespace inlay {

// A step as all ranks run it. It is prepared once, by rank 0.
struct StepCommand {
  const StepPlan &plan;
  const StepMetadata &metadata; // each rank copies it to its device
  const StepSizes &sizes;
  int64_t number = 0; // of the step
  size_t entry = 0;   // index of the entry point
  size_t slot = 0;    // index of the StepBuffers
  bool is_graph = false;
  bool checks_metadata = false;
  size_t tokens = 0;                    // that are sampled
  std::vector<float> *logits = nullptr; // where rank 0 copies the model's logits; null: nowhere
};

class RankRunner {
public:
  RankRunner(LoadedModel &model, uint32_t rank) : model_(model), rank_(rank) {}
  ~RankRunner();
  RankRunner(const RankRunner &) = delete;
  RankRunner &operator=(const RankRunner &) = delete;
  // Allocates host memory for `host_pages` pages of preempted sequences.
  absl::Status Prepare(int32_t host_pages);

  // Launches the step. Returns the event of its end, when the sampled tokens are in the buffers of its slot.
  absl::StatusOr<EventId> Launch(const StepCommand &step);

private:
  absl::Status Run(const StepCommand &step);
  absl::Status CheckAfter(const StepCommand &step);
  absl::Status EditRows(std::span<const ScheduledRows> rows);
  absl::Status SwapPages(const StepPlan &plan);
  absl::Status CopyPages(std::span<const PageCopy> copies);
  absl::Status CopyPenalties(const StepMetadata &metadata);
  absl::Status CopyPendingTokens(std::span<const ScheduledRows> rows, const StepBuffers &before,
                                 const StepBuffers &now);

  LoadedModel &model_;
  const uint32_t rank_;
  std::byte *host_pages_ = nullptr; // each has the keys and values of a page's layers
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_RANK_RUNNER_H_
