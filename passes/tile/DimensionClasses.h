//===- DimensionClasses.h - dimensions of tiles that have one size ---------===//
//
// Which dimensions of a program's tiles are the same one: those of what is added,
// compared or gathered by each other. A program whose tiles change their size changes
// whole classes.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_DIMENSIONCLASSES_H
#define INLAY_PASSES_TILE_DIMENSIONCLASSES_H

#include "dialects/tile/Tile.h"
#include "llvm/ADT/EquivalenceClasses.h"

#include <map>

namespace inlay {
class DimensionClasses {
public:
  /// Dimension `second` of the tile `first`.
  using Dimension = std::pair<void *, unsigned>;

  explicit DimensionClasses(tile::ProgramOp program);

  /// Whether two dimensions are the same one.
  bool areSame(mlir::Value x, unsigned xDim, mlir::Value y, unsigned yDim) const;
  /// Whether dimension `xDim` of `x` has an element for each two of `yDim` of `y` (tile.deinterleave).
  bool isHalf(mlir::Value x, unsigned xDim, mlir::Value y, unsigned yDim) const;

private:
  void join(mlir::Value x, mlir::Value y);
  void join(mlir::Value x, unsigned xDim, mlir::Value y, unsigned yDim);
  void visit(mlir::Operation *op);

  llvm::EquivalenceClasses<Dimension> classes;
  llvm::SmallVector<std::pair<Dimension, Dimension>> halves; // of, half
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_DIMENSIONCLASSES_H
