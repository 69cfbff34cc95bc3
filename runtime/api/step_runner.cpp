#include "runtime/api/step_runner.h"

#include "fmt/format.h"
#include "runtime/bundle/cache_groups.h"
#include "runtime/schedule/check_step.h"

#include <algorithm>

namespace inlay {
namespace {

// The rows of logits that the host changes.
std::vector<EditedRow> EditsOf(std::span<const ScheduledRows> rows) {
  std::vector<EditedRow> edits;
  size_t row = 0;
  for (const ScheduledRows &part : rows) {
    if (part.wants_token() && part.sequence->edits_logits())
      edits.push_back({row + static_cast<size_t>(part.prompt_rows), part.sequence, part.sequence->length()});
    row += static_cast<size_t>(part.logits_rows());
  }
  return edits;
}

// Whether a token is sampled with a filter, for which the sampler compares all logits of its row.
bool HasFilters(std::span<const ScheduledRows> rows) {
  return std::ranges::any_of(
      rows, [](const ScheduledRows &part) { return part.wants_token() && part.sequence->sampling.has_filters(); });
}

// The rows whose tokens the step in flight samples.
std::vector<PendingToken> PendingOf(std::span<const ScheduledRows> rows) {
  std::vector<PendingToken> pending;
  int32_t row = 0;
  for (const ScheduledRows &part : rows) {
    row += part.count;
    if (part.certain_end() > static_cast<int32_t>(part.sequence->tokens.size()))
      pending.push_back({row - 1, part.sequence->last_logits_row});
  }
  return pending;
}

} // namespace

StepRunner::StepRunner(ModelRanks &ranks, const EngineOptions &options)
    : ranks_(ranks), model_(ranks.first()), options_(options),
      uses_largest_(options.deterministic && !model_.is_cpu()) {
  for (uint32_t rank = 0; rank < ranks.size(); ++rank)
    runners_.push_back(std::make_unique<RankRunner>(ranks.rank(rank)));
}

absl::Status StepRunner::Prepare(int32_t host_pages) {
  absl::StatusOr<DebugOptions> debug = ReadDebugOptions();
  if (!debug.ok())
    return debug.status();
  debug_ = *debug;
  for (std::unique_ptr<RankRunner> &runner : runners_)
    if (absl::Status status = runner->Prepare(host_pages); !status.ok())
      return status;
  return uses_largest_ ? PrepareDeterministic() : absl::OkStatus();
}

// Checks that one entry point can run every step. Measures the slowdown of steps with one token, which is the largest,
// and logs it.
absl::Status StepRunner::PrepareDeterministic() {
  const MemoryPlan &memory = model_.memory();
  if (!Choose(memory.max_num_batched_tokens, static_cast<size_t>(memory.max_num_seqs), /*all_decode=*/false))
    return absl::FailedPreconditionError(
        fmt::format("{}: --deterministic needs an entry point for steps of {} rows and {} sequences, but the bundle "
                    "has none; lower "
                    "--max-num-batched-tokens or --max-num-seqs, or remove --deterministic",
                    model_.path(), memory.max_num_batched_tokens, memory.max_num_seqs));
  absl::StatusOr<double> with = TimeDecode();
  uses_largest_ = false;
  absl::StatusOr<double> without = TimeDecode();
  uses_largest_ = true;
  for (const auto *time : {&with, &without})
    if (!time->ok())
      return time->status();
  fmt::print(
      stderr,
      "inlay: --deterministic: a step of one token takes {:.2f} ms, without it {:.2f} ms ({:.1f} times as long)\n",
      *with * 1e3, *without * 1e3, *with / *without);
  return absl::OkStatus();
}

// Returns the seconds of a step of one token, the smallest of a few measurements. It uses page 0, which is still free.
absl::StatusOr<double> StepRunner::TimeDecode() {
  Sequence sequence;
  sequence.tokens = {0};
  sequence.cache.pages.assign(model_.cache_shape().groups(), 0);
  sequence.sampling.temperature = 0;
  StepPlan plan{.rows = {{&sequence, 0, 1}}};
  double best = 0;
  for (int run = 0; run < 4; ++run) {
    auto begin = std::chrono::steady_clock::now();
    absl::StatusOr<LaunchedStep> step = Launch(plan, /*wants_logits=*/false);
    if (!step.ok())
      return step.status();
    if (absl::StatusOr<StepResult> result = Collect(*step); !result.ok())
      return result.status();
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = run == 0 ? seconds : std::min(best, seconds);
  }
  return best;
}

// Returns the smallest entry point that can run the step, or null. With --deterministic it is always the largest, whose
// kernels compute a row in the same way for any other rows of the step.
const ReadyEntry *StepRunner::Choose(int32_t tokens, size_t sequences, bool all_decode) const {
  const ReadyEntry *chosen = nullptr;
  for (const ReadyEntry &ready : model_.entries()) {
    const plan::Entry &entry = *ready.entry;
    bool is_mixed = entry.kind() == plan::EntryKind_Mixed;
    bool fits = tokens <= static_cast<int32_t>(entry.max_tokens()) && sequences <= entry.max_sequences() &&
                (is_mixed || (all_decode && !uses_largest_));
    if (fits && (!chosen || (entry.max_tokens() < chosen->entry->max_tokens()) != uses_largest_))
      chosen = &ready;
  }
  return chosen;
}

absl::StatusOr<LaunchedStep> StepRunner::Launch(const StepPlan &plan, bool wants_logits) {
  LaunchedStep step;
  bool all_decode = true;
  for (const ScheduledRows &part : plan.rows) {
    step.tokens += part.count;
    all_decode &= part.count == 1;
    step.wants_token.push_back(part.wants_token());
    step.logits_rows += part.logits_rows();
  }
  const ReadyEntry *chosen =
      Choose(step.tokens, std::max(plan.rows.size(), static_cast<size_t>(step.logits_rows)), all_decode);
  if (!chosen)
    return absl::InternalError(fmt::format("the bundle has no entry point for a step of {} rows and {} sequences",
                                           step.tokens, plan.rows.size()));
  bool is_graph =
      chosen->entry->kind() == plan::EntryKind_Decode && !model_.is_cpu() && !options_.enforce_eager && all_decode;
  int32_t padded = step.tokens;
  if (is_graph && chosen->entry->graph_buckets())
    for (uint32_t bucket : *chosen->entry->graph_buckets())
      if (static_cast<int32_t>(bucket) >= step.tokens) {
        padded = static_cast<int32_t>(bucket);
        break;
      }
  const size_t slot = next_slot_++ % model_.steps_in_flight();
  StepMetadata &metadata = *model_.buffers(slot).metadata;
  absl::StatusOr<StepSizes> sizes =
      metadata.Fill(plan.rows, padded, static_cast<int32_t>(chosen->entry->query_tile_rows()));
  if (!sizes.ok())
    return sizes.status();
  const plan::Model &shape = model_.model();
  (*sizes)[plan::Extent_KvRows] = model_.memory().total_pages * static_cast<int32_t>(RowsOfPage(shape));

  if (debug_.check_steps)
    if (absl::Status status = CheckStep(model_.metadata_layout(), metadata.block(), *sizes,
                                        {model_.memory().total_pages, static_cast<int32_t>(shape.vocab_size()),
                                         model_.cache_shape(), static_cast<int32_t>(shape.short_rope_len())});
        !status.ok())
      return status;

  step.has_logits = wants_logits && step.logits_rows > 0;
  logits_.resize(model_.steps_in_flight());
  std::vector<float> &logits = logits_[slot];
  auto tokens = static_cast<size_t>(step.logits_rows);
  if (step.has_logits)
    logits.resize(tokens * shape.vocab_size());
  std::vector<EditedRow> edits = EditsOf(plan.rows);
  const bool needs_logits =
      step.has_logits || !edits.empty() || (*sizes)[plan::Extent_PenaltyEntries] > 0 || HasFilters(plan.rows);
  auto command =
      std::make_shared<StepCommand>(StepCommand{.plan = plan,
                                                .metadata = metadata,
                                                .sizes = *sizes,
                                                .number = ++launched_,
                                                .entry = static_cast<size_t>(chosen - model_.entries().data()),
                                                .slot = slot,
                                                .is_graph = is_graph,
                                                .checks_metadata = debug_.check_steps,
                                                .needs_logits = needs_logits,
                                                .tokens = tokens,
                                                .pending = PendingOf(plan.rows),
                                                .edits = std::move(edits),
                                                .logits = step.has_logits ? &logits : nullptr,
                                                .events = std::vector<EventId>(runners_.size())});
  if (absl::Status status = ranks_.SendStep(*command); !status.ok())
    return status;
  absl::StatusOr<int64_t> job = ranks_.Post(
      [this, command](uint32_t rank) {
        absl::StatusOr<EventId> event = runners_[rank]->Launch(*command);
        if (event.ok())
          command->events[rank] = *event;
        return event.status();
      },
      RankThreads::Limit::kTimeout);
  if (!job.ok())
    return job.status();
  // The ranks of one stage run at the same time as this one, so they have launched the step as well.
  if (ranks_.stages() == 1)
    if (absl::Status status = ranks_.Wait(*job); !status.ok())
      return status;
  step.command = std::move(command);
  step.job = *job;
  metadata.Copied();
  int32_t row = 0;
  for (const ScheduledRows &part : plan.rows) {
    row += part.logits_rows();
    if (part.wants_token())
      part.sequence->last_logits_row = row - 1;
  }
  step.plan = plan;
  return step;
}

absl::StatusOr<StepResult> StepRunner::Collect(const LaunchedStep &step) {
  if (absl::Status status = ranks_.Wait(step.job); !status.ok())
    return status;
  const size_t slot = step.command->slot;
  const auto rows = static_cast<size_t>(step.logits_rows);
  // What each rank of the last stage has sampled.
  std::vector<std::pair<uint32_t, std::span<const int32_t>>> sampled;
  // A later step reuses the buffers of this one, which all ranks read, so this waits for all of them. After a failure
  // the others do not wait, and say what they know: a rank that waited in vain names the one that it waited for.
  std::string failures;
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    LoadedModel &model = ranks_.rank(rank);
    if (absl::Status status = model.device().WaitForEvent(step.command->events[rank]); !status.ok()) {
      if (ranks_.ranks() == 1)
        return status;
      failures += fmt::format("rank {}: {}; ", rank, std::string(status.message()));
    }
    if (model.is_last_stage())
      sampled.emplace_back(rank, std::span(model.buffers(slot).tokens, rows));
  }
  if (!failures.empty())
    return ranks_.Fail(absl::UnavailableError(
        fmt::format("step {} has failed: {}the engine cannot continue", step.command->number, failures)));
  absl::StatusOr<std::vector<RankResult>> others = ranks_.TakeResults(step.command->number);
  if (!others.ok())
    return others.status();
  results_.resize(model_.steps_in_flight());
  results_[slot] = *std::move(others);
  const uint32_t sampling = ranks_.sampling_rank();
  for (uint32_t rank = std::max(sampling, ranks_.size()); rank < results_[slot].size(); ++rank) {
    if (const size_t found = results_[slot][rank].tokens.size(); found != rows)
      return ranks_.Fail(absl::InternalError(fmt::format(
          "rank {} has sent {} tokens of a step, expected {}; the engine cannot continue", rank, found, rows)));
    sampled.emplace_back(rank, results_[slot][rank].tokens);
  }
  StepResult result{.tokens = sampled.front().second, .logits = {}};
  for (const auto &[rank, tokens] : sampled)
    if (auto [token, other] = std::ranges::mismatch(result.tokens, tokens); token != result.tokens.end())
      return ranks_.Fail(absl::InternalError(
          fmt::format("the ranks sample different tokens: rank {} {}, rank {} {} for row {} of {}; the engine cannot "
                      "continue",
                      sampling, *token, rank, *other, token - result.tokens.begin(), rows)));
  if (!step.has_logits)
    return result;
  result.logits = logits_[slot];
  if (sampling >= ranks_.size()) {
    const std::vector<float> &sent = results_[slot][sampling].logits;
    if (sent.size() != result.logits.size())
      return ranks_.Fail(
          absl::InternalError(fmt::format("rank {} has sent {} logits, expected {}; the engine cannot continue",
                                          sampling, sent.size(), result.logits.size())));
    result.logits = sent;
  }
  return result;
}

} // namespace inlay
