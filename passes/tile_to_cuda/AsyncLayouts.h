//===- AsyncLayouts.h - layouts of what warpgroups and fetches read ---------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_ASYNCLAYOUTS_H
#define INLAY_PASSES_TILE_TO_CUDA_ASYNCLAYOUTS_H

#include "passes/tile_to_cuda/MmaInstructions.h"

namespace inlay {
/// For each row of a tile whose rows are cleared: whether it is held. Of a warp that is alone, each lane has a row.
Layout layoutOfCleared(int64_t rows, int64_t run, int warpBits);
/// Numbers of rows, of which lane l holds those of run l, one in each register.
Layout layoutOfRuns(int64_t rows, int64_t run, int warpBits);
/// A left operand on its way to shared memory: each warpgroup has its 64 rows, a thread 8 neighbours at a time.
Layout layoutOfLeft(mlir::RankedTensorType tile, int warpBits);
/// A left operand that `mma` reads from registers, rows over the groups of warps that execute it together.
Layout leftOfGroups(const MmaInstruction &mma, mlir::RankedTensorType tile, int warpBits);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_ASYNCLAYOUTS_H
