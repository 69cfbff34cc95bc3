#include "runtime/device/cuda_stages.h"

#include "fmt/format.h"

#include <algorithm>
#include <array>

namespace inlay {

using namespace cuda_driver;

namespace {

constexpr uint64_t kPartAlignment = 256; // of the rows of an inbox

uint64_t PartBytes(uint64_t bytes) { return (bytes + kPartAlignment - 1) / kPartAlignment * kPartAlignment; }

// What a stage sends in the largest step.
uint64_t LargestStep(const plan::Target &target) {
  uint64_t most = 0;
  for (const plan::Entry *entry : *target.entries()) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; entry->sends() && i < entry->sends()->size(); ++i)
      bytes += PartBytes(entry->sends()->Get(i)->row_bytes() * entry->max_tokens());
    most = std::max(most, bytes);
  }
  return most;
}

uint64_t BytesOf(std::span<const StageRows> rows) {
  uint64_t bytes = 0;
  for (const StageRows &part : rows)
    bytes += part.bytes;
  return bytes;
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

RowsChannel::RowsChannel(RankGroup &group, const Api &api, std::span<const RankGpu> gpus, uint32_t from, uint32_t to,
                         uint32_t ranks_of_stage)
    : group_(group), api_(api), gpus_(gpus), from_(from), to_(to), ranks_of_stage_(ranks_of_stage) {}

absl::Status RowsChannel::Check(Result result, uint32_t rank, std::string_view doing) const {
  return CheckOfRank(api_, gpus_[rank], rank, result, doing);
}

std::string RowsChannel::WhyNoPeerAccess() const {
  return inlay::WhyNoPeerAccess(api_, std::array{sender(), receiver()});
}

void RowsChannel::Set(RowsTransport transport, uint64_t slot_bytes, uint32_t slots) {
  transport_ = transport;
  slot_bytes_ = slot_bytes;
  slots_ = std::vector<Slot>(slots);
}

uint64_t RowsChannel::bytes_on_gpu() const {
  return transport_ == RowsTransport::kPeerMemory ? std::max(slots_.size() * slot_bytes_, 2 * kPeerCheckBytes) : 0;
}

absl::Status RowsChannel::Open(Nccl *nccl) {
  nccl_ = nccl;
  if (transport_ == RowsTransport::kPeerMemory)
    if (absl::Status status = OpenPeerMemory(); !status.ok())
      return status;
  if (transport_ == RowsTransport::kHostMemory) {
    api_.ContextSetCurrent(receiver().context);
    if (absl::Status status = Check(api_.MemAllocHost(&host_, std::max(slots_.size() * slot_bytes_, kPartAlignment)),
                                    to_, "pinning host memory for rows between stages");
        !status.ok())
      return status;
  }
  for (Slot &slot : slots_)
    for (auto [rank, event] : {std::pair{from_, &slot.delivered}, {to_, &slot.taken}}) {
      api_.ContextSetCurrent(gpus_[rank].context);
      if (absl::Status status = Check(api_.EventCreate(event, kEventDisableTiming), rank, "making an event");
          !status.ok())
        return status;
    }
  return absl::OkStatus();
}

absl::Status RowsChannel::OpenPeerMemory() {
  api_.ContextSetCurrent(receiver().context);
  peer_ = std::make_unique<CudaPeerMemory>(api_);
  const Result result = peer_->Allocate(receiver(), std::array{sender(), receiver()}, bytes_on_gpu());
  if (result == kOutOfMemory)
    return absl::ResourceExhaustedError(
        fmt::format("memory for rows between stages needs {} MiB, which are not free on GPU {} of rank {}; lower "
                    "--gpu-memory-utilization, or compile with a lower --max-num-batched-tokens",
                    bytes_on_gpu() >> 20, receiver().ordinal, to_));
  if (absl::Status status = Check(result, to_, "allocating memory that other GPUs access"); !status.ok())
    return status;
  api_.ContextSetCurrent(sender().context);
  Pointer read = 0; // what the sender reads from the inbox
  if (absl::Status status = Check(api_.MemAlloc(&read, kPeerCheckBytes), from_, "allocating memory"); !status.ok())
    return status;
  absl::Status status = CheckPeerAccess(api_, sender(), receiver(), read, peer_->address(), /*processes=*/nullptr);
  api_.ContextSetCurrent(sender().context);
  api_.MemFree(read);
  return status;
}

void RowsChannel::UseHostMemory() {
  Close();
  transport_ = RowsTransport::kHostMemory;
}

void RowsChannel::Close(bool is_stuck) {
  if (is_stuck) {
    if (peer_)
      peer_->Leak();
    return;
  }
  for (Slot &slot : slots_)
    for (auto [rank, event] : {std::pair{from_, &slot.delivered}, {to_, &slot.taken}})
      if (*event) {
        api_.ContextSetCurrent(gpus_[rank].context);
        api_.EventDestroy(*event);
        *event = nullptr;
      }
  api_.ContextSetCurrent(receiver().context);
  peer_.reset();
  if (host_)
    api_.MemFreeHost(host_);
  host_ = nullptr;
}

// Waits until the thread of rank `other` has done its part, which it does before or after that of `rank`.
absl::Status RowsChannel::WaitFor(uint32_t rank, const std::function<bool()> &is_ready, uint32_t other,
                                  const char *what) {
  return group_.Wait(is_ready, [&] {
    return fmt::format("{} of stage {} has waited {:.3g} s (--distributed-timeout) until {} of stage {} {} the rows of "
                       "step {}; the engine cannot continue",
                       group_.Describe(rank), rank / ranks_of_stage_,
                       std::chrono::duration<double>(group_.timeout()).count(), group_.Describe(other),
                       other / ranks_of_stage_, what, group_.step(rank));
  });
}

template <class Copy> Result RowsChannel::ForEachPart(std::span<const StageRows> rows, size_t slot, const Copy &copy) {
  uint64_t offset = slot * slot_bytes_;
  for (const StageRows &part : rows) {
    if (Result result = copy(part, offset); result != 0)
      return result;
    offset += PartBytes(part.bytes);
  }
  return 0;
}

absl::Status RowsChannel::Send(std::span<const StageRows> rows) {
  const uint64_t number = sent_, bytes = BytesOf(rows);
  const size_t index = number % slots_.size();
  Slot &slot = slots_[index];
  const Stream stream = sender().stream;
  group_.BeginCall(from_, "send", bytes);
  if (bytes > slot_bytes_)
    return absl::InternalError(
        fmt::format("sends {} bytes to the next stage, expected at most {}", bytes, slot_bytes_));
  api_.ContextSetCurrent(sender().context);
  if (number >= slots_.size()) {
    if (absl::Status status = WaitFor(
            from_, [&] { return taken_ + slots_.size() > number; }, to_, "has launched what takes");
        !status.ok())
      return status;
    if (absl::Status status = Check(api_.StreamWaitEvent(stream, slot.taken, 0), from_, "waiting for the next stage");
        !status.ok())
      return status;
  }
  Result result = 0;
  if (transport_ == RowsTransport::kPeerMemory)
    result = ForEachPart(rows, index, [&](const StageRows &part, uint64_t offset) {
      return api_.MemcpyOnDeviceAsync(peer_->address() + offset, reinterpret_cast<Pointer>(part.at), part.bytes,
                                      stream);
    });
  else if (transport_ == RowsTransport::kHostMemory)
    result = ForEachPart(rows, index, [&](const StageRows &part, uint64_t offset) {
      return api_.MemcpyToHostAsync(static_cast<std::byte *>(host_) + offset, reinterpret_cast<Pointer>(part.at),
                                    part.bytes, stream);
    });
  result = result ? result : api_.EventRecord(slot.delivered, stream);
  if (absl::Status status = Check(result, from_, "sending rows to the next stage"); !status.ok())
    return status;
  slot.step = group_.step(from_);
  slot.bytes = bytes;
  slot.is_taken = false;
  sent_ = number + 1;
  group_.Notify();
  if (transport_ == RowsTransport::kNccl)
    for (const StageRows &part : rows)
      if (absl::Status status = nccl_->Send(from_, part.at, part.bytes, to_); !status.ok())
        return status;
  group_.SetWork(from_, "computing");
  return absl::OkStatus();
}

absl::Status RowsChannel::Receive(std::span<const StageRows> rows) {
  const uint64_t number = taken_, bytes = BytesOf(rows);
  const size_t index = number % slots_.size();
  Slot &slot = slots_[index];
  const Stream stream = receiver().stream;
  group_.BeginCall(to_, "receive", bytes);
  if (absl::Status status = WaitFor(
          to_, [&] { return sent_ > number; }, from_, "has launched what makes");
      !status.ok())
    return status;
  if (slot.step != group_.step(to_) || slot.bytes != bytes) {
    group_.Fail(absl::InternalError(fmt::format(
        "the stages do not run the same step: rank {} sends {} bytes in step {}, rank {} receives {} bytes in step {}; "
        "the engine cannot continue",
        from_, slot.bytes.load(), slot.step.load(), to_, bytes, group_.step(to_))));
    return group_.failure();
  }
  api_.ContextSetCurrent(receiver().context);
  Result result = api_.StreamWaitEvent(stream, slot.delivered, 0);
  if (result == 0 && transport_ == RowsTransport::kPeerMemory)
    result = ForEachPart(rows, index, [&](const StageRows &part, uint64_t offset) {
      return api_.MemcpyOnDeviceAsync(reinterpret_cast<Pointer>(part.at), peer_->address() + offset, part.bytes,
                                      stream);
    });
  else if (result == 0 && transport_ == RowsTransport::kHostMemory)
    result = ForEachPart(rows, index, [&](const StageRows &part, uint64_t offset) {
      return api_.MemcpyToDeviceAsync(reinterpret_cast<Pointer>(part.at), static_cast<std::byte *>(host_) + offset,
                                      part.bytes, stream);
    });
  if (absl::Status status = Check(result, to_, "receiving rows of the stage before"); !status.ok())
    return status;
  if (transport_ == RowsTransport::kNccl)
    for (const StageRows &part : rows)
      if (absl::Status status = nccl_->Receive(to_, part.at, part.bytes, from_); !status.ok())
        return status;
  if (absl::Status status = Check(api_.EventRecord(slot.taken, stream), to_, "recording an event"); !status.ok())
    return status;
  slot.is_taken = true;
  taken_ = number + 1;
  group_.Notify();
  group_.SetWork(to_, "computing");
  return absl::OkStatus();
}

const RowsChannel::Slot *RowsChannel::FindSlot(int64_t step) const {
  auto it = std::ranges::find_if(slots_, [&](const Slot &slot) { return slot.step == step; });
  return it == slots_.end() ? nullptr : &*it;
}

bool RowsChannel::IsWaitingForSender(int64_t step) const {
  const Slot *slot = FindSlot(step);
  return slot && slot->is_taken && api_.EventQuery(slot->delivered) == kNotReady;
}

bool RowsChannel::IsWaitingForReceiver(int64_t step) const {
  const Slot *slot = transport_ == RowsTransport::kNccl ? FindSlot(step) : nullptr;
  return slot && api_.EventQuery(slot->delivered) == 0 &&
         (!slot->is_taken || api_.EventQuery(slot->taken) == kNotReady);
}

CudaStages::CudaStages(RankGroup &group, const Api &api, std::span<const RankGpu> gpus, uint32_t ranks_of_stage)
    : ranks_of_stage_(ranks_of_stage), stages_(static_cast<uint32_t>(gpus.size()) / ranks_of_stage) {
  const auto ranks = static_cast<uint32_t>(gpus.size());
  for (uint32_t rank = 0; rank + ranks_of_stage < ranks; ++rank)
    channels_.push_back(std::make_unique<RowsChannel>(group, api, gpus, rank, rank + ranks_of_stage, ranks_of_stage));
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
    if (backend == DistributedBackend::kAuto && !no_access.empty())
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

void CudaStages::Close(bool is_stuck) {
  for (const std::unique_ptr<RowsChannel> &channel : channels_)
    channel->Close(is_stuck);
}

} // namespace inlay
