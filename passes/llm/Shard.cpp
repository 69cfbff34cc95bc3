//===- Shard.cpp - one program for the ranks of tensor parallelism ---------===//
//
// Shoeybi et al., 2019. Ops say what ranks divide of their operands (ShardInterface);
// the matrix products before them then make, and those behind them read, a part on
// each rank. Three steps: find what is divided, check that the ranks can divide it,
// rewrite the function in the order of its ops.
//
//===----------------------------------------------------------------------===//

#include "passes/llm/ShardPlan.h"
#include "passes/llm/ShardedWeights.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_SHARDPASS
#include "passes/llm/Passes.h.inc"
} // namespace inlay

namespace {

/// What the ranks have of a value that is not the same on all of them.
struct Distribution {
  int64_t parts = 0;   // of its columns; 0: the value is `rest` plus the sum over the ranks of `partial`
  int64_t columns = 0; // of all parts
  Value partial, rest; // `rest` of columns is what was gathered, if they were
  SmallVector<FlatSymbolRefAttr> biases; // to add once
};

/// Rewrites one function.
class Sharder {
public:
  Sharder(const ShardPlan &plan, ShardedWeights &weights, int64_t ranks, int64_t padding)
      : plan(plan), weights(weights), ranks(ranks), padding(padding) {}

  LogicalResult run(func::FuncOp function) {
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front()))
      if (failed(rewrite(&op)))
        return failure();
    for (Operation *op : llvm::reverse(replaced))
      op->erase();
    // Candidates add a result.
    ValueRange results = function.getBody().front().getTerminator()->getOperands();
    function.setFunctionType(FunctionType::get(function.getContext(), function.getArgumentTypes(), results.getTypes()));
    return success();
  }

