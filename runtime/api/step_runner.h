// Launches planned steps on the devices of all ranks without waiting. The sampled tokens are collected later.
#ifndef INLAY_RUNTIME_API_STEP_RUNNER_H_
#define INLAY_RUNTIME_API_STEP_RUNNER_H_

#include "runtime/api/model_ranks.h"
#include "runtime/api/rank_runner.h"
#include "runtime/support/debug_options.h"

#include <span>
#include <vector>

namespace inlay {

// A step in flight.
struct LaunchedStep {
  StepPlan plan;
  std::vector<bool> wants_token; // for each element of plan.rows
  int32_t tokens = 0;            // rows, without padding
  int32_t logits_rows = 0;
  bool has_logits = false;
  std::shared_ptr<const StepCommand> command; // null in tests that launch nothing
  int64_t job = 0;                            // of ModelRanks, that runs it
  std::chrono::steady_clock::time_point launched;
};

// The results of a step, one for each row of logits. Valid until as many launches after it as can be in flight.
struct StepResult {
  std::span<const int32_t> tokens;
  std::span<const float> logits; // [logits_rows, vocab_size], if requested
};

class StepRunner {
public:
  StepRunner(ModelRanks &ranks, const EngineOptions &options);
  // Allocates host memory for `host_pages` pages of preempted sequences.
  absl::Status Prepare(int32_t host_pages);

  // Launches a step while fewer than StepsInFlight() others are in flight. If the step before it samples a token that
  // this one needs, the token is copied on the device, so that the host does not wait for it; with stages it must not
  // need one. On the cpu, this runs the first stage, while the other stages may run the steps before.
  absl::StatusOr<LaunchedStep> Launch(const StepPlan &plan, bool wants_logits);
  // Waits for the step and returns its results.
  absl::StatusOr<StepResult> Collect(const LaunchedStep &step);

private:
  absl::Status PrepareDeterministic();
  absl::StatusOr<double> TimeDecode();
  const ReadyEntry *Choose(int32_t tokens, size_t sequences, bool all_decode) const;

  ModelRanks &ranks_;
  LoadedModel &model_; // of rank 0, which plans the steps of all
  const EngineOptions &options_;
  bool uses_largest_;                            // whether each step runs the largest entry point (--deterministic)
  std::vector<std::vector<float>> logits_;       // by slot
  std::vector<std::vector<RankResult>> results_; // of other processes, by slot
  std::vector<std::unique_ptr<RankRunner>> runners_;
  size_t next_slot_ = 0;
  int64_t launched_ = 0; // steps
  DebugOptions debug_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_STEP_RUNNER_H_
