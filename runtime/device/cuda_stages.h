// How rows of a step go from the GPUs of a stage of the pipeline to those of the next one.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_STAGES_H_
#define INLAY_RUNTIME_DEVICE_CUDA_STAGES_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/device/cuda_peer_memory.h"
#include "runtime/device/distributed_backend.h"
#include "runtime/device/nccl.h"
#include "runtime/distributed/rank_group.h"
#include "runtime/distributed/stage_link.h"

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace inlay {

// The sender copies rows to an inbox in peer memory of the receiver's GPU or in pinned host memory, or both call NCCL.
enum class RowsTransport { kPeerMemory, kHostMemory, kNccl };

// The rows that one rank sends to another. The two GPUs wait for each other with events on their streams, so that
// neither thread waits for a GPU. An event can be waited for after it was recorded, so the receiver's thread waits
// until the sender's has launched the step.
class RowsChannel {
public:
  RowsChannel(RankGroup &group, const cuda_driver::Api &api, std::span<const RankGpu> gpus, uint32_t from, uint32_t to,
              uint32_t ranks_of_stage);
  RowsChannel(const RowsChannel &) = delete;
  RowsChannel &operator=(const RowsChannel &) = delete;

  RowsTransport transport() const { return transport_; }
  // Why the GPUs cannot use peer memory; empty if they can.
  std::string WhyNoPeerAccess() const;
  // Sets the transport of `slots` steps in flight, each of at most `slot_bytes`. Allocates nothing.
  void Set(RowsTransport transport, uint64_t slot_bytes, uint32_t slots);
  // Bytes of memory that Open() allocates on the receiver's GPU.
  uint64_t bytes_on_gpu() const;

  // Allocates what the transport needs. `nccl` has all ranks; null if it is not the transport. DataLoss: the GPUs do
  // not read what they write to peer memory.
  absl::Status Open(Nccl *nccl);
  // Frees what Open() has made, and lets it allocate host memory the next time.
  void UseHostMemory();
  // Frees what Open() has made. If a GPU `is_stuck`, leaves the memory, which it may still use.
  void Close(bool is_stuck = false);

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
    std::atomic<int64_t> step{0};
    std::atomic<uint64_t> bytes{0};
    std::atomic<bool> is_taken{false}; // the receiver has recorded `taken`
  };

  absl::Status Check(cuda_driver::Result result, uint32_t rank, std::string_view doing) const;
  absl::Status OpenPeerMemory();
  // Calls copy(rows, inbox) with the part of the inbox of each rows, until one fails.
  template <class Copy> cuda_driver::Result ForEachPart(std::span<const StageRows> rows, size_t slot, const Copy &copy);
  absl::Status WaitFor(uint32_t rank, const std::function<bool()> &is_ready, uint32_t other, const char *what);
  const Slot *FindSlot(int64_t step) const;
  const RankGpu &sender() const { return gpus_[from_]; }
  const RankGpu &receiver() const { return gpus_[to_]; }

  RankGroup &group_;
  const cuda_driver::Api &api_;
  const std::span<const RankGpu> gpus_; // by rank
  const uint32_t from_, to_, ranks_of_stage_;
  RowsTransport transport_ = RowsTransport::kPeerMemory;
  Nccl *nccl_ = nullptr;
  uint64_t slot_bytes_ = 0;
  std::vector<Slot> slots_;
  std::unique_ptr<CudaPeerMemory> peer_;
  void *host_ = nullptr;
  // Of the messages. Message n uses slot n modulo their number.
  std::atomic<uint64_t> sent_{0}, taken_{0};
};

// The channels between all stages. Rank r sends to rank r + `ranks_of_stage`.
class CudaStages {
public:
  // `gpus`: of all ranks, opened by their devices. They outlive this, as the group does.
  CudaStages(RankGroup &group, const cuda_driver::Api &api, std::span<const RankGpu> gpus, uint32_t ranks_of_stage);

  // Decides how rows go. Allocates nothing. Errors name the GPUs that cannot do what was asked for.
  absl::Status Choose(const plan::Target &target, DistributedBackend backend);
  // Memory that Connect() allocates on the GPU of the rank.
  uint64_t bytes(uint32_t rank) const;
  bool Uses(RowsTransport transport) const;
  // Allocates memory and checks that it can be reached. `nccl` has all ranks; null if it is not used.
  absl::Status Connect(Nccl *nccl);
  StageLink *link(uint32_t rank) const { return links_[rank].get(); }

  // Says which rank keeps this one from finishing the step, which it has not finished in time; empty if none is known.
  std::string WhyLate(uint32_t rank, int64_t step) const;
  // Releases all that Connect() has made, or leaves it if a GPU is stuck.
  void Close(bool is_stuck);

private:
  RowsChannel *before(uint32_t rank) const; // null of the first stage
  RowsChannel *after(uint32_t rank) const;  // null of the last stage

  const uint32_t ranks_of_stage_, stages_;
  DistributedBackend backend_ = DistributedBackend::kAuto;
  std::vector<std::unique_ptr<RowsChannel>> channels_; // by sender
  std::vector<std::unique_ptr<StageLink>> links_;      // by rank
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_STAGES_H_
