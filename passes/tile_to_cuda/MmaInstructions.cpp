//===- MmaInstructions.cpp - the table of instructions that multiply tiles -===//

#include "passes/tile_to_cuda/MmaInstructions.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Support/DebugStringHelper.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;
using enum inlay::tile::LayoutDim;

static constexpr llvm::StringLiteral kHalves[] = {"bfloat16", "float16"};
static constexpr llvm::StringLiteral kCodes[] = {"e4m3", "signed char"};

/// `sums` whose 8 rows or columns in `dim`, 3 bits of them, are weight rows in the order in which lanes read those.
static Layout inWeightOrder(const Layout &sums, LayoutDim dim) {
  Layout result;
  for (LayoutDim in : {Register, Lane})
    for (tile::LayoutPoint basis : sums.bases(in)) {
      int64_t row = basis[dim];
      basis[dim] = row == 1 ? 4 : row < 8 ? row / 2 : row;
      result.addBit(in, basis);
    }
  return result;
}

static ArrayRef<MmaInstruction> instructions() {
  auto bits = [](LayoutDim in, int count, LayoutDim out) { return Layout::identity(in, count, out); };
  // PTX ISA, "Matrix Fragments for mma.m16n8k16": 8 x 8 elements in a warp, two neighbours in each lane.
  static const Layout byRows = bits(Register, 1, Dim1) * bits(Lane, 2, Dim1) * bits(Lane, 3, Dim0);
  static const Layout sums = byRows * bits(Register, 1, Dim0), left = sums * bits(Register, 1, Dim1);
  static const Layout right = byRows.transposed() * bits(Register, 1, Dim0);
  // Two instructions on 32 elements along k. A lane has 8 neighbours of a row in 16 bytes: both operands have that
  // order.
  static const Layout packedRows = bits(Register, 3, Dim1) * bits(Lane, 2, Dim1) * bits(Lane, 3, Dim0);
  // Lanes 4 g to 4 g + 3 read weight row g / 2 + 4 * (g % 2): 8 lanes that read at a time read different banks. So the
  // weight rows of the sums are in that order, too.
  static const Layout weightsLeft = inWeightOrder(sums, Dim0), weightsRight = inWeightOrder(sums, Dim1);
  // 16 bytes of codes are neighbours of a row, too: 16 of 8 bits, in rows that lie as those of numbers, or 32 of 4
  // bits. Rows of those are half as long, so neighbours are in different banks.
  auto codes = [&](int bitsOfPiece) {
    return bits(Register, bitsOfPiece, Dim1) * bits(Lane, 2, Dim1) * bits(Lane, 3, Dim0);
  };
  static const Layout rowsOfCodes8 = codes(4).transposed(), rowsOfCodes4 = codes(5).transposed();
  static const Layout codes8 = inWeightOrder(codes(4) * bits(Register, 1, Dim0), Dim0);
  static const Layout codes4 = codes(5) * bits(Register, 1, Dim0);
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
       .right = OperandPlace::Slot,
       .sums = sums * bits(Warp, 2, Dim0),
       .leftFragment = left * bits(Warp, 2, Dim0),
       .rightFragment = {},
       .function = "wgmma_m64k16_registers",
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
      // Sums of e4m3 have about 14 bits while the tensor core adds: programs add up short products themselves.
      {.name = "wgmma.m64nNk32",
       .elements = kCodes,
       .rows = 64,
       .columns = 8,
       .maxColumns = 256,
       .inner = 32,
       .left = OperandPlace::Slot,
       .right = OperandPlace::Slot,
       .sums = sums * bits(Warp, 2, Dim0),
       .leftFragment = {},
       .rightFragment = {},
       .function = "wgmma_m64k32",
       .header = "wgmma.h"},
      // Packed weights on the left, on the right with up to 8 rows of the other operand, and with up to 16.
      {.name = "mma.m16n8k16",
       .elements = kHalves,
       .rows = 16,
       .columns = 8,
       .maxColumns = 8,
       .inner = 32,
       .left = OperandPlace::Packed,
       .right = OperandPlace::Registers,
       .sums = weightsLeft,
       .leftFragment = {},
       .rightFragment = packedRows.transposed(),
       .function = "mma_weights",
       .header = "mma.h"},
      {.name = "mma.m16n8k16",
       .elements = kHalves,
       .rows = 8,
       .columns = 8,
       .maxColumns = 8,
       .inner = 32,
       .left = OperandPlace::Registers,
       .right = OperandPlace::Packed,
       .sums = weightsRight,
       .leftFragment = packedRows,
       .rightFragment = {},
       .function = "mma_8_rows",
       .header = "mma.h"},
      {.name = "mma.m16n8k16",
       .elements = kHalves,
       .rows = 16,
       .columns = 8,
       .maxColumns = 8,
       .inner = 32,
       .left = OperandPlace::Registers,
       .right = OperandPlace::Packed,
       .sums = weightsRight,
       .leftFragment = packedRows * bits(Register, 1, Dim0),
       .rightFragment = {},
       .function = "mma_16_rows",
       .header = "mma.h"},
      // Packed codes on the left. What they mean completes the function's name.
      {.name = "mma.m16n8k16",
       .elements = ArrayRef(kHalves).take_front(),
       .rows = 16,
       .columns = 8,
       .maxColumns = 8,
       .inner = 64,
       .left = OperandPlace::Codes8,
       .right = OperandPlace::Registers,
       .sums = weightsLeft,
       .leftFragment = codes8,
       .rightFragment = rowsOfCodes8,
       .function = "mma_",
       .header = "mma_codes.h"},
      {.name = "mma.m16n8k16",
       .elements = ArrayRef(kHalves).take_front(),
       .rows = 16,
       .columns = 8,
       .maxColumns = 8,
       .inner = 128,
       .left = OperandPlace::Codes4,
       .right = OperandPlace::Registers,
       .sums = sums,
       .leftFragment = codes4,
       .rightFragment = rowsOfCodes4,
       .function = "mma_",
       .header = "mma_codes.h"},
  };
  return table;
}

