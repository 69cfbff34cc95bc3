// The engine's thread: admits requests and launches steps.
#include "runtime/api/engine_loop.h"

#include "runtime/api/engine_stats.h"
#include "runtime/device/cuda_gpus.h"

#include "fmt/format.h"

#include <algorithm>

namespace inlay {
namespace {

using Clock = std::chrono::steady_clock;

// How long the destructor of the engine waits for a step that is stuck, before it detaches the engine's thread.
constexpr std::chrono::seconds kLastWait{1};

// How long a step waits for token masks that are not ready: about the time to compute a mask of a state of the grammar
// that was seen before.
constexpr std::chrono::microseconds kPatience{200};
// How often cancellations and deadlines are checked while the engine only waits for token masks.
constexpr std::chrono::milliseconds kLookAround{5};

SchedulerLimits LimitsOf(const ModelRanks &ranks, const EngineOptions &options) {
  const LoadedModel &model = ranks.first();
  const MemoryPlan &memory = model.memory();
  return {.sequences = memory.max_num_seqs,
          .tokens = memory.max_num_batched_tokens,
          .pages = memory.total_pages,
          .host_pages = HostPagesOf(ranks, options),
          .cache = model.cache_shape(),
          .drafts = options.num_speculative_tokens,
          .prompt_logits = LogprobFinder::PromptRowsOfStep(model.model().vocab_size()),
          .short_rope_len = static_cast<int32_t>(model.model().short_rope_len()),
          .stages = static_cast<int32_t>(ranks.stages())};
}

// Steps in flight when the next one is launched. Threads of different stages that share a GPU run one at a time: a
// kernel of one stage that waits for other ranks may hold what a kernel of the other stage needs.
size_t MostInFlight(const ModelRanks &ranks, const EngineOptions &options, bool plans_ahead) {
  if (plans_ahead)
    return 2;
  return SharesGpus(options.devices) && options.process.ranks == 0 ? 1 : ranks.stages();
}

} // namespace

// On the cpu, launching a step runs it, so planning ahead would only delay its tokens. Draft tokens need the tokens of
// the previous step on the host, so the engine does not plan ahead with them either. With stages, each of which runs a
// step of other sequences, a step does not need the tokens of those in flight.
EngineLoop::EngineLoop(std::unique_ptr<ModelRanks> ranks, std::unique_ptr<Drafter> drafter,
                       const EngineOptions &options, bool checks_invariants)
    : options_(options), checks_invariants_(checks_invariants),
      plans_ahead_(ranks->stages() == 1 &&
                   options.async_scheduling.value_or(!ranks->first().is_cpu() && options.num_speculative_tokens == 0)),
      ranks_(std::move(ranks)), most_in_flight_(MostInFlight(*ranks_, options, plans_ahead_)), model_(&ranks_->first()),
      runner_(*ranks_, options_), logprobs_(model_->model().vocab_size()),
      scheduler_(LimitsOf(*ranks_, options), drafter ? std::move(drafter) : std::make_unique<NgramDrafter>()),
      guided_(
          [this] {
            const TextParts &text = model_->text();
            return guided::Vocabulary::FromTokenizer(*text.tokenizer, text.eos_ids,
                                                     static_cast<int32_t>(model_->model().vocab_size()));
          },
          [this] {
            {
              std::lock_guard lock(mutex_);
              ++masks_found_;
            }
            wake_.notify_all();
          }) {
  const MemoryPlan &memory = model_->memory();
  PrepareHistograms(stats_);
  stats_.target = memory.target;
  stats_.device = memory.device;
  stats_.ranks = memory.ranks;
  stats_.distributed = ranks_->Describe();
  stats_.weights_seconds = model_->weights_seconds();
  stats_.weights_bytes = memory.weights_bytes;
  stats_.workspace_bytes = memory.workspace_bytes;
  stats_.kv_cache_bytes = memory.kv_cache_bytes;
  stats_.kv_cache_tokens = memory.kv_cache_tokens;
  stats_.max_model_len = memory.max_model_len;
  stats_.max_num_seqs = memory.max_num_seqs;
  stats_.max_num_batched_tokens = memory.max_num_batched_tokens;
  stats_.total_pages = stats_.free_pages = memory.total_pages;
  ranks_->OnFailure([this](const absl::Status &status) { OnRankFailure(status); });
  if (options.watchdog_seconds > 0)
    watchdog_ = std::make_unique<Watchdog>(options.watchdog_seconds,
                                           [this](const StepState &state, double seconds) { OnStuck(state, seconds); });
}

absl::Status EngineLoop::Prepare() {
  if (!options_.trace_path.empty()) {
    absl::StatusOr<std::unique_ptr<SchedulerTrace>> trace = SchedulerTrace::Open(options_.trace_path);
    if (!trace.ok())
      return trace.status();
    trace_ = *std::move(trace);
  }
  int32_t host_pages = HostPagesOf(*ranks_, options_);
  if (options_.preemption_mode == "swap" && host_pages < 1)
    return absl::InvalidArgumentError(
        fmt::format("--swap-space is {} bytes, but one KV page needs {}; raise it or remove --preemption-mode swap",
                    options_.swap_space_bytes, ranks_->LargestPageBytes()));
  return runner_.Prepare(host_pages);
}

// --- Functions for any thread -----------------------------------------------

absl::Status EngineLoop::Add(std::shared_ptr<ActiveRequest> request) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || draining_)
      return absl::UnavailableError("the engine is shutting down and accepts no more requests");
    if (!failure_.ok())
      return failure_;
    if (options_.max_waiting > 0 && stats_.waiting >= options_.max_waiting)
      return absl::ResourceExhaustedError(
          fmt::format("{} sequences are waiting, which is the limit (--max-waiting); try again later", stats_.waiting));
    stats_.waiting += static_cast<int32_t>(request->sequences().size());
    request->number = ++submissions_;
    submitted_.push_back(std::move(request));
  }
  wake_.notify_all();
  return absl::OkStatus();
}

