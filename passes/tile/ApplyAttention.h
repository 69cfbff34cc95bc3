//===- ApplyAttention.h - attention in the tiles and blocks of its schedule ===//

#ifndef INLAY_PASSES_TILE_APPLYATTENTION_H
#define INLAY_PASSES_TILE_APPLYATTENTION_H

#include "passes/tile/AttentionLoop.h"

namespace inlay {
/// Rewrites a program of attention: its tiles become those of the schedule, and its keys are split over the blocks of
/// the schedule's cluster. Leaves other programs, and what is rewritten already, as they are.
mlir::LogicalResult applyAttention(tile::ProgramOp program);

/// Divides the loop over keys, a block's own, among `warps` warps, and merges their parts; with `isCluster`, also those
/// of the blocks. Launches of this step write the last `writtenKeys` keys before `end`, where the keys of all blocks
/// end.
void divideKeysOverWarps(AttentionLoop &found, mlir::Value end, int64_t warps, int64_t writtenKeys, bool isCluster);
} // namespace inlay

#endif // INLAY_PASSES_TILE_APPLYATTENTION_H
