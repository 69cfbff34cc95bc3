// Runs the part of a planned step that belongs to one rank: copies to its device and launches there.
#ifndef INLAY_RUNTIME_API_RANK_RUNNER_H_
#define INLAY_RUNTIME_API_RANK_RUNNER_H_

#include "runtime/api/loaded_model.h"
#include "runtime/schedule/scheduler.h"

#include <span>
#include <vector>

namespace inlay {

// A row of logits that the host changes before a token is sampled from it.
struct EditedRow {
  size_t row = 0;
  const Sequence *sequence = nullptr; // it is not changed before the step is done
  int32_t length = 0;                 // of the sequence, before the token
};

// A token that the step before samples, which a row of this step takes.
struct PendingToken {
  int32_t row = 0;   // of this step
  int32_t token = 0; // index among the tokens of the step before
};

// A step as all ranks run it. It is prepared once, by rank 0. Other ranks may run it while rank 0 plans the next step,
// so they read what is copied here and not what Sequence says of steps in flight.
struct StepCommand {
  StepPlan plan;
  const StepMetadata &metadata; // each rank copies it to its device
  StepSizes sizes;
  int64_t number = 0; // of the step
  size_t entry = 0;   // index of the entry point
  size_t slot = 0;    // index of the StepBuffers
  bool is_graph = false;
  bool checks_metadata = false;
  // Whether the host reads or changes logits, or a row has penalties or filters. Otherwise ranks sample tokens from
  // their parts of the vocabulary, without gathering logits.
  bool needs_logits = false;
  size_t tokens = 0;                      // that are sampled
  std::vector<PendingToken> pending = {}; // by row
  std::vector<EditedRow> edits = {};
  std::vector<float> *logits = nullptr; // where a rank of the last stage copies the model's logits; null: nowhere
  std::vector<EventId> events = {};     // by rank, of the end of its part
};

class RankRunner {
public:
  explicit RankRunner(LoadedModel &model) : model_(model) {}
  ~RankRunner();
  RankRunner(const RankRunner &) = delete;
  RankRunner &operator=(const RankRunner &) = delete;
  // Allocates host memory for `host_pages` pages of preempted sequences.
  absl::Status Prepare(int32_t host_pages);

  // Launches the step. Returns the event of its end, when the sampled tokens are in the buffers of its slot.
  absl::StatusOr<EventId> Launch(const StepCommand &step);

private:
  absl::Status Run(const StepCommand &step);
  absl::Status Sample(const StepCommand &step);
  std::vector<StageRows> RowsOf(const flatbuffers::Vector<const plan::Transfer *> *transfers,
                                const StepSizes &sizes) const;
  absl::Status Receive(const StepCommand &step);
  absl::Status Send(const StepCommand &step);
  absl::Status CheckAfter(const StepCommand &step);
  absl::Status EditRows(std::span<const EditedRow> rows);
  absl::Status SwapPages(const StepPlan &plan);
  absl::Status CopyPages(std::span<const PageCopy> copies);
  absl::Status CopyPenalties(const StepMetadata &metadata);
  absl::Status CopyPendingTokens(std::span<const PendingToken> pending, const StepBuffers &before,
                                 const StepBuffers &now);

  LoadedModel &model_;
  std::byte *host_pages_ = nullptr; // each has the keys and values of a page's layers
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_RANK_RUNNER_H_
