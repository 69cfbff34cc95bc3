//===- ComputedTiles.cpp - tiles that are made where they are used ---------===//

#include "passes/tile_to_cuda/ComputedTiles.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile_to_cuda/MmaInstructions.h"
#include "passes/tile_to_cuda/SharedLayouts.h"
#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;
using namespace inlay;
using namespace inlay::tile;

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

bool inlay::isElementwise(Operation *op) {
  return op->hasTrait<OpTrait::Elementwise>() && op->getNumResults() == 1 &&
         isa<RankedTensorType>(op->getResult(0).getType());
}

bool inlay::isOfUnwrittenMemory(Operation *op) {
  Value view;
  if (auto load = dyn_cast_or_null<LoadOp>(op))
    view = load.getView();
  else if (auto gather = dyn_cast_or_null<GatherOp>(op))
    view = gather.getView();
  if (!view)
    return false;
  return llvm::none_of(view.getUsers(), [](Operation *user) { return isa<StoreOp, ScatterOp>(user); });
}

bool inlay::isScalesInSlot(Value tile) {
  return tile.getDefiningOp<WaitOp>() && cast<RankedTensorType>(tile.getType()).getElementType().isF32() &&
         !tile.use_empty() && llvm::all_of(tile.getUsers(), llvm::IsaPred<tensor::ExtractSliceOp>);
}

bool inlay::isKeptInShared(Value tile) {
  Operation *op = tile.getDefiningOp();
  if (isScalesInSlot(tile))
    return true;
  if (auto reduce = dyn_cast_or_null<ClusterReduceOp>(op))
    return isKeptInShared(reduce.getValue());
  return isa_and_nonnull<StageOp, WarpReduceOp, WarpRolesOp>(op);
}

bool inlay::isReshape(Operation *op) { return isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op); }

Layout inlay::reshapedLayout(const Layout &layout, RankedTensorType from, RankedTensorType to) {
  using enum LayoutDim;
  Layout result;
  for (LayoutDim in : {Register, Lane, Warp, Block})
    for (const LayoutPoint &basis : layout.bases(in)) {
      int64_t element = from.getRank() == 2 ? basis[Dim0] * from.getDimSize(1) + basis[Dim1] : basis[Dim0];
      LayoutPoint point;
      point[Dim0] = to.getRank() == 2 ? element / to.getDimSize(1) : element;
      if (to.getRank() == 2)
        point[Dim1] = element % to.getDimSize(1);
      result.addBit(in, point);
    }
  return result;
}

bool inlay::isPulled(Value tile) {
  if (auto slice = tile.getDefiningOp<tensor::ExtractSliceOp>())
    return isKeptInShared(slice.getSource());
  if (tile.getDefiningOp<WarpReduceOp>())
    return true;
  return isOfUnwrittenMemory(tile.getDefiningOp());
}

/// Whether single elements of several are taken from the threads that have them.
static bool isExtracted(Operation *op) {
  return op->getNumResults() == 1 && llvm::any_of(op->getUsers(), [](Operation *user) {
           auto extract = dyn_cast<tensor::ExtractOp>(user);
           return extract && extract.getTensor().getType().getNumElements() > 1;
         });
}

ComputedTiles::ComputedTiles(ProgramOp program) {
  program.walk([&](Operation *op) {
    if (isExtracted(op))
      return;
    bool isComputed = isa<arith::ConstantOp, tensor::SplatOp, IotaOp, BroadcastOp>(op)
                          ? isa<RankedTensorType>(op->getResult(0).getType())
                          : isElementwise(op) && llvm::all_of(op->getOperands(), [&](Value operand) {
                              auto type = dyn_cast<RankedTensorType>(operand.getType());
                              return !type || contains(operand) || (type.getRank() == 1 && isPulled(operand));
                            });
    if (isComputed)
      tiles.insert(op->getResult(0));
  });
}

