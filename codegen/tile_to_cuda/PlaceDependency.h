//===- PlaceDependency.h - when a kernel waits for those before it ---------===//

#ifndef INLAY_CODEGEN_TILE_TO_CUDA_PLACEDEPENDENCY_H
#define INLAY_CODEGEN_TILE_TO_CUDA_PLACEDEPENDENCY_H

#include "dialects/cuda/Cuda.h"

namespace inlay {
/// Waits for the launches before this one just before the first access to what they may write or read. What follows
/// and needs nothing of them, as a norm's weight, is read before the wait.
void placeDependency(cuda::KernelOp kernel);
} // namespace inlay

#endif // INLAY_CODEGEN_TILE_TO_CUDA_PLACEDEPENDENCY_H
