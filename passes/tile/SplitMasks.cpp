//===- SplitMasks.cpp - a variant without masks ----------------------------===//
//
// Most tiles of attention lie before the diagonal and inside of the window, where every
// element is kept. Whether that is so shows in two columns: a conjunction of orders
// between sums of a row's and a column's number holds in all columns of a row if it
// holds in the first and in the last.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile/Pipelining.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace inlay;

//===----------------------------------------------------------------------===//
// Columns of conditions
//===----------------------------------------------------------------------===//

static std::optional<APInt> splatOf(Value tile) {
  DenseIntElementsAttr elements;
  if (!matchPattern(tile, m_Constant(&elements)) || !elements.isSplat())
    return std::nullopt;
  return elements.getSplatValue<APInt>();
}

/// Element `i` of a vector that grows or falls evenly; null for others.
static Value elementOf(ImplicitLocOpBuilder &b, Value vector, int64_t i) {
  Type scalar = cast<RankedTensorType>(vector.getType()).getElementType();
  if (std::optional<APInt> value = splatOf(vector))
    return arith::ConstantOp::create(b, b.getIntegerAttr(scalar, *value));
  if (auto splat = vector.getDefiningOp<tensor::SplatOp>())
    return splat.getInput();
  if (vector.getDefiningOp<tile::IotaOp>())
    return arith::ConstantOp::create(b, b.getIntegerAttr(scalar, i));
  Operation *op = vector.getDefiningOp();
  if (!isa_and_nonnull<arith::AddIOp, arith::SubIOp>(op))
    return {};
  Value x = elementOf(b, op->getOperand(0), i), y = x ? elementOf(b, op->getOperand(1), i) : Value();
  if (!y)
    return {};
  return isa<arith::AddIOp>(op) ? Value(arith::AddIOp::create(b, x, y)) : Value(arith::SubIOp::create(b, x, y));
}

/// Column `c` of a tile of rows and columns: sums of numbers of rows and of columns, orders between them, and
/// conjunctions of those; null for others.
static Value columnOf(ImplicitLocOpBuilder &b, Value tile, int64_t c) {
  auto type = cast<RankedTensorType>(tile.getType());
  auto vector = RankedTensorType::get({type.getDimSize(0)}, type.getElementType());
  if (std::optional<APInt> value = splatOf(tile))
    return arith::ConstantOp::create(b, DenseElementsAttr::get(vector, *value));
  if (auto splat = tile.getDefiningOp<tensor::SplatOp>())
    return tensor::SplatOp::create(b, vector, splat.getInput());
  if (auto broadcast = tile.getDefiningOp<tile::BroadcastOp>()) {
    if (broadcast.getAxis() == 1)
      return broadcast.getValue();
    Value element = elementOf(b, broadcast.getValue(), c);
    return element ? Value(tensor::SplatOp::create(b, vector, element)) : Value();
  }
  Operation *op = tile.getDefiningOp();
  auto order = dyn_cast_or_null<arith::CmpIOp>(op);
  bool isOrder =
      order && order.getPredicate() != arith::CmpIPredicate::eq && order.getPredicate() != arith::CmpIPredicate::ne;
  // The inverse of an order is one.
  bool isInverse = isa_and_nonnull<arith::XOrIOp>(op) && matchPattern(op->getOperand(1), m_One()) &&
                   op->getOperand(0).getDefiningOp<arith::CmpIOp>();
  if (!isOrder && !isInverse && !isa_and_nonnull<arith::AddIOp, arith::SubIOp, arith::AndIOp>(op))
    return {};
  SmallVector<Value> operands;
  for (Value operand : op->getOperands()) {
    operands.push_back(columnOf(b, operand, c));
    if (!operands.back())
      return {};
  }
  OperationState state(b.getLoc(), op->getName(), operands, {vector}, op->getAttrs());
  return b.create(state)->getResult(0);
}