std::optional<Layout> inlay::registersOfPieces(DequantizeOp op, int warpBits) {
  using enum LayoutDim;
  auto load = op.getBytes().getDefiningOp<LoadOp>();
  auto packing = load ? packingOf(op->getParentOfType<ProgramOp>(), load.getView()) : StringAttr();
  if (!packing || packing.getValue() != kCodesPacking)
    return std::nullopt;
  int64_t bits = cast<ViewType>(load.getView().getType()).getElementType().getIntOrFloatBitWidth();
  Layout order = codeLayout(bits), layout;
  int pieceBits = log2Ceil(codesOfPiece(bits));
  for (const LayoutPoint &basis : ArrayRef(order.bases(Offset)).take_front(pieceBits))
    layout.addBit(Register, basis);
  // Pieces of a row, then rows: over lanes, warps and registers.
  ArrayRef<int64_t> shape = op.getType().getShape();
  int columnBits = std::max(0, log2Ceil(shape[1]) - pieceBits), rowBits = log2Ceil(shape[0]);
  auto divide = [&](LayoutDim in, int most) {
    int ofColumns = std::min(columnBits, most), ofRows = std::min(rowBits, most - ofColumns);
    layout = layout * Layout::identity(in, ofColumns, Dim1) * Layout::identity(in, ofRows, Dim0);
    if (in != Register)
      layout = layout * Layout::broadcast(in, most - ofColumns - ofRows);
    columnBits -= ofColumns;
    rowBits -= ofRows;
  };
  divide(Lane, 5);
  divide(Warp, warpBits);
  divide(Register, columnBits + rowBits);
  return layout;
}

