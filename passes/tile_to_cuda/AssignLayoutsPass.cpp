//===- AssignLayoutsPass.cpp - layouts become encodings of types -----------===//
//
// Results get the encodings that LayoutDemands has collected, and operands that are
// wanted in another layout are computed again, loaded again, or converted.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/AsyncLayouts.h"
#include "passes/tile_to_cuda/CreateKernel.h"
#include "passes/tile_to_cuda/LayoutDemands.h"
#include "passes/tile_to_cuda/Passes.h"
#include "passes/tile_to_cuda/SharedLayouts.h"

namespace inlay {
#define GEN_PASS_DEF_ASSIGNLAYOUTSPASS
#include "passes/tile_to_cuda/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;
using namespace inlay::tile;

static RankedTensorType tileType(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {
/// Gives operands the layouts that they are wanted in.
class Rewriter {
public:
  explicit Rewriter(LayoutDemands &demands) : demands(demands) {}
  void run(ProgramOp program);
  int64_t conversions = 0; // that move elements between threads

private:
  Value inLayout(Value tile, const Layout &layout);
  Value again(Operation *op, const Layout &layout);
  Value converted(Value tile, const Layout &from, const Layout &to);
  static Value readFrom(Value tile, const Layout &layout);

  LayoutDemands &demands;
  llvm::DenseMap<Value, SmallVector<std::pair<Layout, Value>>> made;
};
} // namespace

Value Rewriter::inLayout(Value tile, const Layout &layout) {
  auto known = demands.kept.find(tile);
  if (known != demands.kept.end() && known->second == layout)
    return tile;
  for (auto &[madeIn, value] : made[tile])
    if (madeIn == layout)
      return value;
  Value value;
  if (known != demands.kept.end())
    value = converted(tile, known->second, layout);
  else
    value = demands.shared.contains(tile) ? readFrom(tile, layout) : again(tile.getDefiningOp(), layout);
  made[tile].push_back({layout, value});
  return value;
}

/// The result of an op that is computed or loaded where it is used.
Value Rewriter::again(Operation *op, const Layout &layout) {
  OpBuilder b(op);
  Operation *clone = b.clone(*op);
  RankedTensorType type = withLayout(tileType(op->getResult(0)), layout);
  clone->getResult(0).setType(type);
  for (OpOperand &operand : clone->getOpOperands()) {
    if (!isTile(operand.get()) || isa<tensor::ExtractSliceOp>(clone))
      continue;
    if (auto broadcast = dyn_cast<BroadcastOp>(clone))
      operand.set(inLayout(operand.get(), layout.slice(broadcast.getAxis())));
    else
      operand.set(inLayout(operand.get(), isa<GatherOp>(clone) ? layoutOfIndices(layout, type.getRank()) : layout));
  }
  if (auto constant = dyn_cast<arith::ConstantOp>(clone))
    constant.setValueAttr(
        DenseElementsAttr::get(type, cast<DenseElementsAttr>(constant.getValue()).getSplatValue<Attribute>()));
  return clone->getResult(0);
}

/// The tile in other registers, made where the tile is.
Value Rewriter::converted(Value tile, const Layout &from, const Layout &to) {
  OpBuilder b(tile.getContext());
  b.setInsertionPointAfterValue(tile);
  bool isInstruction = tileType(tile).getElementTypeBitWidth() == 16 &&
                       (isMatrixTransposed(from, to) || exchangedRegisterBit(from, to).value_or(0) > 0);
  conversions += !isInstruction && conversionOf(from, to) != LayoutConversion::Registers;
  return ConvertLayoutOp::create(b, tile.getLoc(), withLayout(tileType(tile), to), tile);
}

/// A tile of shared memory in registers.
Value Rewriter::readFrom(Value tile, const Layout &layout) {
  OpBuilder b(tile.getContext());
  b.setInsertionPointAfterValue(tile);
  return ConvertLayoutOp::create(b, tile.getLoc(), withLayout(tileType(tile), layout), tile);
}

void Rewriter::run(ProgramOp program) {
  SmallVector<Operation *> unassigned; // what is made again for each use
  program.walk([&](Operation *op) {
    for (Value result : op->getResults())
      if (isTile(result) && !demands.kept.contains(result) && !demands.shared.contains(result))
        unassigned.push_back(op);
  });
  for (auto [operand, layout] : demands.wanted)
    operand->set(inLayout(operand->get(), layout));
  for (Operation *op : llvm::reverse(unassigned))
    if (op->use_empty())
      op->erase();
  for (auto &[tile, layout] : demands.kept)
    tile.setType(withLayout(tileType(tile), layout));
  for (auto &[tile, encoding] : demands.shared)
    tile.setType(tileType(tile).cloneWithEncoding(encoding));
  program.walk([&](RingOp ring) {
    SmallVector<Type> tiles;
    for (Operation *user : ring->getUsers())
      if (auto wait = dyn_cast<WaitOp>(user); wait && tiles.empty())
        llvm::append_range(tiles, wait.getResultTypes());
    if (tiles.empty()) // nobody reads it
      for (auto [i, tile] : llvm::enumerate(ring.getType().getTiles()))
        tiles.push_back(cast<RankedTensorType>(tile).cloneWithEncoding(slotTile(ring, i)));
    ring.getResult().setType(RingType::get(ring.getContext(), ring.getType().getStages(), tiles));
  });
}

namespace {
struct AssignLayoutsPass : inlay::impl::AssignLayoutsPassBase<AssignLayoutsPass> {
  void runOnOperation() override;
};
} // namespace

void AssignLayoutsPass::runOnOperation() {
  ProgramOp program = getOperation();
  if (!isScheduled(program))
    return;
  if (failed(checkInstructions(program)))
    return signalPassFailure();
  LayoutDemands demands(program);
  int64_t warps = int64_t(1) << demands.assignment.warps();
  if (failed(demands.collect(program.getBody().front())))
    return signalPassFailure();
  Rewriter rewriter(demands);
  rewriter.run(program);
  program->setAttr(kWarpsAttr, Builder(program).getI64IntegerAttr(warps));
  if (rewriter.conversions > 0)
    program.emitRemark() << rewriter.conversions << " layout conversions through shared memory";
}
