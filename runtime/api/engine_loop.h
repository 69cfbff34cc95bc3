// The engine's thread: admits requests, launches steps and delivers tokens. A comment marks the functions that other
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
  // If `drafter` is null, draft tokens come from n-grams of the sequence.
  EngineLoop(std::unique_ptr<ModelRanks> ranks, std::unique_ptr<Drafter> drafter, const EngineOptions &options,
             bool checks_invariants);

  // Call it before all other functions.
  absl::Status Prepare();
  // The engine thread's main function. Returns after Stop().
  void Run();

  // The functions below may be called from any thread.
  LoadedModel &model() const { return *model_; }
  absl::Status Add(std::shared_ptr<ActiveRequest> request);
  EngineStats Stats() const;
  // Accepts no more requests and waits for the others to end. DeadlineExceeded: some had not ended at the deadline.
  absl::Status Drain(std::chrono::steady_clock::time_point deadline);
  void Stop();
  // Call it after Stop(). Returns false if the thread does not end because the device does not answer.
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
  void OnRankFailure(const absl::Status &status);       // on the thread of any rank
  void EndStuck(const absl::Status &status);
  absl::Status Failure() const;
  bool NeedsLogits(const StepPlan &plan) const;

  const EngineOptions options_;
  const bool checks_invariants_, plans_ahead_;
  std::unique_ptr<ModelRanks> ranks_;
  const size_t most_in_flight_;           // steps, when the next one is launched
  LoadedModel *const model_;              // of rank 0
  std::unique_ptr<SchedulerTrace> trace_; // or null
  StepRunner runner_;
  LogprobFinder logprobs_;
  Scheduler scheduler_;

  // The members up to mutex_ belong to the engine's thread. The watchdog's thread also reads requests_, which is
  // therefore changed with mutex_ locked. It has all requests that have not ended.
  std::unordered_map<ActiveRequest *, std::shared_ptr<ActiveRequest>> requests_;
  std::vector<ActiveRequest *> preparing_; // those of requests_ whose first masks are not ready
  // Requests that ended, with the value of launched_ at that time. They are kept because the step in flight may have
  // rows of them.
  std::deque<std::pair<int64_t, std::shared_ptr<ActiveRequest>>> ended_;
  int64_t launched_ = 0; // steps
  int64_t steps_done_ = 0;
  std::deque<LaunchedStep> in_flight_; // in the order of their launches
  int failures_ = 0;                   // failed steps in a row
  int64_t masks_seen_ = 0;             // masks_found_ at the beginning of this round

  mutable std::mutex mutex_; // guards the members below
  std::condition_variable wake_, idle_, ended_or_stuck_;
  std::vector<std::shared_ptr<ActiveRequest>> submitted_;
  EngineStats stats_;
  int64_t submissions_ = 0;
  int64_t masks_found_ = 0; // masks that became ready or failed
  bool stopping_ = false, draining_ = false, is_stuck_ = false, has_ended_ = false;
  absl::Status failure_; // the error that stopped the engine

  std::unique_ptr<Watchdog> watchdog_; // or null
  GuidedPool guided_;                  // the last member, because its threads use the members above
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_ENGINE_LOOP_H_
