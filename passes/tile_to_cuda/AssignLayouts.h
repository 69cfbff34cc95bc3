//===- AssignLayouts.h - a layout for each tile of a program ---------------===//
//
// Products ask for the layouts of their accumulators; what is computed from an
// accumulator follows it; everything else is spread so that neighbours in memory
// are neighbours in a thread. Values that cost nothing (constants, indices,
// broadcasts, and arithmetic on those) have no layout of their own: they are
// computed wherever they are used, in the layout of the use. So are loads of
// memory that the program does not write.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_ASSIGNLAYOUTS_H
#define INLAY_PASSES_TILE_TO_CUDA_ASSIGNLAYOUTS_H

#include "dialects/tile/Tile.h"
#include "passes/tile_to_cuda/Layout.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

#include <optional>
#include <utility>

namespace inlay {
class LayoutAssignment {
public:
  explicit LayoutAssignment(tile::ProgramOp program);

  /// Threads of a block.
  int64_t threads() const { return int64_t(32) << warpBits; }
  int warps() const { return warpBits; }

  /// Tiles from here on are divided over 2^bits warps. Returns what was before.
  int enter(int bits) { return std::exchange(warpBits, bits); }
  /// Says where a tile is.
  void set(mlir::Value tile, const Layout &layout) { layouts.insert_or_assign(tile, layout); }

  /// Computed where it is used.
  bool isInline(mlir::Value tile) const { return inlined.contains(tile); }
  /// Loaded where it is used.
  bool isPulled(mlir::Value tile) const;
  /// The layout that a tile is kept in.
  Layout of(mlir::Value tile);

  /// The layout in which the first use of a tile needs it; none where that shows only later.
  std::optional<Layout> demanded(mlir::Value tile);

  Layout accumulator(mlir::RankedTensorType type) const;
  Layout lhs(mlir::RankedTensorType type) const;
  Layout blocked(mlir::RankedTensorType type) const;

private:
  std::optional<Layout> preferred(mlir::Value tile, llvm::DenseSet<mlir::Value> &visited);

  int warpBits = 2, rowWarpBits = 0;
  llvm::DenseSet<mlir::Value> inlined;
  llvm::DenseMap<mlir::Value, Layout> layouts;
  llvm::DenseSet<mlir::Value> inProgress; // of `of`
};

/// Whether the tile lies in a slot of the ring of a warp, where weights are packed.
bool isInWarpRing(mlir::Value tile);
/// The activations of a product with such a tile; null for other products.
mlir::Value rowsOfPackedProduct(tile::DotOp dot);

/// Whether the op computes each element of its result from the same elements of its operands.
bool isElementwise(mlir::Operation *op);

/// Whether `op` loads or gathers from memory that the program never writes, so that it may be done earlier, later or
/// twice. False for null.
bool isOfUnwrittenMemory(mlir::Operation *op);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_ASSIGNLAYOUTS_H
