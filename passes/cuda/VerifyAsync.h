//===- VerifyAsync.h - the parts of cuda-verify-async ----------------------===//

#ifndef INLAY_PASSES_CUDA_VERIFYASYNC_H
#define INLAY_PASSES_CUDA_VERIFYASYNC_H

#include "dialects/cuda/Cuda.h"

#include <map>
#include <set>

namespace inlay {
/// A kernel under verification: what its text says wherever one stands, and what was found wrong.
class AsyncKernel {
public:
  explicit AsyncKernel(cuda::KernelOp kernel);

  /// The base of a pointer or descriptor, as one for all parts of shared memory at the same offset.
  void *baseOf(mlir::Value pointer) const;
  /// Reports at `op`, once, with the kernel and the model's ops.
  void report(mlir::Operation *op, const llvm::Twine &message);

  cuda::KernelOp kernel;
  /// Barriers of what fills a buffer asynchronously: copies, and other blocks of the cluster.
  std::map<void *, std::set<void *>> barriersOf;
  /// Buffers that copies fill at one index of their barriers only.
  std::set<void *> hasOneStage;
  /// Barriers that are waited for before a buffer is filled again: there its stages are handed back.
  std::map<void *, std::set<void *>> guardsOf;
  /// Variables that wgmma adds to, and buffers that it reads.
  std::set<void *> sums, operands;
  bool hasFailed = false;

private:
  std::map<uint64_t, void *> sharedAt;
  std::set<mlir::Operation *> reported;
};

/// Follows the kernel's text, and reports what is read or written too early.
void verifyFlow(AsyncKernel &kernel);

/// What can be said of each mbarrier without following the text: who initialises it, who arrives, how often, and that
/// copies do not go round their ring without waiting for anybody.
void verifyBarriers(AsyncKernel &kernel);
} // namespace inlay

#endif // INLAY_PASSES_CUDA_VERIFYASYNC_H
