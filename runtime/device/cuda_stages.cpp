#include "runtime/device/cuda_stages.h"

#include "fmt/format.h"

#include <algorithm>

namespace inlay {

using namespace cuda_driver;

namespace {

// How long an engine that ends waits for the processes of other stages, which end at about the same time.
constexpr std::chrono::seconds kCloseLimit{1};

// Bytes of an inbox for what a stage sends in the largest step. A plan that was verified sends at most kMaxBytes in at
// most 2^32 parts, so no product or sum overflows.
uint64_t LargestStep(const plan::Target &target) {
  uint64_t most = 0;
  for (const plan::Entry *entry : *target.entries()) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; entry->sends() && i < entry->sends()->size(); ++i)
      bytes += RowsChannel::PartBytes(entry->sends()->Get(i)->row_bytes() * entry->max_tokens());
    most = std::max(most, bytes);
  }
  return most;
}

class CudaStageLink : public StageLink {
public:
  CudaStageLink(RowsChannel *before, RowsChannel *after) : before_(before), after_(after) {}
  absl::Status Receive(std::span<const StageRows> rows) override { return before_->Receive(rows); }
  absl::Status Send(std::span<const StageRows> rows) override { return after_->Send(rows); }

private:
  RowsChannel *const before_, *const after_;
};

} // namespace

CudaStages::CudaStages(RankGroup &group, const Api &api, std::span<const RankGpu> gpus, uint32_t ranks_of_stage,
                       RankProcesses *processes)
    : ranks_of_stage_(ranks_of_stage), stages_(static_cast<uint32_t>(gpus.size()) / ranks_of_stage),
      warns_(!processes || processes->rank() == 0) {
  const auto ranks = static_cast<uint32_t>(gpus.size());
  for (uint32_t rank = 0; rank + ranks_of_stage < ranks; ++rank)
    channels_.push_back(
        std::make_unique<RowsChannel>(group, api, gpus, rank, rank + ranks_of_stage, ranks_of_stage, processes));
  for (uint32_t rank = 0; rank < ranks; ++rank)
    links_.push_back(std::make_unique<CudaStageLink>(before(rank), after(rank)));
}

RowsChannel *CudaStages::before(uint32_t rank) const {
  return rank >= ranks_of_stage_ ? channels_[rank - ranks_of_stage_].get() : nullptr;
}

RowsChannel *CudaStages::after(uint32_t rank) const {
  return rank < channels_.size() ? channels_[rank].get() : nullptr;
}

absl::Status CudaStages::Choose(const plan::Target &target, DistributedBackend backend) {
  backend_ = backend;
  const uint64_t largest = LargestStep(target);
  for (const std::unique_ptr<RowsChannel> &channel : channels_) {
    const std::string no_access = channel->WhyNoPeerAccess();
    if (backend == DistributedBackend::kPeer && !no_access.empty())
      return absl::FailedPreconditionError(
          fmt::format("--distributed-backend peer: {}; use --distributed-backend auto or nccl", no_access));
    if (backend == DistributedBackend::kAuto && !no_access.empty() && warns_)
      fmt::print(stderr, "inlay: {}, so rows between stages go through host memory\n", no_access);
    channel->Set(backend == DistributedBackend::kNccl ? RowsTransport::kNccl
                 : no_access.empty()                  ? RowsTransport::kPeerMemory
                                                      : RowsTransport::kHostMemory,
                 largest, std::max(stages_, 2u));
  }
  return absl::OkStatus();
}

uint64_t CudaStages::bytes(uint32_t rank) const { return before(rank) ? before(rank)->bytes_on_gpu() : 0; }

bool CudaStages::Uses(RowsTransport transport) const {
  return std::ranges::any_of(channels_, [&](const auto &channel) { return channel->transport() == transport; });
}

absl::Status CudaStages::Connect(Nccl *nccl) {
  for (const std::unique_ptr<RowsChannel> &channel : channels_) {
    absl::Status status = channel->Open(nccl);
    if (absl::IsDataLoss(status) && backend_ == DistributedBackend::kAuto) {
      if (warns_)
        fmt::print(stderr, "inlay: {}. Rows between stages go through host memory instead\n",
                   std::string(status.message()));
      channel->UseHostMemory();
      status = channel->Open(nccl);
    }
    if (!status.ok())
      return status;
  }
  return absl::OkStatus();
}

std::string CudaStages::WhyLate(uint32_t rank, int64_t step) const {
  auto name = [&](uint32_t other) { return fmt::format("rank {} of stage {}", other, other / ranks_of_stage_); };
  if (before(rank) && before(rank)->IsWaitingForSender(step))
    return fmt::format("{} has not delivered its rows of step {}", name(rank - ranks_of_stage_), step);
  if (after(rank) && after(rank)->IsWaitingForReceiver(step))
    return fmt::format("{} has not taken the rows of step {}", name(rank + ranks_of_stage_), step);
  return "";
}

bool CudaStages::Close(bool is_stuck) {
  for (const std::unique_ptr<RowsChannel> &channel : channels_)
    is_stuck ? channel->Leak() : channel->CloseOpened();
  bool has_freed_all = true;
  const RankGroup::Clock::time_point deadline = RankGroup::Clock::now() + kCloseLimit;
  for (const std::unique_ptr<RowsChannel> &channel : channels_)
    if (!is_stuck)
      has_freed_all &= channel->Close(deadline);
  return has_freed_all;
}

} // namespace inlay
