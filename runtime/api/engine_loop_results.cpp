// Handles a finished step on the engine's thread: delivers tokens to requests, or fails the requests that caused an
// error.
#include "runtime/api/engine_loop.h"

#include "runtime/api/engine_stats.h"

#include <algorithm>

namespace inlay {
namespace {

using Clock = std::chrono::steady_clock;

// After this many failed steps in a row, in which each sequence also failed alone, the device is considered broken and
// the engine stops. Fewer failures are attributed to the requests.
constexpr int kFailuresOfADevice = 3;

void CountGap(double seconds, std::vector<std::pair<double, int64_t>> &gaps) {
  if (gaps.empty() || gaps.back().first != seconds)
    gaps.emplace_back(seconds, 0);
  ++gaps.back().second;
}

} // namespace

// Handles a failed step, whose results are discarded. Runs each of its sequences in a step of its own. Requests of
// sequences that fail again end with the error.
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
  std::vector<std::pair<double, int64_t>> gaps; // seconds, sequences; usually one element
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
    // The sequence ended while this step was in flight.
    if (sequence.finished != FinishReason::kNone || request.is_done())
      continue;
    --sequence.pending;
    drafted += part.drafts;
    // The token of a row is used if all draft tokens up to that row were accepted.
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

// Releases requests that ended. A request that may have rows in a step in flight is kept until that step is done.
void EngineLoop::Retire() {
  while (!ended_.empty() && ended_.front().first <= launched_ - static_cast<int64_t>(in_flight_.size()))
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

// Ends all requests with the error. The engine accepts no more requests.
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
