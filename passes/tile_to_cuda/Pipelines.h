//===- Pipelines.h - from tile programs to kernels -------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_PIPELINES_H
#define INLAY_PASSES_TILE_TO_CUDA_PIPELINES_H

#include "mlir/Pass/PassManager.h"

namespace inlay {
/// Puts what the schedules of a module's programs say into the programs: what `compile-model --emit=scheduled` prints.
void addSchedulePasses(mlir::OpPassManager &manager);

/// The same, and then kernels of the cuda dialect, allocated and verified. Without `fillsEarly`, each waits for earlier
/// launches as the first thing it does.
void addTileToCudaPasses(mlir::OpPassManager &manager, bool fillsEarly);

/// Registers both for inlay-opt: --tile-schedule and --tile-to-cuda.
void registerTilePipelines();
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_PIPELINES_H
