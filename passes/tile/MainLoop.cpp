//===- MainLoop.cpp - the loop over k of a linear layer's program ----------===//

#include "passes/tile/MainLoop.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace inlay;

std::optional<int64_t> inlay::offsetFrom(Value offset, Value base) {
  if (offset == base)
    return 0;
  if (auto add = offset.getDefiningOp<arith::AddIOp>())
    if (add.getLhs() == base)
      return getConstantIntValue(add.getRhs());
  return std::nullopt;
}

/// Checks the operations that compute the left operand and the sums from the rows.
static LogicalResult checkPrologue(MainLoop &result, Value value, llvm::SmallPtrSetImpl<Operation *> &seen) {
  Operation *op = value.getDefiningOp();
  if (!op || op == result.rows || op == result.residual || op->getParentOp() != result.loop || !seen.insert(op).second)
    return success();
  if (auto load = dyn_cast<tile::LoadOp>(op)) {
    if (load.getView().getType().getRank() != 1 || load.getOffsets()[0] != result.loop.getInductionVar())
      return load.emitError("is loaded while rows are staged; expected a vector at the loop's own k");
    result.vectors.push_back(load);
    return success();
  }
  // Vectors along k, and statistics of the rows.
  auto broadcast = dyn_cast<tile::BroadcastOp>(op);
  bool isOfRows =
      broadcast && broadcast.getAxis() == 1 && !result.loop->isAncestor(broadcast.getValue().getDefiningOp());
  if (!(broadcast && broadcast.getAxis() == 0) && !isOfRows &&
      !(isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) && op->getNumResults() == 1))
    return op->emitError() << "'" << op->getName() << "' cannot be applied while rows are staged; expected elementwise "
                           << "operations and vectors along k";
  for (Value operand : op->getOperands())
    if (failed(checkPrologue(result, operand, seen)))
      return failure();
  return success();
}

/// The sum along k that a loop carries to its result `number`, beside a product; none where it is something else.
static std::optional<RowSum> rowSumOf(scf::ForOp loop, unsigned number) {
  Value value = loop.getBody()->getTerminator()->getOperand(number);
  auto add = value.getDefiningOp<arith::AddFOp>();
  auto reduce = add ? add.getRhs().getDefiningOp<tile::ReduceOp>() : tile::ReduceOp();
  if (!add || add.getLhs() != loop.getRegionIterArg(number) || !reduce || reduce.getKind() != tile::Reduction::Add ||
      reduce.getAxis() != 1)
    return std::nullopt;
  return RowSum{loop->getResult(number), reduce.getValue()};
}

/// Takes `factor` apart into scales of a step for `loop`, and their products. False where it is something else.
static bool takeScales(Value factor, MainLoop &loop) {
  if (auto product = factor.getDefiningOp<arith::MulFOp>())
    return takeScales(product.getLhs(), loop) && takeScales(product.getRhs(), loop);
  auto broadcast = factor.getDefiningOp<tile::BroadcastOp>();
  auto column = broadcast ? broadcast.getValue().getDefiningOp<tile::ReduceOp>() : tile::ReduceOp();
  auto load = column ? column.getValue().getDefiningOp<tile::LoadOp>() : tile::LoadOp();
  if (!load || load.getOffsets().size() != 2 || load.getType().getDimSize(1) != 1)
    return false;
  auto number = load.getOffsets()[1].getDefiningOp<arith::DivUIOp>();
  std::optional<int64_t> group = number ? getConstantIntValue(number.getRhs()) : std::nullopt;
  StepScales &scales = broadcast.getAxis() == 0 ? loop.columnScales : loop.rowScales;
  if (!group || number.getLhs() != loop.loop.getInductionVar() || scales.load)
    return false;
  scales = {load, *group};
  return true;
}

/// Whether `term` is the product of a step, or that times scales, which `loop` gets.
static bool isStepOf(Value term, MainLoop &loop) {
  auto scaled = term.getDefiningOp<arith::MulFOp>();
  return term == loop.dot.getResult() ||
         (scaled && scaled.getLhs() == loop.dot.getResult() && takeScales(scaled.getRhs(), loop));
}

/// Finds the loops before the product, each with the bounds of its loop.
static LogicalResult findStatistics(MainLoop &result) {
  for (auto loop : result.loop->getBlock()->getOps<scf::ForOp>()) {
    if (!loop->isBeforeInBlock(result.loop))
      continue;
    if (getConstantIntValue(loop.getLowerBound()) != 0 || getConstantIntValue(loop.getUpperBound()) != result.k)
      return loop.emitError("runs before the product and not over its k, from 0 to ") << result.k;
    RowStatistic &statistic = result.statistics.emplace_back(RowStatistic{loop, {}});
    for (auto [i, initial] : llvm::enumerate(loop.getInitArgs())) {
      std::optional<RowSum> sum = rowSumOf(loop, i);
      if (!sum || !matchPattern(initial, m_AnyZeroFloat()))
        return loop.emitError("runs before the product and carries value ") << i << ", no sum along k that starts at 0";
      statistic.sums.push_back(*sum);
    }
  }
  return success();
}