/// For each row of `condition`, whether it holds in all columns; null where two columns do not decide that.
static Value holdsInRow(ImplicitLocOpBuilder &b, Value condition) {
  Value first = columnOf(b, condition, 0);
  if (!first)
    return {};
  Value last = columnOf(b, condition, cast<RankedTensorType>(condition.getType()).getDimSize(1) - 1);
  return arith::AndIOp::create(b, first, last);
}

//===----------------------------------------------------------------------===//
// The variant
//===----------------------------------------------------------------------===//

/// A select of floats by a condition on rows and columns that is computed in the program.
static bool isMask(arith::SelectOp select) {
  auto type = dyn_cast<RankedTensorType>(select.getCondition().getType());
  return type && type.getRank() == 2 && !matchPattern(select.getCondition(), m_Constant());
}

/// What is computed in `block` from the tiles that `condition` masks.
static llvm::SetVector<Operation *> maskedOps(Block &block, Value condition) {
  llvm::SetVector<Operation *> ops;
  for (Operation &op : block.without_terminator()) {
    auto select = dyn_cast<arith::SelectOp>(op);
    bool uses = llvm::any_of(op.getOperands(), [&](Value operand) { return ops.contains(operand.getDefiningOp()); });
    if ((uses || (select && select.getCondition() == condition)) && isPure(&op) && op.getNumRegions() == 0 &&
        !isa<tile::DotAsyncOp>(op))
      ops.insert(&op);
  }
  return ops;
}

static void buildVariant(ImplicitLocOpBuilder &b, Region &region, const llvm::SetVector<Operation *> &ops,
                         Value condition, bool isKept, ArrayRef<Value> results) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&region.emplaceBlock());
  IRMapping mapping;
  for (Operation *op : ops) {
    auto select = dyn_cast<arith::SelectOp>(op);
    if (isKept && select && select.getCondition() == condition)
      mapping.map(select.getResult(), mapping.lookupOrDefault(select.getTrueValue()));
    else
      b.clone(*op, mapping);
  }
  SmallVector<Value> yields;
  for (Value result : results)
    yields.push_back(mapping.lookupOrDefault(result));
  tile::YieldOp::create(b, yields);
}

static void splitMask(Block &block, Value condition) {
  llvm::SetVector<Operation *> ops = maskedOps(block, condition);
  Operation *last = ops.back();
  SmallVector<Value> results;
  for (Operation *op : ops) {
    bool isUsed = false;
    for (Operation *user : op->getUsers()) {
      if (ops.contains(user))
        continue;
      isUsed = true;
      if (Operation *top = block.findAncestorOpInBlock(*user); !top || !last->isBeforeInBlock(top))
        return;
    }
    if (isUsed)
      results.push_back(op->getResult(0));
  }
  ImplicitLocOpBuilder b(last->getLoc(), last->getContext());
  b.setInsertionPointAfter(last);
  Value all = holdsInRow(b, condition);
  if (!all)
    return;
  auto variants = tile::IfAllOp::create(b, ValueRange(results).getTypes(), all);
  buildVariant(b, variants.getAll(), ops, condition, /*isKept=*/true, results);
  buildVariant(b, variants.getSome(), ops, condition, /*isKept=*/false, results);
  for (auto [from, to] : llvm::zip_equal(results, variants.getResults()))
    from.replaceUsesWithIf(
        to, [&](OpOperand &use) { return !ops.contains(use.getOwner()) && !variants->isAncestor(use.getOwner()); });
  for (Operation *op : llvm::reverse(ops))
    op->erase();
}

void inlay::splitMasks(Block &block) {
  llvm::SetVector<Value> conditions;
  for (auto select : block.getOps<arith::SelectOp>())
    if (isMask(select))
      conditions.insert(select.getCondition());
  // One of them: the variants of a second one would be variants of each of the first.
  if (!conditions.empty())
    splitMask(block, conditions.front());
}
