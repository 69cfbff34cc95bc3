//===- MmaInstructions.cpp - the table of instructions that multiply tiles -===//

#include "passes/tile_to_cuda/MmaInstructions.h"

#include "passes/tile_to_cuda/ComputedTiles.h"

#include "mlir/Support/DebugStringHelper.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;
using enum inlay::tile::LayoutDim;

static constexpr llvm::StringLiteral kHalves[] = {"bfloat16", "float16"};

static ArrayRef<MmaInstruction> instructions() {
  auto bits = [](LayoutDim in, int count, LayoutDim out) { return Layout::identity(in, count, out); };
  // PTX ISA, "Matrix Fragments for mma.m16n8k16": 8 x 8 elements in a warp, two neighbours in each lane.
  static const Layout byRows = bits(Register, 1, Dim1) * bits(Lane, 2, Dim1) * bits(Lane, 3, Dim0);
  static const Layout sums = byRows * bits(Register, 1, Dim0), left = sums * bits(Register, 1, Dim1);
  static const Layout right = byRows.transposed() * bits(Register, 1, Dim0);
  static const MmaInstruction table[] = {
      {.name = "mma.m16n8k16",
       .elements = kHalves,
       .rows = 16,
       .columns = 8,
       .maxColumns = 8,
       .inner = 16,
       .left = OperandPlace::Registers,
       .right = OperandPlace::Registers,
       .sums = sums,
       .leftFragment = left,
       .rightFragment = right,
       .function = "mma_m16n8k16",
       .header = "mma.h"},
      // Each of four warps has 16 of the rows.
      {.name = "wgmma.m64nNk16",
       .elements = kHalves,
       .rows = 64,
       .columns = 8,
       .maxColumns = 256,
       .inner = 16,
       .left = OperandPlace::Slot,
       .right = OperandPlace::Slot,
       .sums = sums * bits(Warp, 2, Dim0),
       .leftFragment = {},
       .rightFragment = {},
       .function = "wgmma_m64k16",
       .header = "wgmma.h"},
      {.name = "wgmma.m64nNk16",
       .elements = kHalves,
       .rows = 64,
       .columns = 8,
       .maxColumns = 256,
       .inner = 16,
       .left = OperandPlace::Registers,
       .right = OperandPlace::SlotByRows,
       .sums = sums * bits(Warp, 2, Dim0),
       .leftFragment = left * bits(Warp, 2, Dim0),
       .rightFragment = {},
       .function = "wgmma_m64k16_columns",
       .header = "wgmma.h"},
  };
  return table;
}

/// The type as device code calls it; empty where an operand cannot have it.
static StringRef deviceName(Type element) { return element.isBF16() ? "bfloat16" : element.isF16() ? "float16" : ""; }

std::string MmaInstruction::call(Type element, int64_t numColumns) const {
  std::string ofColumns = columns < maxColumns ? ", " + std::to_string(numColumns) : "";
  return (function + "<" + deviceName(element) + ofColumns + ">").str();
}

const MmaInstruction *inlay::findMma(Type element, OperandPlace left, OperandPlace right) {
  for (const MmaInstruction &mma : instructions())
    if (mma.left == left && mma.right == right && llvm::is_contained(mma.elements, deviceName(element)))
      return &mma;
  return nullptr;
}

const MmaInstruction *inlay::mmaOf(tile::DotOp dot) {
  Type element = cast<RankedTensorType>(dot.getLhs().getType()).getElementType();
  return findMma(element, OperandPlace::Registers, OperandPlace::Registers);
}

const MmaInstruction *inlay::mmaOf(tile::DotAsyncOp dot) {
  Type element = cast<RankedTensorType>(dot.getLhs().getType()).getElementType();
  return dot.getColumns() ? findMma(element, OperandPlace::Registers, OperandPlace::SlotByRows)
                          : findMma(element, OperandPlace::Slot, OperandPlace::Slot);
}

LogicalResult inlay::checkInstructions(tile::ProgramOp program) {
  auto check = [](Operation *op) -> LogicalResult {
    auto elementOf = [](Value tile) { return debugString(cast<RankedTensorType>(tile.getType()).getElementType()); };
    if (auto dot = dyn_cast<tile::DotOp>(op); dot && !mmaOf(dot))
      return dot.emitOpError() << "of " << elementOf(dot.getLhs())
                               << " operands has no CUDA lowering; compile with --dtype bfloat16 or float16";
    auto dot = dyn_cast<tile::DotAsyncOp>(op);
    if (!dot)
      return success();
    Operation *left = dot.getLhs().getDefiningOp(), *right = dot.getRhs().getDefiningOp();
    bool isLeft = dot.getColumns() || isa_and_nonnull<tile::StageOp, tile::WaitOp>(left);
    if (!isLeft || !isa_and_nonnull<tile::ClearRowsOp, tile::WaitOp>(right))
      return dot.emitOpError("has an operand that is in no slot of a ring");
    if (!mmaOf(dot))
      return dot.emitOpError() << "of " << elementOf(dot.getLhs())
                               << " operands has no CUDA lowering; expected bf16 or f16";
    return success();
  };
  return failure(program.walk([&](Operation *op) { return WalkResult(check(op)); }).wasInterrupted());
}

