#include "runtime/device/cuda_rows_channel.h"

#include "fmt/format.h"

#include <algorithm>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace inlay {

using namespace cuda_driver;

namespace {

constexpr uint64_t kBoardBytes = (sizeof(RowsBoard) + 4095) / 4096 * 4096;

uint64_t BytesOf(std::span<const StageRows> rows) {
  uint64_t bytes = 0;
  for (const StageRows &part : rows)
    bytes += part.bytes;
  return bytes;
}

} // namespace

RowsChannel::RowsChannel(RankGroup &group, const Api &api, std::span<const RankGpu> gpus, uint32_t from, uint32_t to,
                         uint32_t ranks_of_stage, RankProcesses *processes)
    : group_(group), api_(api), gpus_(gpus), from_(from), to_(to), ranks_of_stage_(ranks_of_stage),
      processes_(processes) {}

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

uint64_t RowsChannel::host_bytes() const {
  return transport_ == RowsTransport::kHostMemory ? slots_.size() * slot_bytes_ : 0;
}

absl::Status RowsChannel::Open(Nccl *nccl) {
  nccl_ = nccl;
  if (absl::Status status = OpenBoard(); !status.ok())
    return status;
  if (transport_ == RowsTransport::kPeerMemory)
    if (absl::Status status = OpenPeerMemory(); !status.ok())
      return status;
  return OpenEvents();
}

// Maps the board and the host memory for rows, if they go through it. The process of the receiver makes both.
absl::Status RowsChannel::OpenBoard() {
  absl::Status status;
  OwnedFile file;
  if (receiver().is_here()) {
    file = OwnedFile(memfd_create("inlay rows", MFD_CLOEXEC));
    if (file.get() < 0 || ftruncate(file.get(), static_cast<off_t>(kBoardBytes + host_bytes())) != 0)
      status = absl::ResourceExhaustedError(
          fmt::format("no host memory for {} bytes of rows between stages", kBoardBytes + host_bytes()));
  }
  if (status = Agree(status); !status.ok())
    return status;
  if (processes_) {
    absl::StatusOr<std::vector<OwnedFile>> files = processes_->ExchangeFiles(file);
    if (!files.ok())
      return files.status();
    file = std::move((*files)[to_]);
  }
  return Agree(IsHere() ? MapBoard(file) : absl::OkStatus());
}

absl::Status RowsChannel::MapBoard(const OwnedFile &file) {
  void *memory = mmap(nullptr, kBoardBytes + host_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED)
    return absl::ResourceExhaustedError(
        fmt::format("no host memory for {} bytes of rows between stages", kBoardBytes + host_bytes()));
  board_ = static_cast<RowsBoard *>(memory);
  if (host_bytes() == 0)
    return absl::OkStatus();
  api_.ContextSetCurrent(gpu_here().context);
  std::byte *rows = static_cast<std::byte *>(memory) + kBoardBytes;
  const Result result = api_.MemHostRegister(rows, host_bytes(), kPortableHostMemory);
  host_ = result == 0 ? rows : nullptr;
  return Check(result, receiver().is_here() ? to_ : from_, "pinning host memory for rows between stages");
}

absl::Status RowsChannel::AllocateInbox(OwnedFile *file) {
  api_.ContextSetCurrent(receiver().context);
  const Result result = peer_->Allocate(receiver(), std::array{sender(), receiver()}, bytes_on_gpu(), file);
  if (result == kOutOfMemory)
    return absl::ResourceExhaustedError(
        fmt::format("memory for rows between stages needs {} MiB, which are not free on GPU {} of rank {}; lower "
                    "--gpu-memory-utilization, or compile with a lower --max-num-batched-tokens",
                    bytes_on_gpu() >> 20, receiver().ordinal, to_));
  return Check(result, to_, "allocating memory that other GPUs access");
}

absl::Status RowsChannel::OpenPeerMemory() {
  peer_ = std::make_unique<CudaPeerMemory>(api_);
  OwnedFile file;
  absl::Status status;
  if (receiver().is_here())
    status = AllocateInbox(processes_ ? &file : nullptr);
  if (status = Agree(status); !status.ok())
    return status;
  Pointer read = 0; // what the sender reads from the inbox
  if (processes_) {
    absl::StatusOr<std::vector<OwnedFile>> files = processes_->ExchangeFiles(file);
    if (!files.ok())
      return files.status();
    if (sender().is_here()) {
      api_.ContextSetCurrent(sender().context);
      status = Check(peer_->Import(receiver(), std::array{sender(), receiver()}, bytes_on_gpu(), (*files)[to_]), from_,
                     "mapping memory for rows between stages");
    }
  }
  if (sender().is_here()) {
    api_.ContextSetCurrent(sender().context);
    status.Update(Check(api_.MemAlloc(&read, kPeerCheckBytes), from_, "allocating memory"));
  }
  status = Agree(status);
  if (status.ok())
    status = CheckPeerAccess(api_, sender(), receiver(), read, peer_->address(), processes_);
  if (read) {
    api_.ContextSetCurrent(sender().context);
    api_.MemFree(read);
  }
  return status;
}

