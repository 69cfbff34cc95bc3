//===- ThreadValues.h - what a value is for each thread of a block ---------===//

#ifndef INLAY_PASSES_CUDA_THREADVALUES_H
#define INLAY_PASSES_CUDA_THREADVALUES_H

#include "dialects/cuda/Cuda.h"

namespace inlay {
/// Whether a value may differ between the threads of a block: it comes from their number, lane or warp, or from
/// something that is not followed (variables, loads of what is written, results of loops, calls).
bool dependsOnThread(mlir::Value value);

/// A value for one thread: known, the same unknown for all threads of the block, or not followed.
struct ThreadValue {
  enum { Known, Uniform, Unknown } kind;
  int64_t number = 0;
};
ThreadValue valueFor(int64_t thread, mlir::Value value);

/// How many threads of the kernel reach `op`, for each value of `index` (null: all together) that they may have there;
/// branches that all threads take alike count as taken. None where that cannot be followed.
std::optional<llvm::SmallVector<int64_t>> threadsAt(cuda::KernelOp kernel, mlir::Operation *op,
                                                    llvm::ArrayRef<mlir::Value> indices);
} // namespace inlay

#endif // INLAY_PASSES_CUDA_THREADVALUES_H
