// Whether kernels that wait for each other fit on a GPU that ranks share.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_SHARED_FIT_H_
#define INLAY_RUNTIME_DEVICE_CUDA_SHARED_FIT_H_

#include "absl/status/statusor.h"
#include "runtime/bundle/plan_generated.h"

#include <cstdint>
#include <functional>

namespace inlay {

// A GPU that ranks of a stage share, in one process.
struct SharedGpu {
  uint32_t ranks = 1; // that share it
  int ordinal = 0;    // for errors
  // How many blocks of a kernel of the plan, given by its index, run at the same time if nothing else does.
  std::function<absl::StatusOr<uint64_t>(uint32_t kernel)> blocks_at_once;
};

// Checks that the launches of a stage in which the ranks exchange rows end. CudaSharedLaunches starts them together, so
// nothing else runs. Block i of a rank waits for the blocks i of the other ranks, and a GPU starts the blocks of a
// launch in order. So they end if each rank has a block that runs. That is so if the GPU has more room than all blocks
// of all ranks but one need:
//
//   (ranks - 1) * blocks of the launch < blocks at once
//
// A launch that sums rows which the launch before it has pushed waits for nothing, since launches on a GPU that ranks
// share never start early. Errors name the kernel and both numbers of blocks.
absl::Status CheckSharedFit(const plan::Target &target, uint32_t stage, const SharedGpu &gpu);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_SHARED_FIT_H_
