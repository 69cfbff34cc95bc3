//===- ApplyAttention.h - attention in the tiles and blocks of its schedule ===//

#ifndef INLAY_PASSES_TILE_APPLYATTENTION_H
#define INLAY_PASSES_TILE_APPLYATTENTION_H

#include "dialects/tile/Tile.h"

namespace inlay {
/// Rewrites a program of attention: its tiles become those of the schedule, and its keys are split over the blocks of
/// the schedule's cluster. Leaves other programs, and what is rewritten already, as they are.
mlir::LogicalResult applyAttention(tile::ProgramOp program);
} // namespace inlay

#endif // INLAY_PASSES_TILE_APPLYATTENTION_H
