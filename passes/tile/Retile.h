//===- Retile.h - tiles of another size ------------------------------------===//
//
// A program is written for one size of its tiles. This changes the size of one
// dimension of them, and with it all that must have the same size. What the program
// computes stays the same.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_RETILE_H
#define INLAY_PASSES_TILE_RETILE_H

#include "dialects/tile/Tile.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <optional>

namespace inlay {
/// A dimension of the tiles of a program, and how they follow each other.
struct Retiling {
  mlir::Value tile; // one of those that change, no constant, iota or splat
  unsigned dimension = 0;
  int64_t size = 0; // wanted

  /// At most one of the two; none where only index tiles say which elements a tile has.
  mlir::scf::ForOp loop;        // runs through the tiles: its step is the size
  std::optional<unsigned> grid; // each block along this dimension has one tile: it begins at program_id * size
};

/// Gives the tiles of `retiling` their new size. Larger ones take several of the old, smaller ones a part.
///
/// The dimensions that change are those that must be equal: through elementwise ops, products, reductions, broadcasts,
/// transposes, gathers and values carried by loops. Constants, iotas and splats that other tiles share are cloned. With
/// `loop`, the step changes, and a lower bound `x / step * step` is rounded down to the new step. With `grid`, so do
/// the number of blocks and the offsets `program_id * size`.
///
/// The last tile may be a part of one. Accesses end at the views' ends; other elements past a bound that is no constant
/// are the program's to mask, as they are for any size above 1.
///
/// Fails, with a diagnostic at the op that does not fit, before anything is changed.
mlir::LogicalResult retile(tile::ProgramOp program, const Retiling &retiling);
} // namespace inlay

#endif // INLAY_PASSES_TILE_RETILE_H