/// The type as device code calls it; empty where an operand cannot have it.
static StringRef deviceName(Type element) {
  if (isa<Float8E4M3FNType>(element))
    return "e4m3";
  return element.isBF16() ? "bfloat16" : element.isF16() ? "float16" : element.isInteger(8) ? "signed char" : "";
}

std::string MmaInstruction::call(Type element, int64_t numColumns) const {
  std::string ofColumns = columns < maxColumns ? ", " + std::to_string(numColumns) : "";
  return (function + "<" + deviceName(element) + ofColumns + ">").str();
}

const MmaInstruction *inlay::findMma(Type element, OperandPlace left, OperandPlace right, int64_t rows) {
  const MmaInstruction *found = nullptr;
  for (const MmaInstruction &mma : instructions())
    if (mma.left == left && mma.right == right && llvm::is_contained(mma.elements, deviceName(element)) &&
        (!found || found->rows < rows))
      found = &mma;
  return found;
}

bool inlay::holdsWeights(tile::RingOp ring) {
  return ring.isOfWarp() && llvm::any_of(ring->getUsers(), [](Operation *user) {
           auto fetch = dyn_cast<tile::FetchOp>(user);
           return fetch && fetch.getView().getType().getProvenance() == tile::Provenance::Weight;
         });
}

bool inlay::isInWarpRing(Value tile) {
  if (auto dequantize = tile.getDefiningOp<tile::DequantizeOp>())
    return isInWarpRing(dequantize.getBytes());
  auto wait = tile.getDefiningOp<tile::WaitOp>();
  auto ring = wait ? wait.getRing().getDefiningOp<tile::RingOp>() : tile::RingOp();
  return ring && holdsWeights(ring);
}

OperandPlace inlay::placeInWarpRing(Value operand) {
  if (!isInWarpRing(operand))
    return OperandPlace::Registers;
  auto dequantize = operand.getDefiningOp<tile::DequantizeOp>();
  if (!dequantize)
    return OperandPlace::Packed;
  bool areHalfBytes = cast<RankedTensorType>(dequantize.getBytes().getType()).getElementType().isInteger(4);
  return areHalfBytes ? OperandPlace::Codes4 : OperandPlace::Codes8;
}

const MmaInstruction *inlay::mmaOf(tile::DotOp dot) {
  auto lhs = cast<RankedTensorType>(dot.getLhs().getType());
  return findMma(lhs.getElementType(), placeInWarpRing(dot.getLhs()), placeInWarpRing(dot.getRhs()), lhs.getDimSize(0));
}

bool inlay::isInSlot(Value tile) {
  if (auto slice = tile.getDefiningOp<tensor::ExtractSliceOp>()) {
    // Whole slabs.
    RankedTensorType whole = slice.getSourceType(), part = slice.getType();
    int64_t columns = tile::kSlabBytes * 8 / whole.getElementTypeBitWidth();
    return slice.getSource().getDefiningOp<tile::WaitOp>() && whole.getRank() == 2 && part.getRank() == 2 &&
           slice.hasUnitStride() && whole.getDimSize(0) == part.getDimSize(0) && part.getDimSize(1) % columns == 0 &&
           !slice.isDynamicOffset(1) && slice.getStaticOffset(1) % columns == 0;
  }
  return isa_and_nonnull<tile::ClearRowsOp, tile::StageOp, tile::WaitOp>(tile.getDefiningOp());
}

const MmaInstruction *inlay::mmaOf(tile::DotAsyncOp dot) {
  Type element = cast<RankedTensorType>(dot.getLhs().getType()).getElementType();
  return findMma(element, isInSlot(dot.getLhs()) ? OperandPlace::Slot : OperandPlace::Registers,
                 dot.getColumns() ? OperandPlace::SlotByRows : OperandPlace::Slot);
}

