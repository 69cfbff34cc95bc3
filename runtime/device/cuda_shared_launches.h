// Starts kernels that wait for each other together, on a GPU that ranks of one process share.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_SHARED_LAUNCHES_H_
#define INLAY_RUNTIME_DEVICE_CUDA_SHARED_LAUNCHES_H_

#include "absl/status/status.h"
#include "runtime/device/cuda_peer_memory.h"
#include "runtime/distributed/rank_group.h"

#include <array>
#include <atomic>
#include <span>
#include <vector>

namespace inlay {

// A kernel that waits for another rank holds a part of each multiprocessor. A kernel of the other rank that needs all
// of one, as those of prompts do, would not start, so both would wait forever. Therefore a rank's kernel that exchanges
// starts only when the streams of the ranks of its stage on its GPU have all come to theirs. Then only such kernels
// run, which are small. Stages that share a GPU have one step in flight (EngineLoop), so they do not run at the same
// time.
class CudaSharedLaunches {
public:
  // `gpus`: of all ranks, which outlive this. The ranks of a stage follow each other.
  CudaSharedLaunches(RankGroup &group, const cuda_driver::Api &api, std::span<const RankGpu> gpus,
                     uint32_t ranks_of_stage);
  CudaSharedLaunches(const CudaSharedLaunches &) = delete;
  CudaSharedLaunches &operator=(const CudaSharedLaunches &) = delete;

  // Makes the events of the ranks in this process.
  absl::Status Open();
  // What the rank enqueues next starts when the other ranks of its stage that share its GPU have come to their call of
  // the same number. Called by the rank's thread, which waits until they have made that call, but not for the GPU.
  absl::Status Meet(uint32_t rank);
  // No rank may be in Meet().
  void Close();

private:
  // A rank is at most one call ahead of the others.
  static constexpr uint64_t kSlots = 2;
  struct Calls {
    std::array<cuda_driver::Event, kSlots> events{}; // of call n in n % kSlots
    std::atomic<uint64_t> recorded{0};
  };

  RankGroup &group_;
  const cuda_driver::Api &api_;
  const std::span<const RankGpu> gpus_;
  const uint32_t ranks_of_stage_;
  std::vector<Calls> calls_; // by rank
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_SHARED_LAUNCHES_H_
