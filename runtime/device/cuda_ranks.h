// How the GPUs of the ranks exchange values: through each other's memory, or with NCCL. The ranks are threads of this
// process, or processes that each have one.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_RANKS_H_
#define INLAY_RUNTIME_DEVICE_CUDA_RANKS_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/device/cuda_gpus.h"
#include "runtime/device/cuda_peer_memory.h"
#include "runtime/device/cuda_shared_launches.h"
#include "runtime/device/cuda_stages.h"
#include "runtime/device/distributed_backend.h"
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

// Each rank's device opens itself here. Then one thread of each process calls Choose() and Connect(), before the ranks
// load their kernels. Afterwards each rank uses its part from its own thread. The ranks of a stage run collective
// operations together; CudaStages has what stages exchange.
class CudaRanks {
public:
  // `group` has the timeout and the failure of the ranks. `nccl`: see Nccl::Open(). `processes`: of the ranks, which
  // have not started and are used by Choose() and Connect() only; null if all ranks are in this process.
  CudaRanks(std::shared_ptr<RankGroup> group, uint32_t stages, DistributedBackend backend, std::string nccl,
            RankProcesses *processes = nullptr);
  ~CudaRanks();
  CudaRanks(const CudaRanks &) = delete;
  CudaRanks &operator=(const CudaRanks &) = delete;

  uint32_t size() const { return static_cast<uint32_t>(gpus_.size()); } // of all stages
  uint32_t ranks_of_stage() const { return of_stage_; }
  uint32_t first_of_stage(uint32_t rank) const { return rank / of_stage_ * of_stage_; }
  // `found`: the GPUs of all ranks. `context` and `stream` are the rank's.
  void Open(uint32_t rank, const cuda_driver::Api &api, std::span<const FoundGpu> found, cuda_driver::Context context,
            cuda_driver::Stream stream);
  // The number of ranks that have the GPU of this one, which may be in other processes.
  uint32_t RanksOnGpuOf(uint32_t rank) const;
  // The number of ranks whose kernels start together with those of this one (CudaSharedLaunches), itself included.
  uint32_t RanksThatMeet(uint32_t rank) const;
  const RankGpu &gpu(uint32_t rank) const { return gpus_[rank]; }
  // Whether another rank of this process has the same GPU, and so the same context.
  bool SharesContext(uint32_t rank) const;
  // The PCI addresses of the GPUs of all ranks, which must be the same in all processes.
  std::string Addresses() const;
  // The rank's graphs were destroyed, and its streams not yet. When all ranks of this process are closed, releases what
  // they have.
  void Close(uint32_t rank);

  // Decides how the collective operations of the plan run, and how rows go from stage to stage. All processes decide
  // the same. Allocates nothing. Errors name the kernel or the GPUs that do not do what was asked for. Warns of ranks
  // that share a GPU.
  absl::Status Choose(const plan::Target &target);
  // Whether a collective operation runs on NCCL. Then bits of a row can depend on the rows of the step, with more than
  // two ranks of a stage.
  bool uses_nccl() const { return !why_nccl_.empty(); }
  // Memory that Connect() allocates on the GPU of the rank.
  uint64_t bytes(uint32_t rank) const;
  // Allocates that memory, checks that each GPU reaches the memory of each other one that it exchanges values with, and
  // connects NCCL if it is used. With processes, all of them call it and get the same status.
  absl::Status Connect();
  // "peer memory", "NCCL 2.28.9", "peer memory and NCCL 2.28.9".
  std::string Describe() const;

