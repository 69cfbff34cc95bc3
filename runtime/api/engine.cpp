// The engine: one thread that admits requests, launches steps and hands out tokens.
#include "runtime/api/active_request.h"
#include "runtime/api/engine_internal.h"
#include "runtime/api/engine_stats.h"
#include "runtime/api/step_runner.h"
#include "runtime/sample/sampling_params.h"

#include "fmt/format.h"

#include <deque>
#include <thread>
#include <unordered_map>

namespace inlay {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

// A request waits this much longer for each step of its priority, and no longer: so nobody starves.
constexpr double kSecondsOfPriority = 10;
// So many steps in a row, in which each sequence failed also by itself, are the device's failure and not a request's.
constexpr int kFailuresOfADevice = 3;

class EngineImpl : public Engine {
public:
  ~EngineImpl() override;
  absl::Status Start(const std::string &path, const EngineOptions &options, const DeviceWrapper &wrap,
                     bool checks_invariants);

  absl::StatusOr<std::unique_ptr<RequestHandle>> Submit(const Request &request) override;
  absl::StatusOr<std::vector<int32_t>> Tokenize(const std::string &text, bool add_special_tokens) const override;
  absl::StatusOr<std::string> Detokenize(const std::vector<int32_t> &ids) const override;
  absl::StatusOr<std::string> ApplyChatTemplate(const ChatRequest &chat) const override;
  SamplingParams default_sampling() const override { return model_->text().default_sampling; }
  EngineStats Stats() const override {
    std::lock_guard lock(mutex_);
    EngineStats stats = stats_;
    stats.health = failure_;
    return stats;
  }
  absl::Status Shutdown(Clock::time_point deadline) override;

private:
  absl::Status CheckRequest(const Request &request) const;

  // The engine's thread.
  void Loop();
  void TakeIn();
  void EndEarly();
  absl::Status Step();
  void Collect();
  void Isolate(const StepPlan &plan, const absl::Status &status);
  void TakeTokens(const LaunchedStep &step, const StepResult &result);
  void Retire();
  void Count(ActiveRequest &request);
  void UpdateStats();
  void FailAll(const absl::Status &status);
  bool NeedsLogits(const StepPlan &plan) const;

  EngineOptions options_;
  bool checks_invariants_ = false, plans_ahead_ = false;
  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<StepRunner> runner_;
  std::unique_ptr<Scheduler> scheduler_;
  Clock::time_point start_;

  // The engine thread's.
  std::unordered_map<ActiveRequest *, std::shared_ptr<ActiveRequest>> requests_; // all that have not ended
  // Those that ended, with the steps launched before: a step on its way may have rows of them.
  std::deque<std::pair<int64_t, std::shared_ptr<ActiveRequest>>> ended_;
  int64_t launched_ = 0; // steps
  std::optional<LaunchedStep> in_flight_;
  int failures_ = 0; // in a row

  mutable std::mutex mutex_; // of what follows
  std::condition_variable wake_, idle_;
  std::vector<std::shared_ptr<ActiveRequest>> submitted_;
  EngineStats stats_;
  bool stopping_ = false, draining_ = false;
  absl::Status failure_; // after which nothing more runs

