//===- PipelineWarps.h - rings of single warps ------------------------------===//

#ifndef INLAY_PASSES_TILE_PIPELINEWARPS_H
#define INLAY_PASSES_TILE_PIPELINEWARPS_H

#include "dialects/tile/Tile.h"

namespace inlay {
/// Fills the ring of a warp before `tile.depend`, and then fetches as far ahead as it has slots. Fails with a
/// diagnostic where the ring is not used in a loop, or in a loop within another.
mlir::LogicalResult pipelineWarpRing(tile::RingOp ring);
} // namespace inlay

#endif // INLAY_PASSES_TILE_PIPELINEWARPS_H