private:
  const ShardPlan &plan;
  ShardedWeights &weights;
  int64_t ranks, padding;
  DenseMap<Value, Distribution> distributions;
  SmallVector<Operation *> replaced; // sums that nothing reads any more

  static RankedTensorType rowsOf(Value value) { return dyn_cast<RankedTensorType>(value.getType()); }
  static Location nameOf(Operation *op, const Twine &suffix) {
    return NameLoc::get(StringAttr::get(op->getContext(), getCheckpointName(op) + suffix));
  }

  LogicalResult rewrite(Operation *op) {
    if (auto linear = dyn_cast<LinearOp>(op))
      return rewriteLinear(linear);
    auto shard = dyn_cast<ShardInterface>(op);
    if (shard && shard.isSum() && llvm::any_of(op->getOperands(), [&](Value v) { return isPending(v); }))
      return delaySum(op);
    bool isDivided = shard && llvm::any_of(op->getOperands(), [&](Value v) { return partsOf(v) > 0; });
    if (isDivided && shard.keepsColumns())
      return rewritePart(shard);
    if (auto norm = dyn_cast<NormInterface>(op); norm && isDivided)
      return rewriteNorm(norm);
    if (auto sample = dyn_cast<SampleOp>(op); sample && isDivided)
      addCandidates(sample);
    return readWhole(op);
  }

  int64_t partsOf(Value value) { return distributions.lookup(value).parts; }
  bool isPending(Value value) { return static_cast<bool>(distributions.lookup(value).partial); }

  /// The value that `value` is on all ranks, made before `user` if it is not there yet.
  FailureOr<Value> whole(Value value, Operation *user) {
    auto it = distributions.find(value);
    if (it == distributions.end())
      return value;
    Distribution &known = it->second;
    OpBuilder builder(user);
    if (known.parts > 0 && !known.rest) {
      if (known.parts != ranks)
        return user->emitError() << "reads all columns of '" << getCheckpointName(value.getDefiningOp())
                                 << "', of which " << ranks << " ranks have " << known.parts << " parts";
      auto type = rowsOf(value).clone({ShapedType::kDynamic, known.columns});
      known.rest = AllGatherOp::create(builder, nameOf(value.getDefiningOp(), ".all_gather"), type, value);
    } else if (known.partial) {
      Value sum = AllReduceOp::create(builder, nameOf(known.partial.getDefiningOp(), ".all_reduce"), known.partial);
      for (FlatSymbolRefAttr bias : known.biases)
        sum = AddBiasOp::create(builder, NameLoc::get(bias.getAttr()), sum, bias);
      if (known.rest)
        sum = AddOp::create(builder, value.getLoc(), known.rest, sum);
      known = Distribution{0, 0, {}, sum, {}};
    }
    return known.rest;
  }

  /// An op that takes whole rows.
  LogicalResult readWhole(Operation *op) {
    for (OpOperand &operand : op->getOpOperands()) {
      FailureOr<Value> value = whole(operand.get(), op);
      if (failed(value))
        return failure();
      operand.set(*value);
    }
    return success();
  }

  LogicalResult rewriteLinear(LinearOp linear) {
    Value result = linear.getResult(0);
    if (partsOf(linear.getInput()) > 0) {
      // Each rank has some of the columns, so its product is a part of the sum.
      FailureOr<FlatSymbolRefAttr> weight = weights.divide(linear, linear.getWeightAttr(), {Axis::Columns, ranks, 0});
      if (failed(weight))
        return failure();
      linear.setWeightAttr(*weight);
      Distribution &made = distributions[result];
      made.partial = result;
      if (linear.getBiasAttr())
        made.biases.push_back(linear.getBiasAttr());
      linear.removeBiasAttr();
      return success();
    }
    if (failed(readWhole(linear)))
      return failure();
    SplitUnits units = plan.getUnits(linear);
    if (units.count == 0)
      return success();
    int64_t columns = rowsOf(result).getDimSize(1);
    Division division{Axis::Rows, units.getParts(ranks), 0};
    if (units.pads && columns % ranks != 0)
      division.size = llvm::alignTo(llvm::divideCeil(columns, ranks), padding);
    FailureOr<FlatSymbolRefAttr> weight = weights.divide(linear, linear.getWeightAttr(), division);
    if (failed(weight))
      return failure();
    linear.setWeightAttr(*weight);
    if (linear.getBiasAttr()) {
      FailureOr<FlatSymbolRefAttr> bias = weights.divide(linear, linear.getBiasAttr(), division);
      if (failed(bias))
        return failure();
      linear.setBiasAttr(*bias);
    }
    setPart(result, division.size ? division.size : columns / division.parts, division.parts, columns);
    return success();
  }

  /// Each rank has `columns` of the `all` columns of `result`, one of `parts` parts of them.
  void setPart(Value result, int64_t columns, int64_t parts, int64_t all) {
    result.setType(rowsOf(result).clone({ShapedType::kDynamic, columns}));
    distributions[result].parts = parts;
    distributions[result].columns = all;
  }

  /// An op that computes the rank's columns from the rank's columns.
  LogicalResult rewritePart(ShardInterface op) {
    int64_t parts = 0, columns = 0, all = 0;
    for (Value operand : op->getOperands()) {
      if (!rowsOf(operand))
        continue;
      int64_t found = partsOf(operand);
      if (found == 0 || (parts != 0 && found != parts))
        return op->emitError() << "reads columns that are divided in " << std::max(found, parts)
                               << " parts beside columns in " << std::max<int64_t>(1, std::min(found, parts));
      parts = found;
      columns = rowsOf(operand).getDimSize(1);
      all = distributions.lookup(operand).columns;
    }
    if (failed(divideWeights(op, parts)))
      return failure();
    op.makePart(ranks);
    for (Value result : op->getResults())
      if (rowsOf(result))
        setPart(result, columns, parts, all);
    return success();
  }

  LogicalResult divideWeights(ShardInterface op, int64_t parts) {
    for (StringRef attribute : op.getWeightsOfColumns()) {
      FailureOr<FlatSymbolRefAttr> weight =
          weights.divide(op, op->getAttrOfType<FlatSymbolRefAttr>(attribute), {Axis::Rows, parts, 0});
      if (failed(weight))
        return failure();
      op->setAttr(attribute, *weight);
    }
    return success();
  }

  /// The tokens of `sample` once more, from the best token of each rank: for steps that need no logits but these. They
  /// are a result of the function, behind those of `sample`.
  void addCandidates(SampleOp sample) {
    Operation *terminator = sample->getBlock()->getTerminator();
    auto returned = llvm::find(terminator->getOperands(), sample.getResult());
    if (returned == terminator->getOperands().end())
      return;
    OpBuilder builder(sample);
    Value logits = sample.getLogits();
    int64_t vocabulary = distributions.lookup(logits).columns;
    auto rows = [&](int64_t columns) {
      return RankedTensorType::get({ShapedType::kDynamic, columns}, builder.getF32Type());
    };
    Value candidates = SampleCandidateOp::create(builder, nameOf(sample, ".sample_candidate"), rows(2), logits,
                                                 sample.getBatch(), builder.getI64IntegerAttr(vocabulary));
    candidates = AllGatherOp::create(builder, nameOf(sample, ".gather_candidates"), rows(2 * ranks), candidates);
    Value tokens =
        SampleMergeOp::create(builder, nameOf(sample, ".sample_merge"), sample.getResult().getType(), candidates);
    terminator->insertOperands(returned.getIndex() + 1, tokens);
  }

  /// A norm of rows whose columns are divided: the ranks add up their squares.
  LogicalResult rewriteNorm(NormInterface norm) {
    if (norm.subtractsMean())
      return norm->emitError()
             << "is over rows that " << ranks
             << " ranks divide, and subtracts their mean; only norms of mean squares are supported there";
    Value input = norm.getInput();
    Distribution whole = distributions.lookup(input);
    if (failed(divideWeights(cast<ShardInterface>(norm.getOperation()), whole.parts)))
      return failure();
    OpBuilder builder(norm);
    auto type = RankedTensorType::get({ShapedType::kDynamic, 1}, builder.getF32Type());
    Value squares = SumOfSquaresOp::create(builder, nameOf(norm, ".sum_of_squares"), type, input);
    squares = AllReduceOp::create(builder, nameOf(norm, ".all_reduce"), squares);
    // Where ranks have the same part, its squares are in the sum several times.
    Value result = RmsScaleOp::create(builder, norm->getLoc(), input.getType(), input, squares, norm.getWeightAttr(),
                                      builder.getFloatAttr(builder.getF64Type(), norm.getEps()),
                                      builder.getI64IntegerAttr(whole.columns * (ranks / whole.parts)),
                                      builder.getFloatAttr(builder.getF64Type(), norm.getWeightOffset()));
    norm->getResult(0).replaceAllUsesWith(result);
    distributions[result] = whole;
    norm->erase();
    return success();
  }

  /// A sum of which parts are not summed over the ranks yet: it stays so, since something may be added to them.
  LogicalResult delaySum(Operation *op) {
    OpBuilder builder(op);
    Distribution sum;
    auto add = [&](Value &to, Value value) {
      to = to && value ? Value(AddOp::create(builder, op->getLoc(), to, value)) : to ? to : value;
    };
    for (Value operand : op->getOperands()) {
      if (partsOf(operand) > 0)
        return op->emitError() << "adds columns that are divided among ranks to rows that are not";
      Distribution known = isPending(operand) ? distributions.lookup(operand) : Distribution();
      if (!known.partial) {
        FailureOr<Value> value = whole(operand, op);
        if (failed(value))
          return failure();
        known.rest = *value;
      }
      add(sum.partial, known.partial);
      add(sum.rest, known.rest);
      sum.biases.append(known.biases);
    }
    distributions[op->getResult(0)] = std::move(sum);
    replaced.push_back(op);
    return success();
  }
};

struct ShardPass : inlay::impl::ShardPassBase<ShardPass> {
  using ShardPassBase::ShardPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (module->hasAttr(kRanksAttr)) {
      module.emitError() << "is divided among " << getRanks(module) << " ranks already";
      return signalPassFailure();
    }
    if (tensorParallelSize < 1 || vocabularyPadding < 1) {
      module.emitError() << "has the tensor-parallel-size " << tensorParallelSize << " and the vocabulary-padding "
                         << vocabularyPadding << ", expected at least 1";
      return signalPassFailure();
    }
    if (tensorParallelSize == 1)
      return;
    ShardedWeights weights(module);
    module->setAttr(kRanksAttr, Builder(module).getI64IntegerAttr(tensorParallelSize));
    for (auto function : module.getOps<func::FuncOp>()) {
      ShardPlan plan;
      if (failed(plan.find(function)) || failed(plan.check(tensorParallelSize)) ||
          failed(Sharder(plan, weights, tensorParallelSize, vocabularyPadding).run(function)))
        return signalPassFailure();
    }
    weights.eraseUnused();
  }
};

} // namespace
