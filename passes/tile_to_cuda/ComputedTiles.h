//===- ComputedTiles.h - tiles that are made where they are used -----------===//
//
// Values that cost nothing (constants, indices, broadcasts, and arithmetic on those) are
// computed wherever they are used, in the layout of the use. Loads of memory that the
// program does not write, and slices of tiles in shared memory, are made where they are
// used first. Loads that only feed the right side of a product are copied to shared
// memory instead.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_COMPUTEDTILES_H
#define INLAY_PASSES_TILE_TO_CUDA_COMPUTEDTILES_H

#include "dialects/tile/Tile.h"
#include "passes/tile/Divisors.h"
#include "passes/tile_to_cuda/Layout.h"
#include "llvm/ADT/DenseSet.h"

namespace inlay {
/// Whether the op computes each element of its result from the same elements of its operands.
bool isElementwise(mlir::Operation *op);

/// Whether `op` loads or gathers from memory that the program never writes, so that it may be done earlier, later or
/// twice. False for null.
bool isOfUnwrittenMemory(mlir::Operation *op);

/// Whether the tile is f32 in a slot of a ring, of which slices are read: scales that sums are multiplied by.
bool isScalesInSlot(mlir::Value tile);

/// Whether the tile stays in shared memory after tile.stage or tile.warp_reduce, for it or slices of it to be read, or
/// lies there as isScalesInSlot says.
bool isKeptInShared(mlir::Value tile);

/// Whether `op` gives the elements of a tile another shape, in the same order. Sizes are powers of two.
bool isReshape(mlir::Operation *op);

/// The layout of a tile of type `to` whose elements are those of one of type `from` in `layout`, in the same registers.
Layout reshapedLayout(const Layout &layout, mlir::RankedTensorType from, mlir::RankedTensorType to);

/// Whether the tile is read into registers where it is used first: a load of unwritten memory, a slice of a tile in
/// shared memory, or a result of tile.warp_reduce.
bool isPulled(mlir::Value tile);

/// The tiles of a program that are computed wherever they are used.
class ComputedTiles {
public:
  explicit ComputedTiles(tile::ProgramOp program);
  bool contains(mlir::Value tile) const { return tiles.contains(tile); }

private:
  llvm::DenseSet<mlir::Value> tiles;
};

/// The layouts in which tile.dequantize takes codes, scales and zero points, for a result in `layout`.
struct DequantizedLayouts {
  Layout bytes, groups;
  int groupBits; // 2^this columns share a scale
};
/// None for groups of columns that are no power of two, and where the two codes of a byte are in different threads.
std::optional<DequantizedLayouts> dequantizedLayouts(tile::DequantizeOp op, const Layout &layout);
/// The layout in which the threads load packed codes, 16 bytes at a time; none of other codes.
std::optional<Layout> registersOfPieces(tile::DequantizeOp op, int warpBits);
/// The codes of an element of the tile of codes: 2 of 4 bits in a byte.
inline int64_t codesInElement(tile::DequantizeOp op) {
  auto codes = mlir::cast<mlir::RankedTensorType>(op.getBytes().getType());
  return mlir::cast<mlir::RankedTensorType>(op.getType()).getNumElements() / codes.getNumElements();
}

/// What loads and gathers have in common.
struct Access {
  mlir::Value view;
  llvm::SmallVector<mlir::Value> offsets; // null for the indexed dimension
  mlir::Value indices;
};
/// Of a tile.load, tile.gather or tile.receive_sum.
Access accessOf(mlir::Operation *op);

/// The element type's bytes; a bool has one.
inline int64_t bytesOf(mlir::Type type) { return std::max(1u, type.getIntOrFloatBitWidth() / 8); }

/// How the matrix behind an argument of `program` is packed; null where it has rows.
mlir::StringAttr packingOf(tile::ProgramOp program, mlir::Value view);
/// The order of 16 neighbouring codes of 8 bits in packed rows, and `layout` with such neighbours in a thread's
/// registers in this order, where it has them.
Layout pieceOfCodes();
Layout inPieces(const Layout &layout);
/// Where the elements of the blocks of rows and columns lie that a matrix is packed in (tile.packing); none of a matrix
/// of rows.
std::optional<Layout> packedBlocks(tile::ProgramOp program, mlir::Value view);

/// Elements that one access may move: neighbours in the thread, all inside or all outside, and aligned. `lastOffset` is
/// null where the tile begins at the view's start.
int64_t vectorWidth(mlir::Value view, mlir::Value lastOffset, const Layout &layout, llvm::ArrayRef<int64_t> shape);

/// Whether a load goes straight to shared memory, as the right side of a product, by copies of 16 bytes.
bool isCopiedToShared(mlir::Operation *op);
/// The layout in which the threads make these copies. Products read whole tiles of 16 x 16 elements: it covers them.
Layout copyLayout(mlir::RankedTensorType tile, int warpBits);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_COMPUTEDTILES_H