LogicalResult inlay::checkInstructions(tile::ProgramOp program) {
  auto check = [](Operation *op) -> LogicalResult {
    auto elementOf = [](Value tile) { return debugString(cast<RankedTensorType>(tile.getType()).getElementType()); };
    if (auto dot = dyn_cast<tile::DotOp>(op); dot && !mmaOf(dot))
      return dot.emitOpError() << "of " << elementOf(dot.getLhs()) << " operands has no CUDA lowering; "
                               << (cast<RankedTensorType>(dot.getLhs().getType()).getElementTypeBitWidth() == 8
                                       ? "codes are multiplied by the schedule gemm"
                                       : "compile with --dtype bfloat16 or float16");
    auto dot = dyn_cast<tile::DotAsyncOp>(op);
    if (!dot)
      return success();
    if (!isInSlot(dot.getRhs()) || isa_and_nonnull<tile::StageOp>(dot.getRhs().getDefiningOp()))
      return dot.emitOpError("has an operand that is in no slot of a ring");
    if (!mmaOf(dot))
      return dot.emitOpError() << "of " << elementOf(dot.getLhs())
                               << " operands has no CUDA lowering; expected bf16, f16, f8E4M3FN or i8";
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

Layout inlay::unpackedCodesLayout(tile::DequantizeOp op) {
  const MmaInstruction &mma =
      *findMma(BFloat16Type::get(op.getContext()), placeInWarpRing(op.getResult()), OperandPlace::Registers);
  ArrayRef<int64_t> shape = op.getType().getShape();
  return leftLayout(mma, shape[0], shape[1], 0, 0);
}

Layout inlay::packedRowsLayout(const MmaInstruction &mma, int64_t rows, int64_t inner) {
  bool isRight = mma.right == OperandPlace::Registers;
  Layout fragment = isRight ? mma.rightFragment.transposed() : mma.leftFragment;
  int innerBits = std::max(fragment.outBits(Dim1), log2Ceil(inner));
  Layout whole = tiled(fragment, log2Ceil(rows), innerBits, innerBits, 0, 0), result = whole.restricted({Register});
  for (tile::LayoutPoint basis : whole.bases(Lane))
    result.addBit(Lane, basis[Dim0] < rows ? basis : tile::LayoutPoint());
  return result;
}

std::optional<SlotOperand> inlay::slotOperandOf(tile::DotOp dot) {
  Value left = dot.getLhs();
  if (isInWarpRing(left))
    return std::nullopt;
  auto turn = left.getDefiningOp<tile::TransposeOp>();
  if (turn)
    left = turn.getValue();
  auto wide = left.getDefiningOp<arith::ExtFOp>();
  if (wide)
    left = wide.getIn();
  if (!isa_and_nonnull<tile::ClearRowsOp, tile::WaitOp>(left.getDefiningOp()))
    return std::nullopt;
  return SlotOperand{/*isByRows=*/!turn, /*areCodes=*/static_cast<bool>(wide), left};
}

/// `fragment` with 2^i in dimension `dim` replaced by `order[i]`.
static Layout inOrder(const Layout &fragment, LayoutDim dim, ArrayRef<int64_t> order) {
  Layout result;
  for (LayoutDim in : {Register, Lane})
    for (tile::LayoutPoint basis : fragment.bases(in)) {
      if (basis[dim] > 0 && basis[dim] < int64_t(1) << order.size())
        basis[dim] = order[log2Ceil(basis[dim])];
      result.addBit(in, basis);
    }
  return result;
}

/// The order of 8 rows of a slot that lanes read together, and of 16 columns of codes that ldmatrix reads in pairs.
static constexpr int64_t kSlotRows[] = {4, 1, 2}, kCodeColumns[] = {2, 4, 8, 1};

Layout inlay::slotSums(const MmaInstruction &mma, const SlotOperand &left, int64_t rows, int64_t columns) {
  Layout sums = sumsLayout(mma, rows, columns, 0, 0);
  if (left.isByRows)
    return inOrder(sums, Dim0, kSlotRows);
  return left.areCodes ? inOrder(sums, Dim0, kCodeColumns) : sums;
}

Layout inlay::slotRight(const MmaInstruction &mma, const SlotOperand &left, int64_t columns, int64_t inner) {
  // By rows: 16 bytes of neighbours in a lane, and four lanes for a row.
  int chunkBits = left.areCodes ? 4 : 3;
  Layout tile = left.isByRows ? Layout::identity(Register, chunkBits, Dim1) * Layout::identity(Lane, 2, Dim1) *
                                    Layout::identity(Lane, 3, Dim0)
                              : inOrder(mma.rightFragment.transposed(), Dim1, kSlotRows);
  auto grow = [&](LayoutDim dim, int64_t size) {
    tile = tile * Layout::identity(Register, std::max(0, log2Ceil(size) - tile.outBits(dim)), dim);
  };
  grow(Dim1, inner);
  grow(Dim0, columns);
  return tile;
}
