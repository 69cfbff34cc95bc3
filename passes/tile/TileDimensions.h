//===- TileDimensions.h - dimensions of tiles that have one size -----------===//
//
// Which dimensions of a program's tiles are the same one: those of what is added,
// multiplied, carried or gathered by each other.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TILEDIMENSIONS_H
#define INLAY_PASSES_TILE_TILEDIMENSIONS_H

#include "dialects/tile/Tile.h"
#include "llvm/ADT/EquivalenceClasses.h"

namespace inlay {
/// Whether `op` gives a tile that can have any shape: a constant of one number, tile.iota or tensor.splat.
bool isTileGenerator(mlir::Operation *op);

/// A place where a tile stands: a value, or one use of a generator's. Each use of those may have a shape of its own.
struct Slot {
  Slot(mlir::Value value);
  Slot(mlir::OpOperand &use);
  /// Of what `value` is used as, if a generator makes it: of its one use.
  static Slot ofUse(mlir::Value value);

  const void *key;
  unsigned rank; // 0 for a scalar
};

class TileDimensions {
public:
  /// A dimension whose size `op` depends on.
  struct Fixed {
    Slot slot;
    unsigned dim;
    mlir::Operation *op;
  };

  explicit TileDimensions(tile::ProgramOp program);

  /// Whether two dimensions are the same one.
  bool areSame(Slot x, unsigned xDim, Slot y, unsigned yDim) const;
  /// Whether `xDim` of `x` has one element for each two of `yDim` of `y` (tile.deinterleave).
  bool isHalf(Slot x, unsigned xDim, Slot y, unsigned yDim) const;
  /// In the order of the program. An op that is not known here fixes all dimensions of its operands and results.
  llvm::ArrayRef<Fixed> getFixed() const { return fixed; }

private:
  using Dimension = std::pair<const void *, unsigned>;

  void join(Slot x, unsigned xDim, Slot y, unsigned yDim) { classes.unionSets({x.key, xDim}, {y.key, yDim}); }
  /// All dimensions of two tiles of one shape; a scalar has none.
  void join(Slot x, Slot y);
  void fix(mlir::Operation *op);
  void visit(mlir::Operation *op);

  llvm::EquivalenceClasses<Dimension> classes;
  llvm::SmallVector<std::pair<Dimension, Dimension>> halves; // what has two elements for one, what has one
  llvm::SmallVector<Fixed> fixed;
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TILEDIMENSIONS_H
