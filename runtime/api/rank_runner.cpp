#include "runtime/api/rank_runner.h"

#include "runtime/sample/logits.h"
#include "runtime/schedule/check_step.h"

#include <algorithm>

namespace inlay {

RankRunner::~RankRunner() {
  if (host_pages_)
    model_.device().FreeHost(host_pages_);
}

absl::Status RankRunner::Prepare(int32_t host_pages) {
  if (host_pages == 0)
    return absl::OkStatus();
  absl::StatusOr<void *> memory = model_.device().AllocateHost(
      static_cast<uint64_t>(host_pages) * model_.memory().bytes_per_page, "KV pages in host memory (--swap-space)");
  if (!memory.ok())
    return memory.status();
  host_pages_ = static_cast<std::byte *>(*memory);
  return absl::OkStatus();
}

absl::Status RankRunner::SwapPages(const StepPlan &plan) {
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

absl::Status RankRunner::CopyPages(std::span<const PageCopy> copies) {
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
absl::Status RankRunner::CopyPenalties(const StepMetadata &metadata) {
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
absl::Status RankRunner::CopyPendingTokens(std::span<const PendingToken> pending, const StepBuffers &before,
                                           const StepBuffers &now) {
  std::byte *ids = now.device_metadata + model_.metadata_layout().OffsetOf(plan::Metadata_TokenIds);
  for (size_t first = 0, end = 0; first < pending.size(); first = end) {
    for (end = first + 1; end < pending.size() && pending[end].row == pending[end - 1].row + 1 &&
                          pending[end].token == pending[end - 1].token + 1;)
      ++end;
    if (absl::Status status =
            model_.device().CopyOnDevice(ids + static_cast<size_t>(pending[first].row) * sizeof(int32_t),
                                         before.device_tokens + pending[first].token, (end - first) * sizeof(int32_t));
        !status.ok())
      return status;
  }
  return absl::OkStatus();
}

// Copies rows of logits that the host changes to the host, edits them and copies them back. This waits for the step, so
// it delays all other sequences of the step too.
absl::Status RankRunner::EditRows(std::span<const EditedRow> rows) {
  size_t vocabulary = model_.model().vocab_size();
  std::vector<float> logits(vocabulary);
  for (const EditedRow &edit : rows) {
    float *row = model_.logits() + edit.row * vocabulary;
    if (absl::Status status = model_.device().CopyToHost(logits.data(), row, vocabulary * sizeof(float)); !status.ok())
      return status;
    EditLogits(*edit.sequence, edit.length, logits);
    if (absl::Status status = model_.device().CopyToDevice(row, logits.data(), vocabulary * sizeof(float));
        !status.ok())
      return status;
  }
  return absl::OkStatus();
}

// Returns where the step's rows of transfers are: see Entry in plan.fbs.
std::vector<StageRows> RankRunner::RowsOf(const flatbuffers::Vector<const plan::Transfer *> *transfers,
                                          const StepSizes &sizes) const {
  std::vector<StageRows> rows;
  for (uint32_t i = 0; transfers && i < transfers->size(); ++i)
    rows.push_back({model_.workspace() + transfers->Get(i)->offset(),
                    static_cast<uint64_t>(sizes[plan::Extent_Tokens]) * transfers->Get(i)->row_bytes()});
  return rows;
}

// Receives what the stage before this one sends.
absl::Status RankRunner::Receive(const StepCommand &step) {
  std::vector<StageRows> rows = RowsOf(model_.entries()[step.entry].entry->receives(), step.sizes);
  return rows.empty() ? absl::OkStatus() : model_.pipeline()->Receive(rows);
}

absl::Status RankRunner::Send(const StepCommand &step) {
  std::vector<StageRows> rows = RowsOf(model_.entries()[step.entry].entry->sends(), step.sizes);
  return rows.empty() ? absl::OkStatus() : model_.pipeline()->Send(rows);
}

// Runs the kernels of the rank's stage.
absl::Status RankRunner::Run(const StepCommand &step) {
  if (model_.is_last_stage())
    return Sample(step);
  const ReadyEntry::Lists &lists = model_.entries()[step.entry].lists[step.slot];
  return model_.device().Run(lists.model, step.sizes, step.is_graph);
}

// Runs the last stage, to the sampled tokens. If `logits` is not null, copies the model's logits to it, before
// penalties and edits change them on the device.
absl::Status RankRunner::Sample(const StepCommand &step) {
  Device &device = model_.device();
  const ReadyEntry::Lists &lists = model_.entries()[step.entry].lists[step.slot];
  const StepSizes &sizes = step.sizes;
  if (lists.parts && !step.needs_logits)
    return device.Run(*lists.parts, sizes, step.is_graph);
  std::vector<float> *logits = model_.place().of_stage.index == 0 ? step.logits : nullptr;
  // The memory is not pinned, so an asynchronous copy would wait as well, and without a limit.
  auto copy_logits = [&] {
    return logits ? device.CopyToHost(logits->data(), model_.logits(), logits->size() * sizeof(float))
                  : absl::OkStatus();
  };
  bool has_penalties = sizes[plan::Extent_PenaltyEntries] > 0;
  bool edits = !step.edits.empty();
  if (!edits && (!has_penalties || !logits)) {
    absl::Status status =
        device.Run(has_penalties ? lists.model_with_penalties : lists.model, sizes, step.is_graph && !has_penalties);
    return status.ok() ? copy_logits() : status;
  }
  if (absl::Status status = device.Run(lists.logits, sizes, step.is_graph && !has_penalties); !status.ok())
    return status;
  if (absl::Status status = copy_logits(); !status.ok())
    return status;
  if (edits)
    if (absl::Status status = EditRows(step.edits); !status.ok())
      return status;
  return device.Run(has_penalties ? lists.sampling_with_penalties : lists.sampling, sizes, false);
}

// Waits for the step and checks that its metadata on the device is what the host wrote.
absl::Status RankRunner::CheckAfter(const StepCommand &step) {
  std::vector<std::byte> device(model_.metadata_layout().bytes);
  if (absl::Status status =
          model_.device().CopyToHost(device.data(), model_.buffers(step.slot).device_metadata, device.size());
      !status.ok())
    return status;
  return CheckArrived(model_.metadata_layout(), step.metadata.block(), device.data());
}

absl::StatusOr<EventId> RankRunner::Launch(const StepCommand &step) {
  Device &device = model_.device();
  const StepBuffers &buffers = model_.buffers(step.slot);
  const size_t slots = model_.steps_in_flight();
  const StepBuffers &before = model_.buffers((step.slot + slots - 1) % slots);
  model_.BeginStep(step.number);
  absl::Status status = device.CopyRowsAsync(buffers.device_metadata, step.metadata.block(), step.metadata.used());
  if (status.ok())
    status = SwapPages(step.plan);
  if (status.ok())
    status = CopyPages(step.plan.copies);
  if (status.ok())
    status = CopyPenalties(step.metadata);
  if (status.ok() && !model_.pipeline()) // with stages, no step needs a token of a step in flight
    status = CopyPendingTokens(step.pending, before, buffers);
  if (status.ok())
    status = Receive(step);
  if (status.ok())
    status = Run(step);
  if (status.ok() && step.checks_metadata)
    status = CheckAfter(step);
  if (status.ok())
    status = Send(step);
  if (!status.ok())
    return status;
  const size_t tokens = model_.is_last_stage() ? step.tokens : 0;
  return device.RecordEvent({buffers.tokens, buffers.device_tokens, tokens * sizeof(int32_t)});
}

} // namespace inlay
