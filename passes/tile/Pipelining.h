//===- Pipelining.h - steps of tile-pipeline -------------------------------===//

#ifndef INLAY_PASSES_TILE_PIPELINING_H
#define INLAY_PASSES_TILE_PIPELINING_H

#include "dialects/tile/Tile.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <optional>

namespace inlay {
/// Lets one of two products of `loop` run an iteration ahead of the other, which depends on it. Returns the loop that
/// remains: all iterations but the last.
mlir::FailureOr<mlir::scf::ForOp> skewLoop(mlir::scf::ForOp loop, bool takesTurns);

/// Where elements of a tile are kept under a condition that its first and last column decide for each row, adds a
/// variant of `block` without the condition (tile.if_all).
void splitMasks(mlir::Block &block);

/// A product from 0 that is added to what its loop carries, maybe scaled before.
struct StepProduct {
  mlir::arith::AddFOp add;
  llvm::SmallVector<tile::LoadOp> scales; // of vectors that the product is multiplied by
};

/// Follows the product to its addition; none where something else becomes of it.
std::optional<StepProduct> findStepProduct(tile::DotOp dot);

/// Moves tiles that only `region` uses, loaded or computed before its op, to its start.
void sinkTiles(mlir::Region &region);

/// Blocks that do not take the branches around `op` wait for earlier launches as well, since later ones rely on it.
void dependOtherwise(mlir::Operation *op);

/// One use of a slot of a warp's ring. What fills the slot comes after `acquire`.
struct SlotUse {
  tile::AcquireOp acquire;
  tile::ReleaseOp release;
};

/// The uses of a warp's ring in the order of their block. Fails with a diagnostic where they stand in several blocks,
/// or where slots are not released as often as they are acquired.
mlir::FailureOr<mlir::SmallVector<SlotUse>> findSlotUses(tile::RingOp ring);

/// Fills the ring of a warp before `tile.depend`, and then fetches as far ahead as it has slots. Fails with a
/// diagnostic where the ring is not used in a loop, or in a loop within another.
mlir::LogicalResult pipelineWarpRing(tile::RingOp ring);

/// Fetches the cached rows that a warp brings through its ring as far ahead as the ring has slots, the first ones
/// before `tile.depend`. Fails with a diagnostic where the ring is not used in one loop of its tile.for_warps.
mlir::LogicalResult pipelineRows(tile::RingOp ring);
} // namespace inlay

#endif // INLAY_PASSES_TILE_PIPELINING_H