/// Copies of `tile` along 2^columnBits columns in the threads that have it, then divided over warps, then along
/// 2^rowBits rows. Warps that have no rows or columns of their own hold those of others.
static Layout tiled(Layout tile, int rowBits, int columnBits, int ownColumnBits, int warpRows, int warpColumns) {
  rowBits = std::max(0, rowBits - tile.outBits(Dim0));
  int otherColumnBits = columnBits - ownColumnBits;
  tile = tile * Layout::identity(Register, ownColumnBits - tile.outBits(Dim1), Dim1);
  auto divide = [&](LayoutDim dim, int warps, int bits) {
    tile =
        tile * Layout::identity(Warp, std::min(warps, bits), dim) * Layout::broadcast(Warp, std::max(0, warps - bits));
  };
  divide(Dim0, warpRows, rowBits);
  divide(Dim1, warpColumns, otherColumnBits);
  return tile * Layout::identity(Register, std::max(0, rowBits - warpRows), Dim0);
}

Layout inlay::sumsLayout(const MmaInstruction &mma, int64_t rows, int64_t columns, int warpRows, int warpColumns) {
  int least = mma.sums.outBits(Dim1), columnBits = std::max(least, log2Ceil(columns));
  return tiled(mma.sums, log2Ceil(rows), columnBits, std::max(least, columnBits - warpColumns), warpRows, warpColumns);
}

Layout inlay::leftLayout(const MmaInstruction &mma, int64_t rows, int64_t inner, int warpRows, int warpColumns) {
  int innerBits = std::max(mma.leftFragment.outBits(Dim1), log2Ceil(inner));
  return tiled(mma.leftFragment, log2Ceil(rows), innerBits, innerBits, warpRows, warpColumns);
}

std::optional<SlotOrder> inlay::slotOrderOf(tile::DotOp dot) {
  auto isSlot = [](Value tile) {
    return isa_and_nonnull<tile::ClearRowsOp, tile::WaitOp>(tile.getDefiningOp()) || isWidenedSlot(tile);
  };
  if (isSlot(dot.getLhs()))
    return isWidenedSlot(dot.getLhs()) ? SlotOrder::CodeRows : SlotOrder::Rows;
  if (auto turn = dot.getLhs().getDefiningOp<tile::TransposeOp>(); turn && isSlot(turn.getValue()))
    return isWidenedSlot(turn.getValue()) ? SlotOrder::CodeColumns : SlotOrder::Columns;
  return std::nullopt;
}

/// `fragment` with what stands for bits 0 to 2 of dimension `dim`, of 8 rows of a slot, in the order of slotSums.
static Layout inSlotOrder(const Layout &fragment, LayoutDim dim) {
  constexpr int64_t order[] = {4, 1, 2};
  Layout result;
  for (LayoutDim in : {Register, Lane})
    for (tile::LayoutPoint basis : fragment.bases(in)) {
      if (basis[dim] > 0 && basis[dim] < 8)
        basis[dim] = order[log2Ceil(basis[dim])];
      result.addBit(in, basis);
    }
  return result;
}

/// `sums` whose rows g and g + 8 of each 16 are neighbours, 2 g and 2 g + 1.
static Layout pairRows(const Layout &sums) {
  Layout result;
  for (LayoutDim in : {Register, Lane})
    for (tile::LayoutPoint basis : sums.bases(in)) {
      if (basis[Dim0] > 0 && basis[Dim0] < 16)
        basis[Dim0] = basis[Dim0] == 8 ? 1 : 2 * basis[Dim0];
      result.addBit(in, basis);
    }
  return result;
}

Layout inlay::slotSums(const MmaInstruction &mma, SlotOrder order, int64_t rows, int64_t columns) {
  Layout sums = sumsLayout(mma, rows, columns, 0, 0);
  if (order == SlotOrder::CodeColumns)
    return pairRows(sums);
  return order == SlotOrder::Columns ? sums : inSlotOrder(sums, Dim0);
}

Layout inlay::slotRight(const MmaInstruction &mma, SlotOrder order, int64_t columns, int64_t inner) {
  // By rows: neighbours of 16 bytes of the slot in a lane, in the four lanes of a row.
  bool isByRows = order == SlotOrder::Rows || order == SlotOrder::CodeRows;
  Layout tile = isByRows ? Layout::identity(Register, order == SlotOrder::Rows ? 3 : 4, Dim1) *
                               Layout::identity(Lane, 2, Dim1) * Layout::identity(Lane, 3, Dim0)
                         : inSlotOrder(mma.rightFragment.transposed(), Dim1);
  auto grow = [&](LayoutDim dim, int64_t size) {
    tile = tile * Layout::identity(Register, std::max(0, log2Ceil(size) - tile.outBits(dim)), dim);
  };
  grow(Dim1, inner);
  grow(Dim0, columns);
  return tile;
}
