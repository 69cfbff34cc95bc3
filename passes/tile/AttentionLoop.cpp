//===- AttentionLoop.cpp - online softmax over the keys of a program -------===//

#include "passes/tile/AttentionLoop.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace inlay;
using tile::Reduction;

/// The other operand of a commutative `Op` that has `known` as one; null if `value` is nothing like that.
template <typename Op> static Value otherOperand(Value value, Value known) {
  auto op = value.getDefiningOp<Op>();
  if (!op)
    return {};
  return op.getLhs() == known ? op.getRhs() : op.getRhs() == known ? op.getLhs() : Value();
}

/// Whether `value` is 2^(from - to).
static bool isWeight(Value value, Value from, Value to) {
  auto exponent = value.getDefiningOp<math::Exp2Op>();
  auto difference = exponent ? exponent.getOperand().getDefiningOp<arith::SubFOp>() : arith::SubFOp();
  return difference && difference.getLhs() == from && difference.getRhs() == to;
}

/// Whether `value` is `vector` along the columns of its rows.
static bool isBroadcastOf(Value value, llvm::function_ref<bool(Value)> isVector) {
  auto broadcast = value.getDefiningOp<tile::BroadcastOp>();
  return broadcast && broadcast.getAxis() == 1 && isVector(broadcast.getValue());
}

/// What a `reduce` (or cluster_reduce) of `kind` combines; null if `value` is none.
template <typename Op> static Value reduced(Value value, Reduction kind) {
  auto op = value ? value.getDefiningOp<Op>() : Op();
  return op && op.getKind() == kind ? Value(op.getValue()) : Value();
}

/// The gather of an operand, which may widen what the cache stores; null if it is none.
static tile::GatherOp gathered(Value operand) {
  if (auto wide = operand.getDefiningOp<arith::ExtFOp>())
    operand = wide.getIn();
  return operand.getDefiningOp<tile::GatherOp>();
}

static LogicalResult findProducts(tile::ProgramOp program, AttentionLoop &result) {
  WalkResult walk = program.walk([&](tile::DotOp dot) {
    tile::DotOp &place = dot.getTransposeRhs() ? result.scores : result.outputs;
    if (place) {
      dot.emitError("is one product more than attention has: scores (transpose_rhs) and outputs");
      return WalkResult::interrupt();
    }
    place = dot;
    return WalkResult::advance();
  });
  if (walk.wasInterrupted())
    return failure();
  if (!result.scores || !result.outputs)
    return program.emitError("has no two products, scores (transpose_rhs) and outputs, as attention has");
  result.loop = dyn_cast<scf::ForOp>(result.scores->getParentOp());
  if (!result.loop || result.outputs->getParentOp() != result.loop)
    return result.scores.emitError("stands in no loop together with the product of the outputs");
  result.queries = result.scores.getLhs().getDefiningOp<tile::GatherOp>();
  result.keys = gathered(result.scores.getRhs());
  result.values = gathered(result.outputs.getRhs());
  if (!result.queries || result.loop->isAncestor(result.queries) || !result.keys || !result.values)
    return result.scores.emitError("has operands that are not gathered: queries before the loop, keys inside");
  for (tile::GatherOp gather : {result.keys, result.values})
    if (gather.getView().getType().getProvenance() != tile::Provenance::Kv ||
        gather.getIndices() != result.keys.getIndices())
      return gather.emitError("gathers other rows than keys and values of the cache at the same indices");
  auto keys = cast<RankedTensorType>(result.keys.getType());
  result.rows = result.scores.getResult().getType().getDimSize(0);
  result.keysPerStep = keys.getDimSize(0);
  result.headDim = keys.getDimSize(1);
  return success();
}

