// Handles a finished step on the engine's thread: delivers tokens to requests, or fails the requests that caused an
// error.
#include "runtime/api/engine_loop.h"

#include "runtime/api/engine_stats.h"

#include <algorithm>

namespace inlay {
namespace {

using Clock = std::chrono::steady_clock;

// So many steps in a row, in which each sequence failed also by itself, are the device's failure and not a request's.
constexpr int kFailuresOfADevice = 3;

void CountGap(double seconds, std::vector<std::pair<double, int64_t>> &gaps) {
  if (gaps.empty() || gaps.back().first != seconds)
    gaps.emplace_back(seconds, 0);
  ++gaps.back().second;
}

} // namespace

// A step failed: nothing of it counts. Each of its sequences runs by itself, and those that fail again end.
void EngineLoop::Isolate(const StepPlan &failed, const absl::Status &status) {
  scheduler_.RollBack(failed);
  size_t tried = 0, failures = 0;
  for (const ScheduledRows &part : failed.rows) {
    ActiveSequence *sequence = part.sequence->active;
    if (sequence->request->is_done() || std::ranges::find(scheduler_.running(), sequence) == scheduler_.running().end())
      continue;
    StepPlan plan = scheduler_.PlanAlone(sequence);
    if (plan.rows.empty())
      continue;
    ++tried;
    absl::StatusOr<LaunchedStep> step = Launch(plan);
    absl::Status alone = step.status();
    if (step.ok()) {
      scheduler_.Launched(step->plan.rows);
      absl::StatusOr<StepResult> result = Wait(*step);
      alone = result.status();
      if (result.ok())
        TakeTokens(*step, *result);
    }
    if (alone.ok())
      continue;
    ++failures;
    scheduler_.RollBack(plan);
    sequence->request->Finish(FinishReason::kError, alone);
  }
  failures_ = tried > 0 && failures == tried ? failures_ + 1 : 0;
  Retire();
  if (failures_ >= kFailuresOfADevice) {
    std::lock_guard lock(mutex_);
    failure_ = status;
  }
}

void EngineLoop::TakeTokens(const LaunchedStep &step, const StepResult &result) {
  HostSpan span(trace_.get(), "take tokens");
  Clock::time_point now = Clock::now();
  scheduler_.Done(step.plan.rows);
  auto vocabulary = static_cast<size_t>(model_->model().vocab_size());
  std::span<const PromptLogprob> logprobs = logprobs_.Find(step, result);
  size_t taken = 0;
  int64_t prompt_tokens = 0, generated = 0, drafted = 0, accepted = 0;
  std::vector<ActiveRequest *> touched;
  std::vector<double> first_times;
  std::vector<std::pair<double, int64_t>> gaps; // mostly the same for all
  touched.reserve(step.plan.rows.size());
  for (size_t i = 0; i < step.plan.rows.size(); ++i) {
    const ScheduledRows &part = step.plan.rows[i];
    ActiveSequence &sequence = *part.sequence->active;
    ActiveRequest &request = *sequence.request;
    prompt_tokens += std::max(0, std::min(sequence.prompt_size, part.certain_end()) - part.first);
    if (part.prompt_rows > 0 && !request.is_done())
      request.TakePromptLogprobs(sequence, part, logprobs.subspan(taken, static_cast<size_t>(part.prompt_rows)));
    taken += static_cast<size_t>(part.prompt_rows);
    if (!step.wants_token[i])
      continue;
    size_t row = taken;
    taken += 1 + static_cast<size_t>(part.drafts);
    // It ended while this step was on its way.
    if (sequence.finished != FinishReason::kNone || request.is_done())
      continue;
    --sequence.pending;
    drafted += part.drafts;
    // Each guess that was right makes the row after it count.
    for (int32_t right = 0;; ++right, ++row, ++accepted, ++sequence.cache.computed) {
      std::span<const float> logits;
      if (step.has_logits && options_.return_logits)
        logits = result.logits.subspan(row * vocabulary, vocabulary);
      request.TakeToken(sequence, result.tokens[row], logprobs[row], logits, model_->text().eos_ids, now);
      ++generated;
      if (sequence.finished != FinishReason::kNone || right == part.drafts ||
          result.tokens[row] != sequence.drafts[static_cast<size_t>(right)])
        break;
    }
    if (sequence.guided && sequence.finished == FinishReason::kNone)
      guided_.Accept(sequence.guided, sequence.tokens.back());
    if (!request.last_token_time)
      first_times.push_back(Seconds(now - request.timings().queued));
    else if (*request.last_token_time != now)
      CountGap(Seconds(now - *request.last_token_time), gaps);
    if (request.last_token_time != now)
      touched.push_back(&request);
    request.last_token_time = now;
    if (sequence.finished != FinishReason::kNone)
      scheduler_.Remove(&sequence);
  }
  failures_ = 0;
  {
    std::lock_guard lock(mutex_);
    ++stats_.steps;
    stats_.prompt_tokens += prompt_tokens;
    stats_.generation_tokens += generated;
    stats_.draft_tokens += drafted;
    stats_.accepted_draft_tokens += accepted;
    Observe(stats_.step_tokens, step.tokens);
    for (double seconds : first_times)
      Observe(stats_.time_to_first_token, seconds);
    for (auto [seconds, times] : gaps)
      Observe(stats_.inter_token_latency, seconds, times);
  }
  for (ActiveRequest *request : touched)
    request->Notify();
}

// Lets go of requests that ended. Those that a step on its way may have rows of are kept until it is done.
void EngineLoop::Retire() {
  while (!ended_.empty() && (!in_flight_ || ended_.front().first < launched_))
    ended_.pop_front();
  std::vector<std::shared_ptr<ActiveRequest>> done;
  for (const auto &[request, owner] : requests_)
    if (request->is_done())
      done.push_back(owner);
  if (done.empty())
    return;
  for (std::shared_ptr<ActiveRequest> &request : done) {
    for (const auto &sequence : request->sequences()) {
      scheduler_.Remove(sequence.get());
      if (sequence->guided)
        sequence->guided->is_dropped = true;
    }
    std::erase(preparing_, request.get());
    Count(*request);
    if (trace_)
      trace_->Ended(*request, Clock::now());
    ended_.emplace_back(launched_, request);
  }
  std::lock_guard lock(mutex_);
  for (const std::shared_ptr<ActiveRequest> &request : done)
    requests_.erase(request.get());
}

// Nothing runs any more.
void EngineLoop::FailAll(const absl::Status &status) {
  std::vector<std::shared_ptr<ActiveRequest>> submitted;
  {
    std::lock_guard lock(mutex_);
    submitted.swap(submitted_);
    if (failure_.ok())
      failure_ = status;
  }
  for (const std::shared_ptr<ActiveRequest> &request : submitted)
    request->Finish(FinishReason::kError, status);
  for (const auto &[request, owner] : requests_)
    request->Finish(FinishReason::kError, status);
}

} // namespace inlay