/// The column that an op which brings rows begins at.
static Value columnOf(Operation *rows) {
  if (auto gather = dyn_cast<tile::GatherOp>(rows))
    return gather.getColumn();
  if (auto sum = dyn_cast<tile::ReceiveSumOp>(rows))
    return sum.getOffsets()[1];
  return cast<tile::LoadOp>(rows).getOffsets()[1];
}

FailureOr<MainLoop> inlay::findMainLoop(tile::ProgramOp program) {
  MainLoop result;
  WalkResult walk = program.walk([&](tile::DotOp dot) {
    if (result.dot) {
      dot.emitError("is a second product of the program; the families matvec and gemm take one");
      return WalkResult::interrupt();
    }
    result.dot = dot;
    return WalkResult::advance();
  });
  if (walk.wasInterrupted())
    return failure();
  if (!result.dot)
    return program.emitError("has no tile.dot; the families matvec and gemm lower linear layers");
  tile::DotOp dot = result.dot;
  auto loop = dyn_cast<scf::ForOp>(dot->getParentOp());
  if (!loop || loop->getParentOp() != program.getOperation())
    return dot.emitError("stands in no loop over k at the program's top level");
  result.loop = loop;
  Value variable = loop.getInductionVar();
  std::optional<int64_t> upper = getConstantIntValue(loop.getUpperBound());
  if (getConstantIntValue(loop.getLowerBound()) != 0 || !upper)
    return loop.emitError("runs over k from ") << loop.getLowerBound() << "; expected constants, from 0";
  result.k = *upper;

  result.dequantize = dot.getRhs().getDefiningOp<tile::DequantizeOp>();
  Value weights = result.dequantize ? result.dequantize.getBytes() : dot.getRhs();
  result.weight = weights.getDefiningOp<tile::LoadOp>();
  if (!dot.getTransposeRhs() || !result.weight || result.weight.getView().getType().getRank() != 2 ||
      result.weight.getView().getType().getProvenance() != tile::Provenance::Weight ||
      result.weight.getOffsets()[1] != variable)
    return dot.emitError("has a right operand that is no tile of weights at [column, k]");
  result.tokens = dot.getResult().getType().getDimSize(0);
  result.columns = dot.getResult().getType().getDimSize(1);

  auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
  SmallVector<Value> roots{dot.getLhs()};
  for (auto [i, value] : llvm::enumerate(yield.getOperands())) {
    Value carried = loop.getRegionIterArgs()[i], initial = loop.getInitArgs()[i];
    if (!matchPattern(initial, m_AnyZeroFloat()) && !matchPattern(initial, m_Zero()))
      return loop.emitError("carries a value that starts at ") << initial << "; expected 0";
    if (value == dot.getResult() && dot.getAccumulator() == carried) {
      result.product = loop->getResult(i);
      continue;
    }
    auto add = value.getDefiningOp<arith::AddFOp>();
    if (add && add.getLhs() == carried && matchPattern(dot.getAccumulator(), m_AnyZeroFloat()) &&
        isStepOf(add.getRhs(), result)) {
      result.product = loop->getResult(i);
      result.addsSteps = true;
      continue;
    }
    std::optional<RowSum> sum = rowSumOf(loop, i);
    if (!sum)
      return loop.emitError("carries value ") << i << ", neither a product nor a sum along k";
    result.sums.push_back(*sum);
    roots.push_back(sum->element);
  }
  if (!result.product)
    return dot.emitError("is not what the loop carries");

  // The rows: the one operation that reads a matrix other than the weights and the scales.
  auto isOfWeights = [&](Operation &op) {
    return &op == result.weight || &op == result.rowScales.load || &op == result.columnScales.load ||
           (result.dequantize && llvm::is_contained(op.getUsers(), result.dequantize));
  };
  auto received = loop.getBody()->getOps<tile::ReceiveSumOp>();
  if (!received.empty())
    result.rows = *received.begin();
  for (Operation &op : loop.getBody()->without_terminator()) {
    if (auto store = dyn_cast<tile::StoreOp>(op)) {
      if (received.empty())
        return store.emitError("stores in the loop over k; expected that only sums over ranks are stored there");
      result.stores.push_back(store);
      roots.push_back(store.getValue());
    }
    if (!isa<tile::LoadOp, tile::GatherOp>(op) || isOfWeights(op) ||
        cast<tile::ViewType>(op.getOperand(0).getType()).getRank() != 2)
      continue;
    auto load = dyn_cast<tile::LoadOp>(op);
    if (!received.empty() && load && !result.residual) {
      result.residual = load;
      continue;
    }
    if (result.rows)
      return op.emitError("reads a second matrix of rows in the loop over k");
    result.rows = &op;
  }
  if (!result.rows)
    return loop.emitError("reads no rows");
  std::optional<int64_t> offset = offsetFrom(columnOf(result.rows), variable);
  if (!offset)
    return result.rows->emitError("reads rows at a column that is not k plus a constant");
  result.columnOffset = *offset;
  if (failed(findStatistics(result)))
    return failure();
  llvm::SmallPtrSet<Operation *, 16> seen;
  for (Value root : roots)
    if (failed(checkPrologue(result, root, seen)))
      return failure();
  return result;
}
