//===- ThreadValues.h - what a value is for each thread of a block ---------===//

#ifndef INLAY_PASSES_CUDA_THREADVALUES_H
#define INLAY_PASSES_CUDA_THREADVALUES_H

#include "dialects/cuda/Cuda.h"

namespace inlay {
/// Whether a value may differ between the threads of a block. This is so if it is computed from the number, lane or
/// warp of the thread, or from a value that is not analyzed: a variable, a load of memory that is not readonly, a
/// result of a loop or a call.
bool dependsOnThread(mlir::Value value);

/// The value that one thread has: a known number, an unknown one that is equal in all threads of the block (uniform),
/// or unknown.
struct ThreadValue {
  enum { Known, Uniform, Unknown } kind;
  int64_t number = 0;
};
ThreadValue valueFor(int64_t thread, mlir::Value value);

/// Counts the threads of a block that reach `op`, separately for each combination of values that `indices` have in
/// these threads. Branches with a uniform condition count as taken. None if a condition or an index is unknown.
std::optional<llvm::SmallVector<int64_t>> threadsAt(cuda::KernelOp kernel, mlir::Operation *op,
                                                    llvm::ArrayRef<mlir::Value> indices);

/// Whether `thread` may reach `op`: a branch whose condition is unknown, or equal in all threads, may be taken.
bool mayReach(int64_t thread, mlir::Operation *op);
} // namespace inlay

#endif // INLAY_PASSES_CUDA_THREADVALUES_H
