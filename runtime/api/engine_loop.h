// The engine's thread: admits requests, launches steps and delivers tokens. Comments name the functions that other
// threads may call.
#ifndef INLAY_RUNTIME_API_ENGINE_LOOP_H_
#define INLAY_RUNTIME_API_ENGINE_LOOP_H_

#include "runtime/api/active_request.h"
#include "runtime/api/guided_pool.h"
#include "runtime/api/logprob_finder.h"
#include "runtime/api/scheduler_trace.h"
#include "runtime/api/step_runner.h"
#include "runtime/api/watchdog.h"

#include <deque>
#include <unordered_map>

namespace inlay {

class EngineLoop {
public:
  // `drafter` may be none: then guesses come from sequences' own texts.
  EngineLoop(std::unique_ptr<LoadedModel> model, std::unique_ptr<Drafter> drafter, const EngineOptions &options,
             bool checks_invariants);

  // Before all else.
  absl::Status Prepare();
  // Until Stop(), on the engine's thread.
  void Run();

  // From any thread.
  LoadedModel &model() const { return *model_; }
  absl::Status Add(std::shared_ptr<ActiveRequest> request);
  EngineStats Stats() const;
  // Takes no more requests; DeadlineExceeded if some were left at the deadline.
  absl::Status Drain(std::chrono::steady_clock::time_point deadline);
  void Stop();
  // After Stop(): false if the thread will not end, because the device does not answer.
  bool WaitForEnd();

private:
  void AddSubmitted();
  void FinishAborted();
  void Prepare(ActiveRequest &request);
  void AddPrepared();
  bool WaitsForMasks() const;
  void WaitForAllMasks(std::chrono::steady_clock::duration time);
  void WaitForSomeMask(std::chrono::steady_clock::duration time);
  absl::Status Step();
  StepPlan Plan();
  absl::StatusOr<LaunchedStep> Launch(const StepPlan &plan);
  absl::StatusOr<StepResult> Wait(const LaunchedStep &step);
  void Watch(const char *phase, const StepPlan &plan);
  void Collect();
  void Isolate(const StepPlan &plan, const absl::Status &status);
  void TakeTokens(const LaunchedStep &step, const StepResult &result);
  void Retire();
  void Count(ActiveRequest &request);
  void UpdateStats();
  void FailAll(const absl::Status &status);
  void OnStuck(const StepState &state, double seconds); // on the watchdog's thread
  absl::Status Failure() const;
  bool NeedsLogits(const StepPlan &plan) const;

  const EngineOptions options_;
  const bool checks_invariants_, plans_ahead_;
  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<SchedulerTrace> trace_; // or none
  StepRunner runner_;
  LogprobFinder logprobs_;
  Scheduler scheduler_;

  // The engine thread's.
  // All that have not ended; changed under mutex_, so that the watchdog can end them.
  std::unordered_map<ActiveRequest *, std::shared_ptr<ActiveRequest>> requests_;
  std::vector<ActiveRequest *> preparing_; // of them: their grammars are being compiled
  // Those that ended, with the steps launched before: a step on its way may have rows of them.
  std::deque<std::pair<int64_t, std::shared_ptr<ActiveRequest>>> ended_;
  int64_t launched_ = 0; // steps
  int64_t steps_done_ = 0;
  std::optional<LaunchedStep> in_flight_;
  int failures_ = 0; // in a row
  int64_t masks_seen_ = 0;

  mutable std::mutex mutex_; // of what follows
  std::condition_variable wake_, idle_, ended_or_stuck_;
  std::vector<std::shared_ptr<ActiveRequest>> submitted_;
  EngineStats stats_;
  int64_t submissions_ = 0;
  int64_t masks_found_ = 0; // that threads of the pool found, or failed to
  bool stopping_ = false, draining_ = false, is_stuck_ = false, has_ended_ = false;
  absl::Status failure_; // after which nothing more runs

  std::unique_ptr<Watchdog> watchdog_; // or none
  GuidedPool guided_;                  // its threads use what is above
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_ENGINE_LOOP_H_
