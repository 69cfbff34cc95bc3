//===- SelectAttention.h - which family runs an attention, in which tiles --===//

#ifndef INLAY_PASSES_TILE_SELECTATTENTION_H
#define INLAY_PASSES_TILE_SELECTATTENTION_H

#include "dialects/tile/Tile.h"
#include "passes/tile/tuning/TuningFile.h"

namespace inlay {
/// Gives a program with the schedule #tile.family<attention> that of a family: the measured one, or else by the
/// analytic model; remarks say which, and why not another.
mlir::LogicalResult selectAttention(tile::ProgramOp program, tile::TargetAttr target, const TuningFile &measured);

/// Gives each entry of mixed steps the query tiles of the attention that it launches: the host cuts sequences into as
/// many rows as all of its programs take.
void setQueryTiles(mlir::ModuleOp module);
} // namespace inlay

#endif // INLAY_PASSES_TILE_SELECTATTENTION_H