// Each event is made by the process of its rank, and opened by that of the other rank.
absl::Status RowsChannel::OpenEvents() {
  absl::Status status;
  std::string handles; // of the events of this process
  for (Slot &slot : slots_)
    for (auto [rank, event] : {std::pair{from_, &slot.delivered}, {to_, &slot.taken}}) {
      if (!gpus_[rank].is_here())
        continue;
      api_.ContextSetCurrent(gpus_[rank].context);
      Result result = api_.EventCreate(event, kEventDisableTiming | (processes_ ? kEventInterprocess : 0));
      IpcEventHandle handle{};
      if (result == 0 && processes_)
        result = api_.IpcGetEventHandle(&handle, *event);
      handles.append(handle.bytes, sizeof handle.bytes);
      status.Update(Check(result, rank, "making an event"));
    }
  if (status = Agree(status); !status.ok() || !processes_)
    return status;
  absl::StatusOr<std::vector<std::string>> all = processes_->ExchangeTexts(handles);
  if (!all.ok())
    return all.status();
  if (IsHere()) {
    const uint32_t other = receiver().is_here() ? from_ : to_;
    status = OpenEventsOf(other, (*all)[other]);
  }
  return Agree(status);
}

absl::Status RowsChannel::OpenEventsOf(uint32_t other, const std::string &handles) {
  if (handles.size() != slots_.size() * sizeof(IpcEventHandle))
    return absl::InternalError(fmt::format("rank {} has sent handles of events that are not valid", other));
  api_.ContextSetCurrent(gpu_here().context);
  for (size_t i = 0; i < slots_.size(); ++i) {
    IpcEventHandle handle;
    handles.copy(handle.bytes, sizeof handle, i * sizeof handle);
    Event &event = other == from_ ? slots_[i].delivered : slots_[i].taken;
    // GPUs without peer access may not be able to.
    if (absl::Status status =
            Check(api_.IpcOpenEventHandle(&event, handle), other == from_ ? to_ : from_, "opening an event");
        !status.ok())
      return absl::Status(status.code(), fmt::format("{} of GPU {} of rank {}; start one process, which runs all ranks",
                                                     std::string(status.message()), gpus_[other].ordinal, other));
  }
  return absl::OkStatus();
}

void RowsChannel::UseHostMemory() {
  CloseOpened();
  Close(RankGroup::Clock::now());
  transport_ = RowsTransport::kHostMemory;
}

// Destroys the events of the ranks for which is_wanted(gpu) is true.
template <class Which> void RowsChannel::DestroyEvents(const Which &is_wanted) {
  for (Slot &slot : slots_)
    for (auto [rank, event] : {std::pair{from_, &slot.delivered}, {to_, &slot.taken}})
      if (*event && is_wanted(gpus_[rank])) {
        api_.ContextSetCurrent((gpus_[rank].is_here() ? gpus_[rank] : gpu_here()).context);
        api_.EventDestroy(*event);
        *event = nullptr;
      }
}

void RowsChannel::CloseOpened() {
  if (!IsHere())
    return;
  DestroyEvents([](const RankGpu &gpu) { return !gpu.is_here(); });
  if (!board_)
    return;
  if (sender().is_here())
    board_->sender_has_closed = true;
  if (receiver().is_here())
    board_->receiver_has_closed = true;
}

