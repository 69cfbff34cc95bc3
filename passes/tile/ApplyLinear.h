//===- ApplyLinear.h - a product in the blocks and tiles of its schedule ---===//

#ifndef INLAY_PASSES_TILE_APPLYLINEAR_H
#define INLAY_PASSES_TILE_APPLYLINEAR_H

#include "dialects/tile/Tile.h"

namespace inlay {
/// Rewrites a program with one product, y = epilogue(x W^T), so that its grid and tiles are those of its schedule: one
/// block for each tile of weights and rows, with the weights on the left and K split over a cluster (SwapAbAttr), or
/// blocks that run through tiles (GemmAttr). The epilogue runs on pieces of a tile, in warps.
mlir::LogicalResult applyLinear(tile::ProgramOp program);
} // namespace inlay

#endif // INLAY_PASSES_TILE_APPLYLINEAR_H
