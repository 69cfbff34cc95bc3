#include "runtime/api/step_runner.h"

#include "fmt/format.h"
#include "runtime/bundle/cache_groups.h"
#include "runtime/sample/logits.h"
#include "runtime/schedule/check_step.h"

#include <algorithm>

namespace inlay {

StepRunner::~StepRunner() {
  if (host_pages_)
    model_.device().FreeHost(host_pages_);
}

absl::Status StepRunner::Prepare(int32_t host_pages) {
  absl::StatusOr<DebugOptions> debug = ReadDebugOptions();
  if (!debug.ok())
    return debug.status();
  debug_ = *debug;
  if (host_pages > 0) {
    absl::StatusOr<void *> memory = model_.device().AllocateHost(
        static_cast<uint64_t>(host_pages) * model_.memory().bytes_per_page, "KV pages in host memory (--swap-space)");
    if (!memory.ok())
      return memory.status();
    host_pages_ = static_cast<std::byte *>(*memory);
  }
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

absl::Status StepRunner::SwapPages(const StepPlan &plan) {
  Device &device = model_.device();
  uint64_t bytes = model_.page_bytes();
  for (size_t place = 0; place < model_.caches().size(); ++place) {
    auto *pages = static_cast<std::byte *>(model_.caches()[place]);
    auto on_device = [&](int32_t page) { return pages + static_cast<uint64_t>(page) * bytes; };
    auto on_host = [&](int32_t page) {
      return host_pages_ + static_cast<uint64_t>(page) * model_.memory().bytes_per_page + place * bytes;
    };
    for (const PageCopy &copy : plan.swap_out)
      if (absl::Status status = device.CopyToHostAsync(on_host(copy.to), on_device(copy.from), bytes); !status.ok())
        return status;
    for (const PageCopy &copy : plan.swap_in)
      if (absl::Status status = device.CopyToDeviceAsync(on_device(copy.to), on_host(copy.from), bytes); !status.ok())
        return status;
  }
  return absl::OkStatus();
}

absl::Status StepRunner::CopyPages(std::span<const PageCopy> copies) {
  for (const PageCopy &copy : copies)
    for (void *cache : model_.caches()) {
      auto *pages = static_cast<std::byte *>(cache);
      if (absl::Status status = model_.device().CopyOnDevice(
              pages + static_cast<uint64_t>(copy.to) * model_.page_bytes(),
              pages + static_cast<uint64_t>(copy.from) * model_.page_bytes(), model_.page_bytes());
          !status.ok())
        return status;
    }
  return absl::OkStatus();
}

// The copies are ordered with the launches, so one penalty block suffices for all steps.
absl::Status StepRunner::CopyPenalties(const StepMetadata &metadata) {
  constexpr plan::Metadata kArrays[] = {plan::Metadata_PenaltyRows, plan::Metadata_PenaltyTokens,
                                        plan::Metadata_PenaltyCounts};
  for (size_t i = 0; i < std::size(kArrays); ++i)
    if (const std::vector<int32_t> &array = metadata.penalties()[i]; !array.empty())
      if (absl::Status status =
              model_.device().CopyToDevice(model_.penalties() + model_.metadata_layout().OffsetOf(kArrays[i]),
                                           array.data(), array.size() * sizeof(int32_t));
          !status.ok())
        return status;
  return absl::OkStatus();
}

// Copies the token ids that the previous step samples to the rows of this step, on the device. Sequences usually keep
// their order, so that one copy is enough for all of them.
absl::Status StepRunner::CopyPendingTokens(std::span<const ScheduledRows> rows, const StepBuffers &before,
                                           const StepBuffers &now) {
  std::byte *ids = now.device_metadata + model_.metadata_layout().OffsetOf(plan::Metadata_TokenIds);
  int32_t row = 0, first_row = 0, first_token = 0, count = 0;
  auto flush = [&] {
    return count == 0 ? absl::OkStatus()
                      : model_.device().CopyOnDevice(ids + static_cast<size_t>(first_row) * sizeof(int32_t),
                                                     before.device_tokens + first_token,
                                                     static_cast<size_t>(count) * sizeof(int32_t));
  };
  for (const ScheduledRows &part : rows) {
    int32_t last = row + part.count - 1, token = part.sequence->last_logits_row;
    row += part.count;
    if (part.certain_end() <= static_cast<int32_t>(part.sequence->tokens.size()))
      continue;
    if (last != first_row + count || token != first_token + count) {
      if (absl::Status status = flush(); !status.ok())
        return status;
      first_row = last;
      first_token = token;
      count = 0;
    }
    ++count;
  }
  return flush();
}

// Copies rows of logits that the host changes to the host, edits them and copies them back. This waits for the step, so
// it delays all other sequences of the step too.
absl::Status StepRunner::EditRows(std::span<const ScheduledRows> rows) {
  size_t vocabulary = model_.model().vocab_size();
  std::vector<float> logits(vocabulary);
  float *row = model_.logits();
  for (const ScheduledRows &part : rows) {
    float *of_token = row + static_cast<size_t>(part.prompt_rows) * vocabulary;
    row += static_cast<size_t>(part.logits_rows()) * vocabulary;
    if (part.wants_token() && part.sequence->edits_logits()) {
      if (absl::Status status = model_.device().CopyToHost(logits.data(), of_token, vocabulary * sizeof(float));
          !status.ok())
        return status;
      EditLogits(*part.sequence, logits);
      if (absl::Status status = model_.device().CopyToDevice(of_token, logits.data(), vocabulary * sizeof(float));
          !status.ok())
        return status;
    }
  }
  return absl::OkStatus();
}

// Runs the kernels of a step. If `logits` is not null, copies the model's logits to it, before penalties and edits
// change them on the device.
absl::Status StepRunner::Run(const ReadyEntry::Lists &lists, const StepPlan &plan, const StepSizes &sizes,
                             bool is_graph, std::vector<float> *logits) {
  Device &device = model_.device();
  auto copy_logits = [&] {
    return logits ? device.CopyToHostAsync(logits->data(), model_.logits(), logits->size() * sizeof(float))
                  : absl::OkStatus();
  };
  bool has_penalties = sizes[plan::Extent_PenaltyEntries] > 0;
  bool edits = std::ranges::any_of(
      plan.rows, [](const ScheduledRows &part) { return part.wants_token() && part.sequence->edits_logits(); });
  if (!edits && (!has_penalties || !logits)) {
    absl::Status status =
        device.Run(has_penalties ? lists.model_with_penalties : lists.model, sizes, is_graph && !has_penalties);
    return status.ok() ? copy_logits() : status;
  }
  if (absl::Status status = device.Run(lists.logits, sizes, is_graph && !has_penalties); !status.ok())
    return status;
  if (absl::Status status = copy_logits(); !status.ok())
    return status;
  if (edits)
    if (absl::Status status = EditRows(plan.rows); !status.ok())
      return status;
  return device.Run(has_penalties ? lists.sampling_with_penalties : lists.sampling, sizes, false);
}

// Waits for the step and checks that its metadata on the device is what the host wrote.
absl::Status StepRunner::CheckAfter(const StepBuffers &buffers) {
  std::vector<std::byte> device(model_.metadata_layout().bytes);
  if (absl::Status status = model_.device().CopyToHost(device.data(), buffers.device_metadata, device.size());
      !status.ok())
    return status;
  return CheckArrived(model_.metadata_layout(), buffers.metadata->block(), device.data());
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
  step.slot = next_slot_++ % kStepsInFlight;
  const StepBuffers &buffers = model_.buffers(step.slot), &before = model_.buffers(next_slot_ % kStepsInFlight);
  StepMetadata &metadata = *buffers.metadata;
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

  Device &device = model_.device();
  step.has_logits = wants_logits && step.logits_rows > 0;
  std::vector<float> &logits = logits_[step.slot];
  auto tokens = static_cast<size_t>(step.logits_rows);
  if (step.has_logits)
    logits.resize(tokens * shape.vocab_size());
  absl::Status status = device.CopyRowsAsync(buffers.device_metadata, metadata.block(), metadata.used());
  if (status.ok()) {
    metadata.Copied();
    status = SwapPages(plan);
  }
  if (status.ok())
    status = CopyPages(plan.copies);
  if (status.ok())
    status = CopyPenalties(metadata);
  if (status.ok())
    status = CopyPendingTokens(plan.rows, before, buffers);
  if (status.ok())
    status = Run(chosen->lists[step.slot], plan, *sizes, is_graph, step.has_logits ? &logits : nullptr);
  if (status.ok() && debug_.check_steps)
    status = CheckAfter(buffers);
  if (!status.ok())
    return status;
  absl::StatusOr<EventId> event = device.RecordEvent({buffers.tokens, buffers.device_tokens, tokens * sizeof(int32_t)});
  if (!event.ok())
    return event.status();
  step.event = *event;
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
  if (absl::Status status = model_.device().WaitForEvent(step.event); !status.ok())
    return status;
  StepResult result;
  result.tokens = {model_.buffers(step.slot).tokens, static_cast<size_t>(step.logits_rows)};
  if (step.has_logits)
    result.logits = logits_[step.slot];
  return result;
}

} // namespace inlay
