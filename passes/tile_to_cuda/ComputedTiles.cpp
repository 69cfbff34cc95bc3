//===- ComputedTiles.cpp - tiles that are made where they are used ---------===//

#include "passes/tile_to_cuda/ComputedTiles.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
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

bool inlay::isKeptInShared(Value tile) {
  Operation *op = tile.getDefiningOp();
  if (auto reduce = dyn_cast_or_null<ClusterReduceOp>(op))
    return isKeptInShared(reduce.getValue());
  return isa_and_nonnull<StageOp, WarpRolesOp>(op);
}

bool inlay::isWidenedSlot(Value tile) {
  auto wide = tile.getDefiningOp<arith::ExtFOp>();
  return wide && isa_and_nonnull<WaitOp, ClearRowsOp>(wide.getIn().getDefiningOp());
}

bool inlay::isPulled(Value tile) {
  if (auto slice = tile.getDefiningOp<tensor::ExtractSliceOp>())
    return isKeptInShared(slice.getSource());
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

std::optional<DequantizedLayouts> inlay::dequantizedLayouts(DequantizeOp op, const Layout &layout) {
  int64_t groups = cast<RankedTensorType>(op.getScales().getType()).getDimSize(1), inByte = codesInByte(op);
  if ((groups > 1 && !llvm::isPowerOf2_64(op.getGroup())) ||
      layout.contiguous(LayoutDim::Register, LayoutDim::Dim1) < inByte)
    return std::nullopt;
  int bits = groups > 1 ? llvm::Log2_64(op.getGroup()) : layout.outBits(LayoutDim::Dim1);
  return DequantizedLayouts{inByte == 2 ? halfOf(layout) : layout, groupedColumns(layout, bits), bits};
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

Access inlay::accessOf(Operation *op) {
  if (auto load = dyn_cast<tile::LoadOp>(op))
    return {load.getView(), SmallVector<Value>(load.getOffsets()), {}};
  auto gather = cast<tile::GatherOp>(op);
  Access access{gather.getView(), {Value()}, gather.getIndices()};
  if (gather.getColumn())
    access.offsets.push_back(gather.getColumn());
  return access;
}

int64_t inlay::vectorWidth(Value view, Value lastOffset, const Layout &layout, ArrayRef<int64_t> shape) {
  auto type = cast<tile::ViewType>(view.getType());
  int64_t last = type.getShape().back(), width = 16 / bytesOf(type.getElementType());
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
    if (!dot || use.get() != dot.getRhs() || use.get() == dot.getLhs() || dot->getBlock() != op->getBlock())
      return false;
  }
  Access access = accessOf(op);
  return vectorWidth(access.view, access.offsets.back(), copyLayout(type, 0), type.getShape()) == 8;
}

Layout inlay::copyLayout(RankedTensorType tile, int warpBits) {
  return blockedLayout({std::max<int64_t>(16, tile.getDimSize(0)), std::max<int64_t>(16, tile.getDimSize(1))}, 8,
                       warpBits);
}
