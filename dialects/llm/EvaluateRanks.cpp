//===- EvaluateRanks.cpp - functions, on one rank or several ---------------===//
//
// All ranks evaluate an op before the next one. So a collective has the operands of all of
// them, and needs no threads.
//
//===----------------------------------------------------------------------===//

#include "dialects/llm/EvaluatorStep.h"
#include "dialects/llm/WeightReader.h"

using namespace mlir;
using namespace inlay::llm;

static int64_t columnsOf(Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(1); }

static LogicalResult evaluate(MutableArrayRef<Step> steps, AllReduceOp op) {
  Matrix sum = steps.front().rows(op.getInput());
  for (const Step &step : steps.drop_front())
    for (auto [x, y] : llvm::zip_equal(sum.values, step.rows(op.getInput()).values))
      x += y;
  for (Step &step : steps)
    step.set(op.getResult(), sum);
  return success();
}

static LogicalResult evaluate(MutableArrayRef<Step> steps, AllGatherOp op) {
  Matrix all(steps.front().rows(op.getInput()).rows, columnsOf(op.getResult()));
  for (int64_t i = 0; i < all.rows; ++i) {
    auto to = all.row(i);
    for (const Step &step : steps) {
      ArrayRef<double> from = step.rows(op.getInput()).row(i).take_front(to.size());
      to = MutableArrayRef(llvm::copy(from, to.begin()), to.end());
    }
  }
  for (Step &step : steps)
    step.set(op.getResult(), all);
  return success();
}

static LogicalResult evaluateBlock(MutableArrayRef<Step> steps, Block &block);

static LogicalResult evaluate(MutableArrayRef<Step> steps, GroupOp op) {
  Block &body = op.getBody().front();
  if (failed(evaluateBlock(steps, body)))
    return failure();
  for (Step &step : steps)
    for (auto [outer, inner] : llvm::zip(op.getResults(), body.getTerminator()->getOperands())) {
      std::shared_ptr<const GraphValue> value = step.values.at(inner); // a copy: the insertion may move the map
      step.values[outer] = std::move(value);
    }
  return success();
}

/// Adds ops that the ranks evaluate together.
template <typename... Ops> static void addOpsOfAllRanks(EvaluatorTable &table) {
  (table.try_emplace(
       Ops::getOperationName(),
       [](MutableArrayRef<Step> steps, Operation *op) -> LogicalResult { return evaluate(steps, cast<Ops>(op)); }),
   ...);
}

static EvaluatorTable makeTable() {
  EvaluatorTable table;
  addOpsOfOneRank(table);
  addOpsOfAllRanks<AllGatherOp, AllReduceOp, GroupOp>(table);
  return table;
}

static LogicalResult evaluateBlock(MutableArrayRef<Step> steps, Block &block) {
  static const EvaluatorTable table = makeTable();
  for (Operation &op : block.without_terminator()) {
    auto it = table.find(op.getName().getStringRef());
    if (it == table.end())
      return op.emitOpError() << "has no case in the reference evaluator (dialects/llm/Evaluator.cpp)";
    if (failed(it->second(steps, &op)))
      return failure();
  }
  return success();
}

/// Checks that `argument` is what `type` stands for.
static LogicalResult verifyArgument(func::FuncOp function, unsigned index, const GraphValue &argument) {
  Type type = function.getArgumentTypes()[index];
  auto fail = [&](const Twine &found) {
    return function.emitError() << "argument " << index << " of @" << function.getSymName() << " is " << type
                                << ", found " << found;
  };
  if (auto tensor = dyn_cast<RankedTensorType>(type)) {
    if (tensor.getElementType().isInteger(32))
      return std::holds_alternative<TokenIds>(argument) ? success() : fail("no token ids");
    auto *matrix = std::get_if<Matrix>(&argument);
    if (!matrix || tensor.getRank() != 2)
      return fail("no matrix");
    return matrix->columns == tensor.getDimSize(1) ? success() : fail(Twine(matrix->columns) + " columns");
  }
  if (isa<KvCacheType>(type))
    return std::holds_alternative<KvCache>(argument) ? success() : fail("no cache");
  auto *batch = std::get_if<Batch>(&argument);
  if (!batch || !isa<BatchType>(type))
    return fail("no batch");
  if (batch->sequences.size() != batch->positions.size())
    return fail(Twine(batch->sequences.size()) + " sequences and " + Twine(batch->positions.size()) + " positions");
  if (!batch->temperatures.empty() && batch->temperatures.size() != batch->logitRows.size())
    return fail(Twine(batch->temperatures.size()) + " temperatures for " + Twine(batch->logitRows.size()) +
                " rows of logits");
  return success();
}

Evaluator::Evaluator(TensorReader reader, int64_t ranks) {
  for (int64_t rank = 0; rank < ranks; ++rank)
    weights.push_back(std::make_unique<WeightReader>(reader, rank, ranks));
}
Evaluator::~Evaluator() = default;

FailureOr<std::vector<GraphValue>> Evaluator::evaluate(func::FuncOp function, ArrayRef<GraphValue> arguments) {
  FailureOr<std::vector<std::vector<GraphValue>>> results =
      evaluateRanks(function, std::vector<GraphValue>(arguments.begin(), arguments.end()));
  if (failed(results))
    return failure();
  return std::move(results->front());
}

/// Gives the parameters of `function` their values.
static LogicalResult setArguments(Step &step, func::FuncOp function, ArrayRef<GraphValue> arguments) {
  if (arguments.size() != function.getNumArguments())
    return function.emitError() << "@" << function.getSymName() << " takes " << function.getNumArguments()
                                << " arguments, found " << arguments.size();
  for (auto [i, argument] : llvm::enumerate(arguments)) {
    if (failed(verifyArgument(function, i, argument)))
      return failure();
    step.set(function.getArgument(i), argument);
  }
  return success();
}

FailureOr<std::vector<std::vector<GraphValue>>> Evaluator::evaluateRanks(func::FuncOp function,
                                                                         ArrayRef<std::vector<GraphValue>> arguments) {
  if (size_t ranks = getRanks(function); arguments.size() != ranks || weights.size() != ranks)
    return function.emitError() << "@" << function.getSymName() << " is for " << ranks << " ranks, found arguments of "
                                << arguments.size() << " and weights of " << weights.size();
  std::vector<Step> steps(arguments.size());
  for (auto [rank, step] : llvm::enumerate(steps)) {
    step.rank = static_cast<int64_t>(rank);
    step.weight = [reader = weights[rank].get()](Operation *user, FlatSymbolRefAttr name) {
      return reader->read(user, name);
    };
    if (failed(setArguments(step, function, arguments[rank])))
      return failure();
  }
  Block &body = function.getBody().front();
  if (failed(evaluateBlock(steps, body)))
    return failure();
  std::vector<std::vector<GraphValue>> results(steps.size());
  for (auto [step, result] : llvm::zip(steps, results))
    for (Value value : body.getTerminator()->getOperands())
      result.push_back(*step.values.at(value));
  return results;
}