bool RowsChannel::Close(RankGroup::Clock::time_point deadline) {
  if (!IsHere())
    return true;
  auto both_have_closed = [&] { return !board_ || (board_->sender_has_closed && board_->receiver_has_closed); };
  while (!both_have_closed() && !group_.has_failed() && RankGroup::Clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (both_have_closed())
    DestroyEvents([](const RankGpu &gpu) { return gpu.is_here(); });
  bool keeps = false;
  for (Slot &slot : slots_) {
    keeps |= slot.delivered || slot.taken;
    slot = {};
  }
  api_.ContextSetCurrent(gpu_here().context);
  peer_.reset();
  if (host_)
    api_.MemHostUnregister(host_);
  if (board_)
    munmap(board_, kBoardBytes + host_bytes());
  host_ = nullptr;
  board_ = nullptr;
  return !keeps;
}

void RowsChannel::Leak() {
  if (peer_)
    peer_->Leak();
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

// Copies rows to a slot of the inbox (`is_sent`) or from it. With NCCL there is no inbox.
Result RowsChannel::CopyRows(std::span<const StageRows> rows, size_t slot, bool is_sent, Stream stream) const {
  uint64_t offset = slot * slot_bytes_;
  for (const StageRows &part : rows) {
    const auto at = reinterpret_cast<Pointer>(part.at);
    Result result = 0;
    if (transport_ == RowsTransport::kPeerMemory) {
      const Pointer inbox = peer_->address() + offset;
      result = api_.MemcpyOnDeviceAsync(is_sent ? inbox : at, is_sent ? at : inbox, part.bytes, stream);
    } else if (transport_ == RowsTransport::kHostMemory) {
      result = is_sent ? api_.MemcpyToHostAsync(host_ + offset, at, part.bytes, stream)
                       : api_.MemcpyToDeviceAsync(at, host_ + offset, part.bytes, stream);
    }
    if (result != 0)
      return result;
    offset += PartBytes(part.bytes);
  }
  return 0;
}

absl::Status RowsChannel::Send(std::span<const StageRows> rows) {
  const uint64_t number = board_->sent, bytes = BytesOf(rows);
  const size_t index = number % slots_.size();
  const Slot &slot = slots_[index];
  RowsBoard::Slot &shared = board_->slots[index];
  const Stream stream = sender().stream;
  group_.BeginCall(from_, "send", bytes);
  if (bytes > slot_bytes_)
    return absl::InternalError(
        fmt::format("sends {} bytes to the next stage, expected at most {}", bytes, slot_bytes_));
  api_.ContextSetCurrent(sender().context);
  if (number >= slots_.size()) {
    if (absl::Status status = WaitFor(
            from_, [&] { return board_->taken + slots_.size() > number; }, to_, "has launched what takes");
        !status.ok())
      return status;
    if (absl::Status status = Check(api_.StreamWaitEvent(stream, slot.taken, 0), from_, "waiting for the next stage");
        !status.ok())
      return status;
  }
  Result result = CopyRows(rows, index, /*is_sent=*/true, stream);
  result = result ? result : api_.EventRecord(slot.delivered, stream);
  if (absl::Status status = Check(result, from_, "sending rows to the next stage"); !status.ok())
    return status;
  shared.step = group_.step(from_);
  shared.bytes = bytes;
  shared.is_taken = false;
  board_->sent = number + 1;
  group_.Notify();
  if (transport_ == RowsTransport::kNccl)
    for (const StageRows &part : rows)
      if (absl::Status status = nccl_->Send(from_, part.at, part.bytes, to_); !status.ok())
        return status;
  group_.SetWork(from_, "computing");
  return absl::OkStatus();
}

absl::Status RowsChannel::Receive(std::span<const StageRows> rows) {
  const uint64_t number = board_->taken, bytes = BytesOf(rows);
  const size_t index = number % slots_.size();
  const Slot &slot = slots_[index];
  RowsBoard::Slot &shared = board_->slots[index];
  const Stream stream = receiver().stream;
  group_.BeginCall(to_, "receive", bytes);
  if (absl::Status status = WaitFor(
          to_, [&] { return board_->sent > number; }, from_, "has launched what makes");
      !status.ok())
    return status;
  if (shared.step != group_.step(to_) || shared.bytes != bytes) {
    group_.Fail(absl::InternalError(fmt::format(
        "the stages do not run the same step: rank {} sends {} bytes in step {}, rank {} receives {} bytes in step {}; "
        "the engine cannot continue",
        from_, shared.bytes.load(), shared.step.load(), to_, bytes, group_.step(to_))));
    return group_.failure();
  }
  api_.ContextSetCurrent(receiver().context);
  Result result = api_.StreamWaitEvent(stream, slot.delivered, 0);
  result = result ? result : CopyRows(rows, index, /*is_sent=*/false, stream);
  if (absl::Status status = Check(result, to_, "receiving rows of the stage before"); !status.ok())
    return status;
  if (transport_ == RowsTransport::kNccl)
    for (const StageRows &part : rows)
      if (absl::Status status = nccl_->Receive(to_, part.at, part.bytes, from_); !status.ok())
        return status;
  if (absl::Status status = Check(api_.EventRecord(slot.taken, stream), to_, "recording an event"); !status.ok())
    return status;
  shared.is_taken = true;
  board_->taken = number + 1;
  group_.Notify();
  group_.SetWork(to_, "computing");
  return absl::OkStatus();
}

std::optional<size_t> RowsChannel::FindSlot(int64_t step) const {
  for (size_t i = 0; board_ && i < slots_.size(); ++i)
    if (board_->slots[i].step == step)
      return i;
  return std::nullopt;
}

bool RowsChannel::IsWaitingForSender(int64_t step) const {
  const std::optional<size_t> slot = FindSlot(step);
  return slot && board_->slots[*slot].is_taken && api_.EventQuery(slots_[*slot].delivered) == kNotReady;
}

bool RowsChannel::IsWaitingForReceiver(int64_t step) const {
  const std::optional<size_t> slot = transport_ == RowsTransport::kNccl ? FindSlot(step) : std::nullopt;
  return slot && api_.EventQuery(slots_[*slot].delivered) == 0 &&
         (!board_->slots[*slot].is_taken || api_.EventQuery(slots_[*slot].taken) == kNotReady);
}

} // namespace inlay