std::optional<DequantizedLayouts> inlay::dequantizedLayouts(DequantizeOp op, const Layout &layout) {
  Value ofGroups = op.getScales() ? op.getScales() : op.getZeros();
  int64_t groups = ofGroups ? cast<RankedTensorType>(ofGroups.getType()).getDimSize(1) : 1;
  int64_t inElement = codesInElement(op);
  if ((groups > 1 && !llvm::isPowerOf2_64(op.getGroup())) ||
      layout.contiguous(LayoutDim::Register, LayoutDim::Dim1) < inElement)
    return std::nullopt;
  int bits = groups > 1 ? llvm::Log2_64(op.getGroup()) : layout.outBits(LayoutDim::Dim1);
  return DequantizedLayouts{inElement == 2 ? halfOf(layout) : layout, groupedColumns(layout, bits), bits};
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

Access inlay::accessOf(Operation *op) {
  if (auto load = dyn_cast<tile::LoadOp>(op))
    return {load.getView(), SmallVector<Value>(load.getOffsets()), {}};
  if (auto sum = dyn_cast<tile::ReceiveSumOp>(op))
    return {sum.getView(), SmallVector<Value>(sum.getOffsets()), {}};
  auto gather = cast<tile::GatherOp>(op);
  Access access{gather.getView(), {Value()}, gather.getIndices()};
  if (gather.getColumn())
    access.offsets.push_back(gather.getColumn());
  return access;
}

StringAttr inlay::packingOf(ProgramOp program, Value view) {
  return program.getArgAttrOfType<StringAttr>(cast<BlockArgument>(view).getArgNumber(), kPackingAttr);
}

Layout inlay::pieceOfCodes() {
  Layout unit = codeLayout(8), piece;
  for (const LayoutPoint &basis : ArrayRef(unit.bases(LayoutDim::Offset)).take_front(log2Ceil(codesOfPiece(8))))
    piece.addBit(LayoutDim::Offset, basis);
  return piece;
}

Layout inlay::inPieces(const Layout &layout) {
  Layout piece = pieceOfCodes(), result;
  ArrayRef<LayoutPoint> held = layout.bases(LayoutDim::Register), placed = piece.bases(LayoutDim::Offset);
  Layout neighbours = Layout::identity(LayoutDim::Register, static_cast<int>(placed.size()), LayoutDim::Dim1);
  if (held.size() < placed.size() || held.take_front(placed.size()) != ArrayRef(neighbours.bases(LayoutDim::Register)))
    return layout;
  for (LayoutDim in : {LayoutDim::Register, LayoutDim::Lane, LayoutDim::Warp, LayoutDim::Block})
    for (auto [i, basis] : llvm::enumerate(layout.bases(in)))
      result.addBit(in, in == LayoutDim::Register && i < placed.size() ? placed[i] : basis);
  return result;
}

std::optional<Layout> inlay::packedBlocks(ProgramOp program, Value view) {
  using enum LayoutDim;
  StringAttr packing = packingOf(program, view);
  if (!packing)
    return std::nullopt;
  if (packing.getValue() == kCodesPacking)
    return codeLayout(cast<ViewType>(view.getType()).getElementType().getIntOrFloatBitWidth());
  if (packing.getValue() == kCodeRowsPacking)
    return pieceOfCodes();
  if (packing.getValue() == kRowsPacking)
    return Layout::identity(Offset, log2Ceil(kUnitRows), Dim0);
  return swizzledRows(/*rowBits=*/log2Ceil(kGroupRows), /*columnBits=*/log2Ceil(kAtomColumns), /*chunkBits=*/3);
}

/// Consecutive registers that hold consecutive elements of a packed block.
static int64_t packedWidth(const Layout &layout, const Layout &block, int64_t most) {
  int64_t width = 1;
  for (auto [held, placed] : llvm::zip(layout.bases(LayoutDim::Register), block.bases(LayoutDim::Offset))) {
    if (held != placed || width >= most)
      break;
    width *= 2;
  }
  return width;
}

int64_t inlay::vectorWidth(Value view, Value lastOffset, const Layout &layout, ArrayRef<int64_t> shape) {
  auto type = cast<tile::ViewType>(view.getType());
  auto program = cast<ProgramOp>(cast<BlockArgument>(view).getOwner()->getParentOp());
  int64_t most = 128 / std::max(8U, type.getElementType().getIntOrFloatBitWidth());
  if (type.getElementType().isInteger(4))
    most = 32;
  if (std::optional<Layout> block = packedBlocks(program, view);
      block && (block->outBits(LayoutDim::Dim0) > 3 || packingOf(program, view).getValue() == kCodeRowsPacking))
    return packedWidth(layout, *block, most);
  int64_t last = type.getShape().back(), width = most;
  auto shrink = [&](int64_t limit) { width = std::gcd(width, limit); };
  shrink(layout.contiguous(LayoutDim::Register, dimension(static_cast<int>(shape.size()) - 1)));
  shrink(shape.back());
  if (lastOffset)
    shrink(divisorOf(lastOffset));
  if (!ShapedType::isDynamic(last))
    shrink(last);
  else if (type.getRank() == 1)
    width = type.getExtent() ? 1 : width;
  return width;
}

bool inlay::isCopiedToShared(Operation *op) {
  if (!isa<LoadOp, GatherOp>(op) || !isPulled(op->getResult(0)) || op->use_empty())
    return false;
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  if (type.getRank() != 2 || type.getElementTypeBitWidth() != 16)
    return false;
  for (OpOperand &use : op->getUses()) {
    auto dot = dyn_cast<DotOp>(use.getOwner());
    if (!dot || use.get() != dot.getRhs() || use.get() == dot.getLhs() || dot->getBlock() != op->getBlock() ||
        isInWarpRing(dot.getLhs()))
      return false;
  }
  Access access = accessOf(op);
  return vectorWidth(access.view, access.offsets.back(), copyLayout(type, 0), type.getShape()) == 8;
}

Layout inlay::copyLayout(RankedTensorType tile, int warpBits) {
  return blockedLayout({std::max<int64_t>(16, tile.getDimSize(0)), std::max<int64_t>(16, tile.getDimSize(1))}, 8,
                       warpBits);
}