absl::Status EngineLoop::Drain(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  bool is_idle =
      idle_.wait_until(lock, deadline, [&] { return submitted_.empty() && stats_.running + stats_.waiting == 0; });
  return is_idle ? absl::OkStatus()
                 : absl::DeadlineExceededError(
                       "some requests had not finished at the deadline of the shutdown; they were cancelled");
}

void EngineLoop::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
}

bool EngineLoop::WaitForEnd() {
  std::unique_lock lock(mutex_);
  ended_or_stuck_.wait(lock, [&] { return has_ended_ || is_stuck_; });
  return ended_or_stuck_.wait_for(lock, kLastWait, [&] { return has_ended_; });
}

absl::Status EngineLoop::Failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

// --- The engine's thread ----------------------------------------------------

void EngineLoop::Run() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !submitted_.empty() || !requests_.empty() || !in_flight_.empty(); });
      if (stopping_)
        break;
      masks_seen_ = masks_found_;
    }
    AddSubmitted();
    FinishAborted();
    AddPrepared();
    absl::Status status = Step();
    if (status.ok() && checks_invariants_)
      status = scheduler_.CheckInvariants();
    if (!status.ok())
      FailAll(status);
    Retire();
    UpdateStats();
  }
  while (!in_flight_.empty())
    Collect();
  FailAll(absl::CancelledError("the engine was shut down"));
  Retire();
  UpdateStats();
  watchdog_.reset();
  trace_.reset();
  ranks_->Stop();
  std::lock_guard lock(mutex_);
  has_ended_ = true;
  ended_or_stuck_.notify_all();
}

void EngineLoop::AddSubmitted() {
  std::lock_guard lock(mutex_);
  for (std::shared_ptr<ActiveRequest> &request : submitted_) {
    if (request->is_guided())
      Prepare(*request);
    else
      for (const auto &sequence : request->sequences())
        scheduler_.Add(sequence.get());
    requests_.emplace(request.get(), std::move(request));
  }
  submitted_.clear();
}

// Queues the compilation of the grammar and the computation of each sequence's first mask. The request is added to the
// scheduler when they are done.
void EngineLoop::Prepare(ActiveRequest &request) {
  std::vector<std::shared_ptr<GuidedText>> texts;
  for (const auto &sequence : request.sequences()) {
    sequence->edits.mask = sequence->guided = std::make_shared<GuidedText>();
    texts.push_back(sequence->guided);
  }
  guided_.Begin(request.sampling().guided, texts);
  preparing_.push_back(&request);
}

void EngineLoop::AddPrepared() {
  std::erase_if(preparing_, [&](ActiveRequest *request) {
    if (!request->is_prepared())
      return false;
    for (const auto &sequence : request->sequences())
      scheduler_.Add(sequence.get());
    return true;
  });
}

bool EngineLoop::WaitsForMasks() const {
  auto waits = [](const Sequence *sequence) { return sequence->pending == 0 && sequence->waits_for_mask(); };
  return std::ranges::any_of(scheduler_.running(), waits) || std::ranges::any_of(scheduler_.waiting(), waits);
}

void EngineLoop::WaitForAllMasks(Clock::duration time) {
  HostSpan span(trace_.get(), "wait for masks");
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, time, [&] { return stopping_ || !WaitsForMasks(); });
}

// Waits until a mask became ready since the beginning of this round of Run(), or there is a new request.
void EngineLoop::WaitForSomeMask(Clock::duration time) {
  HostSpan span(trace_.get(), "wait for masks");
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, time, [&] { return stopping_ || !submitted_.empty() || masks_found_ != masks_seen_; });
}