  std::thread thread_;
};

// --- From the outside -------------------------------------------------------

absl::Status CheckOptions(const EngineOptions &options) {
  if (options.scheduling_policy != "fcfs" && options.scheduling_policy != "priority")
    return absl::InvalidArgumentError(
        fmt::format("--scheduling-policy is '{}', expected fcfs or priority", options.scheduling_policy));
  if (options.preemption_mode != "recompute" && options.preemption_mode != "swap")
    return absl::InvalidArgumentError(
        fmt::format("--preemption-mode is '{}', expected recompute or swap", options.preemption_mode));
  if (options.num_speculative_tokens < 0)
    return absl::InvalidArgumentError(
        fmt::format("--num-speculative-tokens is {}, expected 0 (none) or more", options.num_speculative_tokens));
  if (options.num_speculative_tokens > 0 && options.async_scheduling.value_or(false))
    return absl::InvalidArgumentError("--num-speculative-tokens guesses from tokens that --async-scheduling does not "
                                      "wait for; leave one of them out");
  if (options.max_waiting < 0)
    return absl::InvalidArgumentError(fmt::format("--max-waiting is {}, expected 0 or more", options.max_waiting));
  for (auto [is_set, flag] : {std::pair{options.preemption_mode == "swap", "--preemption-mode swap"},
                              {options.watchdog_seconds > 0, "--watchdog-seconds"},
                              {!options.trace_path.empty(), "--trace-path"}})
    if (is_set)
      return absl::UnimplementedError(fmt::format("{} is not supported yet; leave it out", flag));
  return absl::OkStatus();
}

absl::Status EngineImpl::Start(const std::string &path, const EngineOptions &options, const DeviceWrapper &wrap,
                               bool checks_invariants) {
  start_ = Clock::now();
  if (absl::Status status = CheckOptions(options); !status.ok())
    return status;
  options_ = options;
  checks_invariants_ = checks_invariants;
  absl::StatusOr<std::unique_ptr<LoadedModel>> model = LoadedModel::Load(path, options, wrap);
  if (!model.ok())
    return model.status();
  model_ = *std::move(model);
  runner_ = std::make_unique<StepRunner>(*model_, options_);
  if (absl::Status status = runner_->Prepare(); !status.ok())
    return status;
  // On the cpu a step has run when it was launched: planning ahead would only delay its tokens.
  // Guesses go on from tokens that the host knows.
  plans_ahead_ = options.async_scheduling.value_or(!model_->is_cpu() && options.num_speculative_tokens == 0);
  const MemoryPlan &memory = model_->memory();
  scheduler_ = std::make_unique<Scheduler>(SchedulerLimits{.sequences = memory.max_num_seqs,
                                                           .tokens = memory.max_num_batched_tokens,
                                                           .pages = memory.total_pages,
                                                           .page_size = memory.page_size,
                                                           .drafts = options.num_speculative_tokens});
  PrepareHistograms(stats_);
  stats_.target = memory.target;
  stats_.device = memory.device;
  stats_.weights_seconds = model_->weights_seconds();
  stats_.weights_bytes = memory.weights_bytes;
  stats_.workspace_bytes = memory.workspace_bytes;
  stats_.kv_cache_bytes = memory.kv_cache_bytes;
  stats_.kv_cache_tokens = memory.kv_cache_tokens;
  stats_.max_model_len = memory.max_model_len;
  stats_.max_num_seqs = memory.max_num_seqs;
  stats_.max_num_batched_tokens = memory.max_num_batched_tokens;
  stats_.total_pages = stats_.free_pages = memory.total_pages;
  stats_.load_seconds = Seconds(Clock::now() - start_);
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

EngineImpl::~EngineImpl() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable())
    thread_.join();
}

absl::Status EngineImpl::Shutdown(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  bool is_idle =
      idle_.wait_until(lock, deadline, [&] { return submitted_.empty() && stats_.running + stats_.waiting == 0; });
  stopping_ = true;
  lock.unlock();
  wake_.notify_all();
  return is_idle
             ? absl::OkStatus()
             : absl::DeadlineExceededError("requests were left at the deadline of the shutdown; they were cancelled");
}

absl::StatusOr<std::vector<int32_t>> EngineImpl::Tokenize(const std::string &text, bool add_special_tokens) const {
  if (!model_->text().tokenizer)
    return absl::FailedPreconditionError(fmt::format(
        "{}: was compiled from a directory without tokenizer.json; give token ids (--prompt-ids)", model_->path()));
  return model_->text().tokenizer->Encode(text, add_special_tokens);
}

absl::StatusOr<std::string> EngineImpl::Detokenize(const std::vector<int32_t> &ids) const {
  if (!model_->text().tokenizer)
    return std::string();
  return model_->text().tokenizer->Decode(ids);
}

absl::StatusOr<std::string> EngineImpl::ApplyChatTemplate(const ChatRequest &chat) const {
  const auto &renderer = model_->text().chat;
  if (absl::IsNotFound(renderer.status()))
    return absl::FailedPreconditionError(fmt::format(
        "{}: has no chat template; the model was not made for chats, give the prompt itself", model_->path()));
  if (!renderer.ok())
    return renderer.status();
  return (*renderer)->Render(chat.messages_json, chat.variables_json, chat.add_generation_prompt);
}

