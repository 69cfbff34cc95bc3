//===- MmaInstructions.h - the table of instructions that multiply tiles ---===//
//
// A row says which products an instruction computes, where its operands may lie and in
// which layout, and the device function that wraps it. tile-assign-layouts takes layouts
// from it, the lowerings of tile.dot and tile.dot_async take calls.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_MMAINSTRUCTIONS_H
#define INLAY_PASSES_TILE_TO_CUDA_MMAINSTRUCTIONS_H

#include "dialects/tile/Tile.h"
#include "passes/tile_to_cuda/Layout.h"

namespace inlay {
/// Where an operand lies when the instruction starts.
enum class OperandPlace {
  Registers,  // in the row's layout
  Slot,       // in shared memory, as swizzledTile says: the instruction gets a descriptor
  SlotByRows, // the same of an operand that is inner x columns
  Packed,     // in a slot of the ring of a warp, as packedTile says: a lane reads 16 bytes of a row
  Codes8,     // the same of codes of quantized weights of 8 bits, as slotTile says
  Codes4      // and of 4 bits
};

struct MmaInstruction {
  /// As PTX calls it.
  llvm::StringLiteral name;
  /// The element types of the operands, as device code calls them; sums are f32, or i32 of integers.
  llvm::ArrayRef<llvm::StringLiteral> elements;
  /// The left operand is rows x inner, the right one columns x inner, for a multiple of `columns` up to `maxColumns`.
  int64_t rows, columns, maxColumns, inner;
  OperandPlace left, right;
  /// Where the threads that execute it hold `rows` x `columns` sums, and operands that lie in registers.
  Layout sums, leftFragment, rightFragment;
  /// The device function. Its template arguments are the element type and, where the number may vary, the columns.
  llvm::StringLiteral function, header;

  /// Warps that execute it together.
  int64_t warps() const { return sums.size(LayoutDim::Warp); }
  std::string call(mlir::Type element, int64_t numColumns) const;
};

/// The instruction for operands of type `element` that lie there; null where there is none. Of several, the first one
/// that has `rows` rows, or the last.
const MmaInstruction *findMma(mlir::Type element, OperandPlace left, OperandPlace right, int64_t rows = 0);
/// Whether a warp fetches packed weights to `ring`.
bool holdsWeights(tile::RingOp ring);
/// Whether the tile is one of weights in a slot of the ring of a warp, or what codes there become.
bool isInWarpRing(mlir::Value tile);
/// Where an operand of tile.dot that is in the ring of a warp lies; Registers for others.
OperandPlace placeInWarpRing(mlir::Value operand);
/// Whether a tile is in shared memory, where wgmma can read it: a slot of a ring, some columns of it, or a staged tile.
bool isInSlot(mlir::Value tile);
/// That of tile.dot or tile.dot_async.
const MmaInstruction *mmaOf(tile::DotOp dot);
const MmaInstruction *mmaOf(tile::DotAsyncOp dot);

/// Fails with a diagnostic at a product that no instruction computes.
mlir::LogicalResult checkInstructions(tile::ProgramOp program);

/// Sums of `rows` x `columns`, rows over 2^warpRows warps (or groups that execute the instruction together) and columns
/// over 2^warpColumns: in a thread those of one instruction, then along the columns, then along the rows.
Layout sumsLayout(const MmaInstruction &mma, int64_t rows, int64_t columns, int warpRows, int warpColumns);
/// The left operand in registers: each warp holds all of `inner` for its rows.
Layout leftLayout(const MmaInstruction &mma, int64_t rows, int64_t inner, int warpRows, int warpColumns);
/// The numbers that codes in a slot of the ring of a warp become, which products unpack where they take them.
Layout unpackedCodesLayout(tile::DequantizeOp op);
/// The operand of a product with packed weights that one warp has in registers, rows (of the product or, on the right,
/// of its transpose) x inner. Lanes that would hold rows past the end hold rows of the tile.
Layout packedRowsLayout(const MmaInstruction &mma, int64_t rows, int64_t inner);

/// How a product finds its left operand in a slot of a warp's ring.
struct SlotOperand {
  bool isByRows;      // a row of the slot is a row of it; else a column
  bool areCodes;      // the slot has floats of 8 bits, which lanes widen (arith.extf)
  mlir::Value inSlot; // what lies there
};
/// None where the left operand is in registers.
std::optional<SlotOperand> slotOperandOf(tile::DotOp dot);
/// Sums and right side (columns x inner) of such a product in registers of a warp.
///
/// By rows, a lane reads 16 bytes of a row and has the same columns of the right side, 8 or 16: any order of `inner` is
/// right if both sides have the same one. Rows that lanes read together are 4 apart, so that banks differ under the
/// swizzle; where sums become the right side of a product by columns, that one has the same order.
///
/// By columns, ldmatrix transposes units of 16 bits. A unit of codes has two columns: the first one's numbers are row g
/// of the instruction, the second one's row g + 8.
Layout slotSums(const MmaInstruction &mma, const SlotOperand &left, int64_t rows, int64_t columns);
Layout slotRight(const MmaInstruction &mma, const SlotOperand &left, int64_t columns, int64_t inner);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_MMAINSTRUCTIONS_H
