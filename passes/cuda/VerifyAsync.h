//===- VerifyAsync.h - the parts of cuda-verify-async ----------------------===//

#ifndef INLAY_PASSES_CUDA_VERIFYASYNC_H
#define INLAY_PASSES_CUDA_VERIFYASYNC_H

#include "dialects/cuda/Cuda.h"

#include <map>
#include <set>

namespace inlay {
/// A kernel under verification: facts about the whole kernel, which are gathered before its control flow is followed,
/// and the errors found.
class AsyncKernel {
public:
  explicit AsyncKernel(cuda::KernelOp kernel);

  /// The base of a pointer (Pointers.h). All cuda.shared ops with the same offset have the same base.
  void *baseOf(mlir::Value pointer) const;
  /// Reports an error at `op`, with the names of the kernel and of the model's ops. Only the first error at each op is
  /// reported.
  void report(mlir::Operation *op, const llvm::Twine &message);

  cuda::KernelOp kernel;
  /// For each buffer that copies or other blocks of the cluster fill, the mbarriers on which these writes complete.
  std::map<void *, std::set<void *>> barriersOf;
  /// Buffers with a copy whose mbarrier has no index or a constant one, so that they have one stage.
  std::set<void *> hasOneStage;
  /// For each buffer, the mbarriers that are waited for before it is filled again. Its stages are released there.
  std::map<void *, std::set<void *>> guardsOf;
  /// Accumulators of wgmma (variables), and buffers that wgmma reads.
  std::set<void *> sums, operands;
  /// Operands of wgmma in registers (variables).
  std::set<void *> fragments;
  /// Whether some lanes of a warp make an op and others do not.
  std::map<mlir::Operation *, bool> areOfLanes;
  bool hasFailed = false;

private:
  std::map<uint64_t, void *> sharedAt;
  std::set<mlir::Operation *> reported;
};

/// Follows the kernel's control flow and reports accesses without the necessary synchronization.
void verifyFlow(AsyncKernel &kernel);

/// Checks that need no control flow: each mbarrier is initialised, enough threads arrive at it, the expected bytes are
/// those of the copies, and copies do not wrap around their ring without a wait.
void verifyBarriers(AsyncKernel &kernel);
} // namespace inlay

#endif // INLAY_PASSES_CUDA_VERIFYASYNC_H