absl::Status EngineImpl::CheckRequest(const Request &request) const {
  const SamplingParams &sampling = request.sampling;
  if (absl::Status status = ValidateSamplingParams(sampling, static_cast<int32_t>(model_->model().vocab_size()));
      !status.ok())
    return status;
  for (auto [is_set, field] :
       {std::pair{sampling.prompt_logprobs >= 0, "prompt_logprobs"}, {!sampling.guided.empty(), "guided"}})
    if (is_set)
      return absl::UnimplementedError(fmt::format("{} is not supported yet; leave it out", field));
  if (request.prompt.empty() == request.prompt_token_ids.empty())
    return absl::InvalidArgumentError("the prompt is empty; give either a text or token ids");
  if (!model_->text().tokenizer && !sampling.stop.empty())
    return absl::InvalidArgumentError("stop strings need a tokenizer, which this bundle has not; use stop_token_ids");
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<RequestHandle>> EngineImpl::Submit(const Request &request) {
  if (absl::Status status = CheckRequest(request); !status.ok())
    return status;
  std::vector<int32_t> ids = request.prompt_token_ids;
  if (ids.empty()) {
    absl::StatusOr<std::vector<int32_t>> encoded = Tokenize(request.prompt, request.add_special_tokens);
    if (!encoded.ok())
      return encoded.status();
    ids = *std::move(encoded);
  }
  if (ids.empty())
    return absl::InvalidArgumentError("the prompt gives no token; write some text");
  const MemoryPlan &memory = model_->memory();
  auto vocabulary = static_cast<int32_t>(model_->model().vocab_size());
  for (int32_t id : ids)
    if (id < 0 || id >= vocabulary)
      return absl::InvalidArgumentError(
          fmt::format("the prompt holds token id {}, expected ids in [0, {})", id, vocabulary));
  auto size = static_cast<int64_t>(ids.size());
  if (size >= memory.max_model_len)
    return absl::InvalidArgumentError(fmt::format(
        "the prompt has {} tokens, expected fewer than {} (--max-model-len); shorten it or compile with a larger "
        "--max-model-len",
        size, memory.max_model_len));
  Request bounded = request;
  int32_t &max_tokens = bounded.sampling.max_tokens;
  max_tokens = static_cast<int32_t>(std::min<int64_t>(max_tokens, memory.max_model_len - size));
  int64_t pages = (size + max_tokens + memory.page_size - 1) / memory.page_size;
  if (pages > memory.total_pages)
    return absl::ResourceExhaustedError(fmt::format(
        "the request needs {} KV pages for its prompt and max_tokens, there are {}; lower max_tokens or raise "
        "--kv-cache-memory-bytes",
        pages, memory.total_pages));
  if (!options_.enable_prefix_caching)
    bounded.enable_prefix_caching = false;
  auto active =
      std::make_shared<ActiveRequest>(bounded, std::move(ids), model_->text().tokenizer.get(), model_->text().eos_ids);
  double place = Seconds(Clock::now() - start_);
  if (options_.scheduling_policy == "priority")
    place += kSecondsOfPriority * request.priority;
  for (const auto &sequence : active->sequences())
    sequence->place = place;
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || draining_)
      return absl::UnavailableError("the engine shuts down and takes no more requests");
    if (!failure_.ok())
      return failure_;
    if (options_.max_waiting > 0 && stats_.waiting >= options_.max_waiting)
      return absl::ResourceExhaustedError(
          fmt::format("{} sequences wait, as many as may (--max-waiting); try again later", stats_.waiting));
    submitted_.push_back(active);
    stats_.waiting += static_cast<int32_t>(active->sequences().size());
  }
  wake_.notify_all();
  return MakeHandle(std::move(active));
}

// --- The engine's thread ----------------------------------------------------

void EngineImpl::Loop() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !submitted_.empty() || !requests_.empty() || in_flight_; });
      if (stopping_)
        break;
    }
    TakeIn();
    EndEarly();
    absl::Status status = Step();
    if (status.ok() && checks_invariants_)
      status = scheduler_->CheckInvariants();
    if (!status.ok())
      FailAll(status);
    Retire();
    UpdateStats();
  }
  if (in_flight_)
    Collect();
  FailAll(absl::CancelledError("the engine was shut down"));
  Retire();
  UpdateStats();
}

void EngineImpl::TakeIn() {
  std::vector<std::shared_ptr<ActiveRequest>> submitted;
  {
    std::lock_guard lock(mutex_);
    submitted.swap(submitted_);
  }
  for (std::shared_ptr<ActiveRequest> &request : submitted) {
    for (const auto &sequence : request->sequences())
      scheduler_->Add(sequence.get());
    requests_.emplace(request.get(), std::move(request));
  }
}