/// The three carried values and what is computed from them in a step.
static LogicalResult findRecurrence(AttentionLoop &result, Value &sum, Value &out, Value &top) {
  Operation *yield = result.loop.getBody()->getTerminator();
  auto carried = result.loop.getRegionIterArgs();
  Value weights = result.outputs.getLhs();
  if (auto narrow = weights.getDefiningOp<arith::TruncFOp>())
    weights = narrow.getIn();
  result.weights = weights;
  for (auto [i, next] : llvm::enumerate(yield->getOperands())) {
    if (next == result.outputs.getResult()) {
      out = result.loop.getResult(i);
    } else if (Value rest = otherOperand<arith::MaximumFOp>(next, carried[i])) {
      result.masked = reduced<tile::ReduceOp>(rest, Reduction::Max);
      result.top = next;
      result.carriedTop = carried[i];
      top = result.loop.getResult(i);
    } else {
      sum = result.loop.getResult(i);
    }
  }
  if (yield->getNumOperands() != 3 || !sum || !out || !top || !result.masked)
    return result.loop.emitError("does not carry maximum, sum and output of an online softmax");
  auto isCorrection = [&](Value value) { return isWeight(value, result.carriedTop, result.top); };
  auto carriedOf = [&](Value after) { return carried[cast<OpResult>(after).getResultNumber()]; };
  auto next = yield->getOperand(cast<OpResult>(sum).getResultNumber()).getDefiningOp<arith::AddFOp>();
  Value scaled = next ? otherOperand<arith::MulFOp>(next.getLhs(), carriedOf(sum)) : Value();
  if (!scaled || !isCorrection(scaled) || reduced<tile::ReduceOp>(next.getRhs(), Reduction::Add) != weights)
    return result.loop.emitError("carries a sum that is not sum * 2^(old maximum - new) + reduce add weights");
  Value factor = otherOperand<arith::MulFOp>(result.outputs.getAccumulator(), carriedOf(out));
  if (!factor || !isBroadcastOf(factor, isCorrection))
    return result.outputs.emitError("does not add to output * 2^(old maximum - new)");
  auto initOf = [&](Value after) { return result.loop.getInitArgs()[cast<OpResult>(after).getResultNumber()]; };
  DenseFPElementsAttr first;
  if (!matchPattern(initOf(sum), m_AnyZeroFloat()) || !matchPattern(initOf(out), m_AnyZeroFloat()) ||
      !matchPattern(initOf(top), m_Constant(&first)) || !first.isSplat())
    return result.loop.emitError("does not start with a constant maximum and with 0");
  return success();
}

/// Follows the three values through the cluster's merge, if there is one.
static LogicalResult findMerge(tile::ProgramOp program, AttentionLoop &result, Value sum, Value out, Value top) {
  result.lastTop = top;
  result.finalSum = sum;
  result.finalOut = out;
  SmallVector<tile::ClusterReduceOp> merges;
  program.walk([&](tile::ClusterReduceOp merge) { merges.push_back(merge); });
  if (tile::clusterOf(program) == 1)
    return success();
  Value all;
  for (tile::ClusterReduceOp merge : merges)
    if (merge.getKind() == Reduction::Max && merge.getValue() == top)
      all = merge.getResult();
  auto isShare = [&](Value value) { return all && isWeight(value, top, all); };
  for (tile::ClusterReduceOp merge : merges) {
    if (merge.getKind() != Reduction::Add)
      continue;
    if (Value factor = otherOperand<arith::MulFOp>(merge.getValue(), sum); factor && isShare(factor))
      result.finalSum = merge.getResult();
    else if (Value factor = otherOperand<arith::MulFOp>(merge.getValue(), out);
             factor && isBroadcastOf(factor, isShare))
      result.finalOut = merge.getResult();
  }
  if (merges.size() != 3 || result.finalSum == sum || result.finalOut == out)
    return program.emitError("is run by clusters whose blocks do not merge maximum, sum and output");
  return success();
}

FailureOr<AttentionLoop> inlay::findAttentionLoop(tile::ProgramOp program) {
  AttentionLoop result;
  Value sum, out, top;
  if (failed(findProducts(program, result)) || failed(findRecurrence(result, sum, out, top)) ||
      failed(findMerge(program, result, sum, out, top)))
    return failure();
  SmallVector<tile::ScatterOp> stores;
  program.walk([&](tile::ScatterOp store) { stores.push_back(store); });
  if (stores.size() != 1 || program.walk([](tile::StoreOp) { return WalkResult::interrupt(); }).wasInterrupted())
    return program.emitError("writes more than the rows of its output");
  result.store = stores.front();
  return result;
}
