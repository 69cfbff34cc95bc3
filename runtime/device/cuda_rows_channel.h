// How the rows of a step go from the GPU of one rank to that of another.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_ROWS_CHANNEL_H_
#define INLAY_RUNTIME_DEVICE_CUDA_ROWS_CHANNEL_H_

#include "absl/status/status.h"
#include "runtime/device/cuda_peer_memory.h"
#include "runtime/device/nccl.h"
#include "runtime/distributed/rank_group.h"
#include "runtime/distributed/stage_link.h"

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace inlay {

// The sender copies rows to an inbox in peer memory of the receiver's GPU or in pinned host memory, or both call NCCL.
enum class RowsTransport { kPeerMemory, kHostMemory, kNccl };

// What the two ranks share. It is valid if it is all zeros.
struct RowsBoard {
  struct Slot {
    std::atomic<int64_t> step;
    std::atomic<uint64_t> bytes;
    std::atomic<bool> is_taken; // the receiver has recorded `taken`
  };
  // Of the messages. Message n uses slot n modulo their number.
  std::atomic<uint64_t> sent, taken;
  // Whether the process of the sender and of the receiver have closed the events that the other process made.
  std::atomic<bool> sender_has_closed, receiver_has_closed;
  std::array<Slot, RankBoard::kMaxRanks> slots;
};

// The rows that one rank sends to another, in this process or in another one. The two GPUs wait for each other with
// events on their streams, so that neither thread waits for a GPU. An event can be waited for after it was recorded, so
// the receiver's thread waits until the sender's has launched the step.
class RowsChannel {
public:
  // `processes`: of the ranks, for Open(); null if all are in this process.
  RowsChannel(RankGroup &group, const cuda_driver::Api &api, std::span<const RankGpu> gpus, uint32_t from, uint32_t to,
              uint32_t ranks_of_stage, RankProcesses *processes);
  RowsChannel(const RowsChannel &) = delete;
  RowsChannel &operator=(const RowsChannel &) = delete;

  // Bytes of an inbox for `bytes` bytes of rows.
  static constexpr uint64_t PartBytes(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

  RowsTransport transport() const { return transport_; }
  // Why the GPUs cannot use peer memory; empty if they can.
  std::string WhyNoPeerAccess() const;
  // Sets the transport of `slots` steps in flight, each of at most `slot_bytes`. Allocates nothing.
  void Set(RowsTransport transport, uint64_t slot_bytes, uint32_t slots);
  // Bytes of memory that Open() allocates on the receiver's GPU.
  uint64_t bytes_on_gpu() const;

  // Allocates what the transport needs. `nccl` has all ranks; null if it is not the transport. DataLoss: the GPUs do
  // not read what they write to peer memory. With processes, all of them call it and get the same status.
  absl::Status Open(Nccl *nccl);
  // Frees what Open() has made, and lets it allocate host memory the next time.
  void UseHostMemory();
  // Frees what Open() has made, in two parts. The driver does not allow to use an event of another process after that
  // process has destroyed it. So CloseOpened() closes the events of the other process. Then Close() waits until the
  // other process has done so, but not after the deadline or a failure of the group, and frees the rest. Returns false
  // if it has kept this process's events, which need their context, because the other process may still use them.
  void CloseOpened();
  bool Close(RankGroup::Clock::time_point deadline);
  // Frees nothing: a GPU that is stuck may still use it.
  void Leak();

  // Called by the sender's and by the receiver's thread.
  absl::Status Send(std::span<const StageRows> rows);
  absl::Status Receive(std::span<const StageRows> rows);

  // Whether the GPU of the sender has not yet delivered the rows of `step`, which the receiver expects.
  bool IsWaitingForSender(int64_t step) const;
  // Whether the GPU of the sender has made the rows of `step` and waits until the receiver takes them.
  bool IsWaitingForReceiver(int64_t step) const;

private:
  // A step in flight.
  struct Slot {
    cuda_driver::Event delivered = nullptr; // the sender's: the rows are in the inbox. With NCCL: they can be sent
    cuda_driver::Event taken = nullptr;     // the receiver's: the inbox can be written again
  };

  absl::Status Check(cuda_driver::Result result, uint32_t rank, std::string_view doing) const;
  bool IsHere() const { return sender().is_here() || receiver().is_here(); }
  const RankGpu &gpu_here() const { return receiver().is_here() ? receiver() : sender(); }
  // Returns the status of all processes.
  absl::Status Agree(const absl::Status &own) const { return processes_ ? processes_->Agree(own) : own; }
  uint64_t host_bytes() const;
  absl::Status OpenBoard();
  absl::Status MapBoard(const OwnedFile &file);
  absl::Status AllocateInbox(OwnedFile *file);
  absl::Status OpenPeerMemory();
  absl::Status OpenEvents();
  template <class Which> void DestroyEvents(const Which &is_wanted);
  absl::Status OpenEventsOf(uint32_t other, const std::string &handles);
  cuda_driver::Result CopyRows(std::span<const StageRows> rows, size_t slot, bool is_sent,
                               cuda_driver::Stream stream) const;
  absl::Status WaitFor(uint32_t rank, const std::function<bool()> &is_ready, uint32_t other, const char *what);
  // Returns the index of the slot with the step, or nothing.
  std::optional<size_t> FindSlot(int64_t step) const;
  const RankGpu &sender() const { return gpus_[from_]; }
  const RankGpu &receiver() const { return gpus_[to_]; }

  RankGroup &group_;
  const cuda_driver::Api &api_;
  const std::span<const RankGpu> gpus_; // by rank
  const uint32_t from_, to_, ranks_of_stage_;
  RankProcesses *const processes_;
  RowsTransport transport_ = RowsTransport::kPeerMemory;
  Nccl *nccl_ = nullptr;
  uint64_t slot_bytes_ = 0;
  std::vector<Slot> slots_;
  std::unique_ptr<CudaPeerMemory> peer_;
  RowsBoard *board_ = nullptr;
  std::byte *host_ = nullptr; // pinned, after the board
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_ROWS_CHANNEL_H_