// Ends requests that were cancelled or are late.
void EngineImpl::EndEarly() {
  Clock::time_point now = Clock::now();
  for (const auto &[request, owner] : requests_)
    if (request->is_cancelled())
      request->Finish(FinishReason::kCancelled);
    else if (request->deadline() && now >= *request->deadline())
      request->Finish(FinishReason::kError, absl::DeadlineExceededError("the request's deadline has passed"));
  Retire();
}

bool EngineImpl::NeedsLogits(const StepPlan &plan) const {
  return options_.return_logits || std::ranges::any_of(plan.rows, [](const ScheduledRows &part) {
           return static_cast<const ActiveSequence *>(part.sequence)->request->needs_logits();
         });
}

// Launches the next step, then takes the tokens of the one before it, which ran while this one was planned.
absl::Status EngineImpl::Step() {
  bool needs_tokens = !plans_ahead_ || std::ranges::any_of(scheduler_->running(), &Sequence::has_penalties);
  if (in_flight_ && needs_tokens)
    Collect();
  StepPlan plan = scheduler_->Plan(in_flight_.has_value());
  if (plan.must_wait) {
    Collect();
    plan = scheduler_->Plan(false);
  }
  if (plan.rows.empty()) {
    bool had_step = in_flight_.has_value();
    if (had_step)
      Collect();
    else if (!scheduler_->running().empty() || !scheduler_->waiting().empty())
      return absl::InternalError(fmt::format("no step can be planned for {} running and {} waiting sequences",
                                             scheduler_->running().size(), scheduler_->waiting().size()));
    return absl::OkStatus();
  }
  // Before anybody hears of the step: who is told that a request runs sees that it does not wait.
  UpdateStats();
  for (const Sequence *sequence : plan.admitted)
    static_cast<const ActiveSequence *>(sequence)->request->Scheduled(sequence->cached);
  absl::StatusOr<LaunchedStep> step = runner_->Launch(plan, NeedsLogits(plan));
  if (!step.ok()) {
    if (in_flight_)
      Collect();
    Isolate(plan, step.status());
    return failure_;
  }
  scheduler_->Launched(step->plan.rows);
  std::optional<LaunchedStep> before = std::move(in_flight_);
  in_flight_ = *std::move(step);
  ++launched_;
  if (before) {
    absl::StatusOr<StepResult> result = runner_->Collect(*before);
    if (result.ok()) {
      TakeTokens(*before, *result);
    } else {
      // The step after it went on from what it did not do.
      (void)runner_->Collect(*in_flight_);
      scheduler_->RollBack(in_flight_->plan);
      in_flight_.reset();
      Isolate(before->plan, result.status());
    }
  }
  if (!plans_ahead_ && in_flight_)
    Collect();
  return failure_;
}

// Waits for the step on its way.
void EngineImpl::Collect() {
  LaunchedStep step = *std::move(in_flight_);
  in_flight_.reset();
  absl::StatusOr<StepResult> result = runner_->Collect(step);
  if (result.ok())
    TakeTokens(step, *result);
  else
    Isolate(step.plan, result.status());
}

// A step failed: nothing of it counts. Each of its sequences runs by itself, and those that fail again end.
void EngineImpl::Isolate(const StepPlan &failed, const absl::Status &status) {
  scheduler_->RollBack(failed);
  size_t tried = 0, failures = 0;
  for (const ScheduledRows &part : failed.rows) {
    auto *sequence = static_cast<ActiveSequence *>(part.sequence);
    if (sequence->request->is_done() ||
        std::ranges::find(scheduler_->running(), sequence) == scheduler_->running().end())
      continue;
    StepPlan plan = scheduler_->PlanAlone(sequence);
    if (plan.rows.empty())
      continue;
    ++tried;
    absl::StatusOr<LaunchedStep> step = runner_->Launch(plan, NeedsLogits(plan));
    absl::Status alone = step.status();
    if (step.ok()) {
      scheduler_->Launched(step->plan.rows);
      absl::StatusOr<StepResult> result = runner_->Collect(*step);
      alone = result.status();
      if (result.ok())
        TakeTokens(*step, *result);
    }
    if (alone.ok())
      continue;
    ++failures;
    scheduler_->RollBack(plan);
    sequence->request->Finish(FinishReason::kError, alone);
  }
  failures_ = tried > 0 && failures == tried ? failures_ + 1 : 0;
  Retire();
  if (failures_ >= kFailuresOfADevice) {
    std::lock_guard lock(mutex_);
    failure_ = status;
  }
}