// Ends requests that were cancelled, whose deadline has passed, or whose token masks cannot be computed.
void EngineLoop::FinishAborted() {
  Clock::time_point now = Clock::now();
  bool has_ended = false;
  for (const auto &[request, owner] : requests_) {
    if (request->is_cancelled())
      request->Finish(FinishReason::kCancelled);
    else if (request->deadline() && now >= *request->deadline())
      request->Finish(FinishReason::kError, absl::DeadlineExceededError("the request's deadline has passed"));
    else if (absl::Status why = request->guided_failure(); !why.ok())
      request->Finish(FinishReason::kError, std::move(why));
    has_ended |= request->is_done();
  }
  if (has_ended)
    Retire();
}

bool EngineLoop::NeedsLogits(const StepPlan &plan) const {
  return options_.return_logits || std::ranges::any_of(plan.rows, [](const ScheduledRows &part) {
           return part.prompt_rows > 0 || part.sequence->active->request->needs_logits();
         });
}

StepPlan EngineLoop::Plan() {
  auto plan_step = [&] {
    HostSpan span(trace_.get(), "plan");
    // The draft model runs during planning, so the watchdog must know of it.
    bool is_watched = watchdog_ && !options_.speculative_model.empty();
    if (is_watched)
      Watch("draft", {});
    StepPlan plan = scheduler_.Plan(!in_flight_.empty());
    if (is_watched)
      watchdog_->End();
    return plan;
  };
  StepPlan plan = plan_step();
  while (plan.must_wait && !in_flight_.empty()) {
    Collect();
    plan = plan_step();
  }
  if (trace_) {
    Clock::time_point now = Clock::now();
    for (const Sequence *sequence : plan.preempted)
      trace_->Preempted(*sequence->active, now);
    for (const Sequence *sequence : plan.admitted)
      trace_->Admitted(*sequence->active, now);
    trace_->Counters(now, scheduler_.running().size(), scheduler_.waiting().size(), scheduler_.pool().free());
  }
  return plan;
}

absl::StatusOr<LaunchedStep> EngineLoop::Launch(const StepPlan &plan) {
  if (watchdog_)
    Watch("launch", plan);
  HostSpan span(trace_.get(), "launch");
  Clock::time_point begin = Clock::now();
  absl::StatusOr<LaunchedStep> step = runner_.Launch(plan, NeedsLogits(plan));
  if (step.ok())
    step->launched = begin;
  if (watchdog_)
    watchdog_->End();
  return step;
}

absl::StatusOr<StepResult> EngineLoop::Wait(const LaunchedStep &step) {
  if (watchdog_)
    Watch("wait", step.plan);
  HostSpan span(trace_.get(), "wait");
  absl::StatusOr<StepResult> result = runner_.Collect(step);
  if (trace_)
    trace_->Step(step, steps_done_++, step.launched, Clock::now());
  if (watchdog_)
    watchdog_->End();
  return result;
}

// Launches the next step, then takes the tokens of the oldest step in flight if there are as many as can be. It ran
// while this one was planned.
absl::Status EngineLoop::Step() {
  bool needs_tokens = plans_ahead_ && std::ranges::any_of(scheduler_.running(), &Sequence::needs_tokens);
  if (!in_flight_.empty() && needs_tokens)
    Collect();
  if (in_flight_.empty() && WaitsForMasks())
    WaitForAllMasks(kPatience);
  StepPlan plan = Plan();
  if (plan.rows.empty()) {
    if (!in_flight_.empty())
      Collect();
    else if (!preparing_.empty() || plan.lacks_masks)
      WaitForSomeMask(kLookAround);
    else if (!scheduler_.running().empty() || !scheduler_.waiting().empty())
      return absl::InternalError(fmt::format("no step can be planned for {} running and {} waiting sequences",
                                             scheduler_.running().size(), scheduler_.waiting().size()));
    return absl::OkStatus();
  }
  // Statistics are updated before Scheduled(): a thread that sees that the request runs must not see it as waiting.
  UpdateStats();
  for (const Sequence *sequence : plan.admitted)
    sequence->active->request->Scheduled(sequence->cache.found);
  absl::StatusOr<LaunchedStep> step = Launch(plan);
  if (!step.ok()) {
    while (!in_flight_.empty())
      Collect();
    Isolate(plan, step.status());
    return Failure();
  }
  scheduler_.Launched(step->plan.rows);
  in_flight_.push_back(*std::move(step));
  ++launched_;
  while (in_flight_.size() >= most_in_flight_)
    Collect();
  return Failure();
}

// Waits for the oldest step in flight and takes its tokens.
void EngineLoop::Collect() {
  LaunchedStep step = std::move(in_flight_.front());
  in_flight_.pop_front();
  absl::StatusOr<StepResult> result = Wait(step);
  if (result.ok()) {
    TakeTokens(step, *result);
    return;
  }
  // The steps in flight depend on the failed step, so their results are discarded.
  for (const LaunchedStep &later : in_flight_)
    (void)Wait(later);
  for (; !in_flight_.empty(); in_flight_.pop_back())
    scheduler_.RollBack(in_flight_.back().plan);
  Isolate(step.plan, result.status());
}

} // namespace inlay
