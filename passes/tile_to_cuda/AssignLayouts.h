//===- AssignLayouts.h - a layout for each tile of a program ---------------===//
//
// What tile-assign-layouts decides, before it writes it into types. Products ask for the layouts of their accumulators;
// what is computed from an accumulator follows it; everything else is spread so that neighbours in memory are
// neighbours in a thread. Values that cost nothing (constants, indices, broadcasts, and arithmetic on those) have no
// layout of their own: they are computed wherever they are used, in the layout of the use. So are loads of memory that
// the program does not write.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_ASSIGNLAYOUTS_H
#define INLAY_PASSES_TILE_TO_CUDA_ASSIGNLAYOUTS_H

#include "passes/tile_to_cuda/ComputedTiles.h"
#include "passes/tile_to_cuda/MmaInstructions.h"
#include "llvm/ADT/DenseMap.h"

#include <optional>
#include <utility>

namespace inlay {
class LayoutAssignment {
public:
  explicit LayoutAssignment(tile::ProgramOp program);

  /// 2 to the power of this is the number of warps of a block.
  int warps() const { return warpBits; }

  /// Tiles from here on are divided over 2^bits warps. Returns what was before.
  int enter(int bits) { return std::exchange(warpBits, bits); }
  /// Says where a tile is.
  void set(mlir::Value tile, const Layout &layout) { layouts.insert_or_assign(tile, layout); }

  /// Computed where it is used.
  bool isInline(mlir::Value tile) const { return computed.contains(tile); }
  /// The layout that a tile is kept in.
  Layout of(mlir::Value tile);
  /// The layout in which an op reads a tile where any is good: the one that it is kept in, or neighbours in a thread.
  Layout readBy(mlir::Value tile);

  /// Sums and left side of a product that an instruction computes, and the side that is no packed weights.
  Layout sums(tile::DotOp dot) const;
  Layout left(tile::DotOp dot) const;
  static Layout packedRows(tile::DotOp dot);
  /// The layout in which these are loaded: the same, or one that neighbouring lanes make the same of.
  static Layout packedRowsInMemory(tile::DotOp dot);
  Layout blocked(mlir::RankedTensorType type) const;

private:
  std::optional<Layout> preferred(mlir::Value tile, llvm::DenseSet<mlir::Value> &visited);
  std::optional<Layout> ofUser(mlir::Value tile, mlir::Operation *user);
  llvm::SmallVector<mlir::Operation *> usersOf(mlir::Value tile) const;

  int warpBits = 2, rowWarpBits = 0;
  int64_t together = 1; // neighbours that a thread has at the least
  ComputedTiles computed;
  llvm::DenseMap<mlir::Operation *, unsigned> order; // in the program's text
  llvm::DenseMap<mlir::Value, Layout> layouts;
  llvm::DenseSet<mlir::Value> inProgress; // of `of`
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_ASSIGNLAYOUTS_H