  // Whether the operation is a kernel that takes table() as its last parameter. Otherwise Run() enqueues it, and its
  // epilogue follows.
  bool IsKernel(const plan::Collective &collective) const { return uses_peers_ && collective.code(); }
  cuda_driver::Pointer table(uint32_t rank) const { return tables_[rank]; }
  // Before a kernel that waits for other ranks: CudaSharedLaunches::Meet() if the rank shares its context.
  absl::Status Meet(uint32_t rank) { return shared_ ? shared_->Meet(rank) : absl::OkStatus(); }
  // `stream` may be another one of the rank than Open() got; null: that one. Gathers of a rank share memory, so they
  // must run in order.
  absl::Status Run(uint32_t rank, const plan::Collective &collective, std::span<void *const> arguments, int32_t rows,
                   cuda_driver::Stream stream = nullptr);
  // To the stages before and after that of the rank; null if there is one stage.
  StageLink *link(uint32_t rank) const { return stages_ ? stages_->link(rank) : nullptr; }

  int64_t step(uint32_t rank) const { return group_->step(rank); } // that the rank launches
  std::chrono::steady_clock::duration timeout() const { return group_->timeout(); }
  // Waits until the rank's event completes, but not longer than the timeout, nor after a failure of the ranks. `step`
  // is what the GPU runs until then.
  absl::Status Wait(uint32_t rank, cuda_driver::Event event, int64_t step);
  // The same for all work of a stream of the rank.
  absl::Status WaitForStream(uint32_t rank, cuda_driver::Stream stream);
  // Whether a GPU still runs kernels after a failure of the ranks, a short while after this is first asked. Then its
  // memory must not be freed, because that waits for them.
  bool IsStuck();

private:
  static constexpr const char *kNcclIsWanted = "--distributed-backend is nccl";

  absl::Status Check(cuda_driver::Result result, uint32_t rank, std::string_view doing) const;
  // The GPUs of the stage whose first rank is given.
  std::span<const RankGpu> GpusOfStage(uint32_t first) const { return std::span(gpus_).subspan(first, of_stage_); }
  bool HasStages() const { return of_stage_ < size(); }
  // Whether this process prints warnings of the ranks.
  bool IsFirst() const { return !processes_ || processes_->rank() == 0; }
  // Returns the status of all processes.
  absl::Status Agree(const absl::Status &own) const { return processes_ ? processes_->Agree(own) : own; }
  std::string WhyNoPeerAccessInStages() const;
  // "ranks 0 and 1 share GPU 0"; empty if each rank has a GPU of its own.
  std::string DescribeSharing() const;
  absl::Status ConnectPeers();
  absl::Status AllocatePeers(OwnedFile *file);
  absl::Status ImportPeers(std::span<const OwnedFile> files);
  absl::Status CheckPairs() const;
  absl::Status FillPeers();
  absl::StatusOr<std::unique_ptr<Nccl>> OpenNccl(const std::string &why) const;
  absl::StatusOr<std::unique_ptr<Nccl>> ConnectNccl(uint32_t first, uint32_t count, const std::string &why) const;
  absl::Status ConnectCollectives();
  absl::Status ConnectStages();
  template <class Query> absl::Status Poll(uint32_t rank, int64_t step, const Query &query);
  std::string WhyLate(uint32_t rank, int64_t step) const;
  void AbortNccl();
  void ClosePeers(uint32_t rank);
  void CloseAll();
  uint64_t exchange_bytes() const;
  uint64_t gathered_bytes() const;

  const std::shared_ptr<RankGroup> group_;
  const uint32_t of_stage_; // ranks
  const DistributedBackend backend_;
  const std::string nccl_path_;
  RankProcesses *const processes_;
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
  std::vector<std::unique_ptr<Nccl>> nccl_;    // by stage, of its ranks; null of stages that are not here
  std::unique_ptr<Nccl> messages_;             // of all ranks; null if rows between stages do not go through NCCL
  std::unique_ptr<CudaStages> stages_;         // null if there is one stage
  std::unique_ptr<CudaSharedLaunches> shared_; // null if no ranks share a context
  std::atomic<bool> has_expired_{false};
  std::mutex ending_; // guards is_stuck_
  std::optional<bool> is_stuck_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_RANKS_H_
