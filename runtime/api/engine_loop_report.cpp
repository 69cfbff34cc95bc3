// Reports the state of the engine's thread to other threads: statistics, and whether it is stuck.
#include "runtime/api/engine_loop.h"

#include "runtime/api/engine_stats.h"

#include "fmt/format.h"

#include <cstdio>

namespace inlay {

EngineStats EngineLoop::Stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.health = failure_;
  return stats;
}

void EngineLoop::Count(ActiveRequest &request) {
  if (request.is_counted.exchange(true))
    return;
  RequestTimings timings = request.timings();
  FinishReason reason = request.finish_reason(0);
  std::lock_guard lock(mutex_);
  stats_.finished_stop += reason == FinishReason::kStop;
  stats_.finished_length += reason == FinishReason::kLength;
  stats_.finished_cancelled += reason == FinishReason::kCancelled;
  stats_.finished_error += reason == FinishReason::kError;
  if (timings.finished)
    Observe(stats_.e2e_latency, Seconds(*timings.finished - timings.queued));
  if (timings.scheduled)
    Observe(stats_.queue_time, Seconds(*timings.scheduled - timings.queued));
  if (timings.scheduled && timings.first_token && timings.finished) {
    Observe(stats_.prefill_time, Seconds(*timings.first_token - *timings.scheduled));
    Observe(stats_.decode_time, Seconds(*timings.finished - *timings.first_token));
    Observe(stats_.inference_time, Seconds(*timings.finished - *timings.scheduled));
  }
}

void EngineLoop::UpdateStats() {
  std::lock_guard lock(mutex_);
  stats_.running = static_cast<int32_t>(scheduler_.running().size());
  stats_.waiting = static_cast<int32_t>(scheduler_.waiting().size());
  for (const std::shared_ptr<ActiveRequest> &request : submitted_)
    stats_.waiting += static_cast<int32_t>(request->sequences().size());
  for (const ActiveRequest *request : preparing_)
    stats_.waiting += static_cast<int32_t>(request->sequences().size());
  stats_.free_pages = scheduler_.pool().free();
  stats_.cached_pages = scheduler_.pool().cached();
  stats_.preemptions = scheduler_.preemptions();
  stats_.swapped_out_pages = scheduler_.swapped_out();
  stats_.swapped_in_pages = scheduler_.swapped_in();
  stats_.prefix_cache_queries = scheduler_.cache_queries();
  stats_.prefix_cache_hits = scheduler_.cache_hits();
  if (stats_.running + stats_.waiting == 0)
    idle_.notify_all();
}

// Tells the watchdog which step the device runs, before a call into the device.
void EngineLoop::Watch(const char *phase, const StepPlan &plan) {
  StepState state;
  state.phase = phase;
  state.step = launched_;
  state.parts.reserve(plan.rows.size());
  for (const ScheduledRows &part : plan.rows) {
    const auto &sequence = *part.sequence->active;
    state.parts.push_back({sequence.request->number, sequence.index, sequence.prompt_size, sequence.length(),
                           sequence.cache.computed, static_cast<int32_t>(sequence.cache.pages.size()), part.first,
                           part.count, part.drafts});
  }
  state.running = static_cast<int32_t>(scheduler_.running().size());
  state.waiting = static_cast<int32_t>(scheduler_.waiting().size());
  state.free_pages = scheduler_.pool().free();
  state.total_pages = scheduler_.pool().total();
  watchdog_->Begin(std::move(state));
}

// The engine's thread does not return from a call into the device. Ends all requests and refuses new ones.
void EngineLoop::OnStuck(const StepState &state, double seconds) {
  int64_t rows = 0;
  for (const StepState::Part &part : state.parts)
    rows += part.rows;
  absl::Status status = absl::UnavailableError(
      fmt::format("the device does not answer: step {} ({}; sequences: {}, rows: {}) has not ended after {:.3g} s "
                  "(--watchdog-seconds {}); the engine cannot continue; restart the process",
                  state.step, state.phase, state.parts.size(), rows, seconds, options_.watchdog_seconds));
  fmt::print(stderr, "inlay: {}\n{}\n", std::string(status.message()), state.Json(seconds));
  if (trace_)
    trace_->Flush();
  EndStuck(status);
}

// A rank has failed or does not answer. The engine's thread may wait for it.
void EngineLoop::OnRankFailure(const absl::Status &status) {
  EndStuck(absl::UnavailableError(fmt::format("{}; restart the process", std::string(status.message()))));
}

// Ends all requests and refuses new ones, while the engine's thread may be in a call into a device.
void EngineLoop::EndStuck(const absl::Status &status) {
  std::vector<std::shared_ptr<ActiveRequest>> requests;
  {
    std::lock_guard lock(mutex_);
    failure_ = status;
    requests.swap(submitted_);
    for (const auto &[request, owner] : requests_)
      requests.push_back(owner);
  }
  for (const std::shared_ptr<ActiveRequest> &request : requests) {
    request->Finish(FinishReason::kError, status);
    Count(*request);
  }
  std::lock_guard lock(mutex_);
  stats_.running = stats_.waiting = 0;
  is_stuck_ = true;
  idle_.notify_all();
  ended_or_stuck_.notify_all();
}

} // namespace inlay
