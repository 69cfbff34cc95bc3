//===- Epilogue.cpp - what follows a product or a sum over ranks ------------===//

#include "passes/llm_to_tile/Epilogue.h"

#include "passes/llm_to_tile/Elementwise.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;

Value inlay::loadResidual(Value value, Value row, Value column, ArrayRef<int64_t> shape, ProgramBuilder &b) {
  Value first = arith::AddIOp::create(b, column, b.index(Placement::of(value).column));
  return b.toF32(b.load(b.activation(value, Provenance::State), ValueRange{row, first}, shape));
}

/// `op` on tiles that the group has computed.
static FailureOr<TileValue> emitEpilogueOp(Operation &op, const EpilogueTiles &tiles, Value row, ProgramBuilder &b) {
  SmallVector<Value> operands, outside;
  TileValue own;
  for (Value operand : op.getOperands()) {
    auto it = tiles.find(operand);
    if (it == tiles.end()) {
      outside.push_back(operand);
      continue;
    }
    own = it->second;
    operands.push_back(own.tile);
  }
  if (!own.tile || (!outside.empty() && !isa<AddOp>(op)))
    return op.emitError() << "has operands that this group does not compute";
  ArrayRef<int64_t> shape = cast<RankedTensorType>(own.tile.getType()).getShape();
  if (auto bias = dyn_cast<AddBiasOp>(op))
    return TileValue{b.add(own.tile, b.broadcast(loadVector(bias.getBiasAttr(), own.column, shape[1], b), 0, shape[0])),
                     own.column};
  if (auto scale = dyn_cast<ScaleColumnsOp>(op))
    return TileValue{scaleColumns(own.tile, scale.getWeightAttr(), scale.getWeightOffset(), own.column, b), own.column};
  if (auto squares = dyn_cast<SumOfSquaresOp>(op)) {
    Value sum = b.reduce(tile::Reduction::Add, b.mul(own.tile, own.tile), 1);
    return TileValue{b.broadcast(sum, 1, 1), arith::DivUIOp::create(b, own.column, b.index(normPartOf(squares)))};
  }
  for (Value other : outside)
    operands.push_back(loadResidual(other, row, own.column, shape, b));
  FailureOr<Value> tile = emitElementwise(&op, operands, b);
  if (failed(tile))
    return failure();
  return TileValue{*tile, own.column};
}

/// The sum over ranks whose rows the kernel that computes `result` pushes; null if there is none.
static AllReduceOp pushedSumOf(Value result) {
  auto sum = result.hasOneUse() ? dyn_cast<AllReduceOp>(*result.user_begin()) : AllReduceOp();
  return sum && sum.getPushed() ? sum : AllReduceOp();
}

LogicalResult inlay::emitEpilogueOps(GroupOp group, Operation *anchor, EpilogueTiles &tiles, Value row,
                                     ProgramBuilder &b) {
  Block &body = group.getBody().front();
  for (Operation &op : body.without_terminator()) {
    if (op.isBeforeInBlock(anchor) || &op == anchor)
      continue;
    FailureOr<TileValue> value = emitEpilogueOp(op, tiles, row, b);
    if (failed(value))
      return failure();
    tiles[op.getResult(0)] = *value;
  }
  for (auto [result, value] : llvm::zip(group.getResults(), body.getTerminator()->getOperands())) {
    if (Operation *op = value.getDefiningOp(); op && op->getBlock() == &body && op->isBeforeInBlock(anchor))
      continue; // the prologue has stored it
    auto it = tiles.find(value);
    if (it == tiles.end())
      return group.emitError() << "yields a value that its epilogue does not compute";
    Placement place = Placement::of(result);
    // A residual that is overwritten is the view that was read.
    bool inPlace = isa_and_nonnull<AddOp>(value.getDefiningOp());
    Type element = cast<RankedTensorType>(value.getType()).getElementType();
    Value view = b.activation(result, inPlace ? Provenance::State : Provenance::Output);
    Value column = place.column == 0 ? it->second.column
                                     : Value(arith::AddIOp::create(b, it->second.column, b.index(place.column)));
    tile::ExchangeAttr through;
    if (AllReduceOp sum = pushedSumOf(result)) {
      through = exchangeOf(sum, b);
      if (!through)
        return failure();
    }
    b.store(b.toType(it->second.tile, element), view, {row, column}, through);
  }
  return success();
}