void EngineImpl::TakeTokens(const LaunchedStep &step, const StepResult &result) {
  Clock::time_point now = Clock::now();
  scheduler_->Done(step.plan.rows);
  auto vocabulary = static_cast<size_t>(model_->model().vocab_size());
  size_t taken = 0;
  int64_t prompt_tokens = 0, generated = 0, drafted = 0, accepted = 0;
  std::vector<ActiveRequest *> touched;
  std::vector<double> first_times, gaps;
  for (size_t i = 0; i < step.plan.rows.size(); ++i) {
    const ScheduledRows &part = step.plan.rows[i];
    auto &sequence = *static_cast<ActiveSequence *>(part.sequence);
    ActiveRequest &request = *sequence.request;
    prompt_tokens += std::max(0, std::min(sequence.prompt_size, part.certain_end()) - part.first);
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
    for (int32_t right = 0;; ++right, ++row, ++accepted, ++sequence.computed) {
      std::span<const float> logits;
      if (step.has_logits)
        logits = result.logits.subspan(row * vocabulary, vocabulary);
      request.TakeToken(sequence, result.tokens[row], logits, options_.return_logits, model_->text().eos_ids, now);
      ++generated;
      if (sequence.finished != FinishReason::kNone || right == part.drafts ||
          result.tokens[row] != sequence.drafts[static_cast<size_t>(right)])
        break;
    }
    if (!request.last_token_time)
      first_times.push_back(Seconds(now - request.timings().queued));
    else if (*request.last_token_time != now)
      gaps.push_back(Seconds(now - *request.last_token_time));
    if (request.last_token_time != now)
      touched.push_back(&request);
    request.last_token_time = now;
    if (sequence.finished != FinishReason::kNone)
      scheduler_->Remove(&sequence);
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
    for (double seconds : gaps)
      Observe(stats_.inter_token_latency, seconds);
  }
  for (ActiveRequest *request : touched)
    request->Notify();
}

// Lets go of requests that ended. Those that a step on its way may have rows of are kept until it is done.
void EngineImpl::Retire() {
  while (!ended_.empty() && (!in_flight_ || ended_.front().first < launched_))
    ended_.pop_front();
  std::erase_if(requests_, [&](auto &entry) {
    ActiveRequest &request = *entry.first;
    if (!request.is_done())
      return false;
    for (const auto &sequence : request.sequences())
      scheduler_->Remove(sequence.get());
    Count(request);
    ended_.emplace_back(launched_, std::move(entry.second));
    return true;
  });
}

void EngineImpl::Count(ActiveRequest &request) {
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
}

void EngineImpl::UpdateStats() {
  std::lock_guard lock(mutex_);
  stats_.running = static_cast<int32_t>(scheduler_->running().size());
  stats_.waiting = static_cast<int32_t>(scheduler_->waiting().size());
  for (const std::shared_ptr<ActiveRequest> &request : submitted_)
    stats_.waiting += static_cast<int32_t>(request->sequences().size());
  stats_.free_pages = scheduler_->pool().free();
  stats_.cached_pages = scheduler_->pool().cached();
  stats_.preemptions = scheduler_->preemptions();
  stats_.prefix_cache_queries = scheduler_->cache_queries();
  stats_.prefix_cache_hits = scheduler_->cache_hits();
  if (stats_.running + stats_.waiting == 0)
    idle_.notify_all();
}

// Nothing runs any more.
void EngineImpl::FailAll(const absl::Status &status) {
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

} // namespace

absl::StatusOr<std::unique_ptr<Engine>> LoadEngine(const std::string &bundle, const EngineOptions &options,
                                                   const DeviceWrapper &wrap, bool checks_invariants) {
  auto engine = std::make_unique<EngineImpl>();
  if (absl::Status status = engine->Start(bundle, options, wrap, checks_invariants); !status.ok())
    return status;
  return std::unique_ptr<Engine>(std::move(engine));
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Load(const std::string &bundle, const EngineOptions &options) {
  return LoadEngine(bundle, options, nullptr, false);
}

absl::StatusOr<MemoryPlan> Engine::Plan(const std::string &bundle, const EngineOptions &options) {
  if (absl::Status status = CheckOptions(options); !status.ok())
    return status;
  return LoadedModel::Plan(bundle, options);
}

} // namespace inlay
