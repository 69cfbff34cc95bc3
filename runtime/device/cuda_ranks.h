// How the GPUs of the ranks of a stage exchange values: through each other's memory, or with NCCL.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_RANKS_H_
#define INLAY_RUNTIME_DEVICE_CUDA_RANKS_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/device/cuda_peer_memory.h"
#include "runtime/device/nccl.h"
#include "runtime/distributed/rank_group.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace inlay {

// kPeer: kernels read and write the memory of other GPUs. kAuto: they do where all GPUs can and a kernel has code for
// it; NCCL runs the other operations.
enum class DistributedBackend { kAuto, kPeer, kNccl };
std::optional<DistributedBackend> ParseDistributedBackend(std::string_view name); // "auto", "peer", "nccl"

// Each rank's device opens itself here. Then one thread calls Choose() and Connect(), before the ranks load their
// kernels. Afterwards each rank uses its part from its own thread.
class CudaRanks {
public:
  // `group` has the timeout and the failure of the ranks. `nccl`: see Nccl::Open().
  CudaRanks(std::shared_ptr<RankGroup> group, DistributedBackend backend, std::string nccl);
  ~CudaRanks();
  CudaRanks(const CudaRanks &) = delete;
  CudaRanks &operator=(const CudaRanks &) = delete;

  uint32_t size() const { return static_cast<uint32_t>(gpus_.size()); }
  void Open(uint32_t rank, const cuda_driver::Api &api, const RankGpu &gpu);
  // The rank's graphs were destroyed, and its streams not yet. When all ranks are closed, releases what they have.
  void Close(uint32_t rank);

  // Decides how the collective operations of the plan run. Allocates nothing. Errors name the kernel or the GPUs that
  // do not do what was asked for.
  absl::Status Choose(const plan::Target &target);
  // Whether an operation runs on NCCL. Then bits of a row can depend on the rows of the step, with more than two ranks.
  bool uses_nccl() const { return !why_nccl_.empty(); }
  // Memory that Connect() allocates on the GPU of each rank.
  uint64_t bytes() const;
  // Allocates that memory, checks that each GPU reaches the memory of each other one, and connects NCCL if it is used.
  absl::Status Connect();
  // "peer memory", "NCCL 2.28.9", "peer memory and NCCL 2.28.9".
  std::string Describe() const;

  // Whether the operation is a kernel that takes table() as its last parameter. Otherwise Run() enqueues it, and its
  // epilogue follows.
  bool IsKernel(const plan::Collective &collective) const { return uses_peers_ && collective.code(); }
  cuda_driver::Pointer table(uint32_t rank) const { return tables_[rank]; }
  absl::Status Run(uint32_t rank, const plan::Collective &collective, std::span<void *const> arguments, int32_t rows);

  std::chrono::steady_clock::duration timeout() const { return group_->timeout(); }
  // Waits until the rank's event completes, but not longer than the timeout, nor after a failure of the ranks.
  absl::Status Wait(uint32_t rank, cuda_driver::Event event);
  // Whether a GPU still runs kernels after a failure of the ranks, a short while after this is first asked. Then its
  // memory must not be freed, because that waits for them.
  bool IsStuck();

private:
  absl::Status Check(cuda_driver::Result result, uint32_t rank, std::string_view doing) const;
  absl::Status ConnectPeers();
  absl::Status CheckPairs() const;
  absl::Status FillPeers();
  absl::Status ConnectNccl();
  void ClosePeers(uint32_t rank);
  void CloseAll();
  uint64_t exchange_bytes() const;
  uint64_t gathered_bytes() const;

  const std::shared_ptr<RankGroup> group_;
  const DistributedBackend backend_;
  const std::string nccl_path_;
  const cuda_driver::Api *api_ = nullptr; // null: no rank has a GPU
  std::vector<RankGpu> gpus_;             // by rank, as are the others
  std::vector<bool> is_open_;
  const plan::Target *target_ = nullptr; // that was chosen for
  uint64_t round_bytes_ = 0;
  bool uses_peers_ = false;
  std::string why_nccl_; // empty: it is not used
  std::vector<std::unique_ptr<CudaPeerMemory>> exchange_;
  std::vector<cuda_driver::Pointer> tables_;   // PeerTable
  std::vector<cuda_driver::Pointer> gathered_; // what NCCL gathers, before its rows are put together
  std::unique_ptr<Nccl> nccl_;
  std::atomic<bool> has_expired_{false};
  std::mutex ending_; // guards is_stuck_
  std::optional<bool> is_stuck_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_RANKS_H_
