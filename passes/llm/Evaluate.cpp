//===- Evaluate.cpp - prints what functions compute, for tests -------------===//

#include "dialects/llm/Evaluator.h"
#include "passes/llm/Passes.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_EVALUATEPASS
#include "passes/llm/Passes.h.inc"
} // namespace inlay

/// The attribute that holds the value of a parameter.
static constexpr StringLiteral valueAttribute = "llm.value";

/// The elements of an array attribute of a batch; none if it is absent.
template <typename Array, typename T>
static LogicalResult readArray(func::FuncOp function, DictionaryAttr batch, StringRef name, std::vector<T> &result) {
  Attribute attribute = batch.get(name);
  auto array = dyn_cast_or_null<Array>(attribute);
  if (attribute && !array)
    return function.emitError() << "has the batch attribute '" << name << "' = " << attribute
                                << ", expected an array of " << (std::is_same_v<T, double> ? "f64" : "i64");
  if (array)
    result.assign(array.asArrayRef().begin(), array.asArrayRef().end());
  return success();
}

static FailureOr<GraphValue> readBatch(func::FuncOp function, DictionaryAttr attribute) {
  Batch batch;
  if (failed(readArray<DenseI64ArrayAttr>(function, attribute, "sequences", batch.sequences)) ||
      failed(readArray<DenseI64ArrayAttr>(function, attribute, "positions", batch.positions)) ||
      failed(readArray<DenseI64ArrayAttr>(function, attribute, "rope_rows", batch.ropeRows)) ||
      failed(readArray<DenseI64ArrayAttr>(function, attribute, "logit_rows", batch.logitRows)) ||
      failed(readArray<DenseF64ArrayAttr>(function, attribute, "temperatures", batch.temperatures)))
    return failure();
  return GraphValue(std::move(batch));
}

static FailureOr<GraphValue> readArgument(func::FuncOp function, unsigned index) {
  Type type = function.getArgumentTypes()[index];
  if (isa<KvCacheType>(type))
    return GraphValue(KvCache());
  Attribute attribute = function.getArgAttr(index, valueAttribute);
  if (auto batch = dyn_cast_or_null<DictionaryAttr>(attribute); batch && isa<BatchType>(type))
    return readBatch(function, batch);
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(attribute); dense && isa<RankedTensorType>(type)) {
    if (isa<IntegerType>(dense.getElementType())) {
      TokenIds ids;
      for (const APInt &id : dense.getValues<APInt>())
        ids.push_back(id.getSExtValue());
      return GraphValue(std::move(ids));
    }
    if (auto shape = dense.getType(); shape.getRank() == 2) {
      Matrix matrix;
      matrix.rows = shape.getDimSize(0);
      matrix.columns = shape.getDimSize(1);
      for (const APFloat &element : dense.getValues<APFloat>())
        matrix.values.push_back(element.convertToDouble());
      return GraphValue(std::move(matrix));
    }
  }
  function.emitError() << "argument " << index << " of @" << function.getSymName() << " needs '" << valueAttribute
                       << "', a constant of " << type;
  return failure();
}

/// Prints numbers between blanks, short and without a sign of zero.
template <typename Range> static void printNumbers(raw_ostream &os, const Range &numbers) {
  for (auto number : numbers)
    os << ' ' << llvm::format("%.6g", static_cast<double>(number) + 0.0);
}

static void print(raw_ostream &os, const Matrix &matrix) {
  for (int64_t row = 0; row < matrix.rows; ++row) {
    os << " ";
    printNumbers(os, matrix.row(row));
    os << '\n';
  }
}
static void print(raw_ostream &os, const TokenIds &ids) {
  os << " ";
  printNumbers(os, ids);
  os << '\n';
}
static void print(raw_ostream &os, const KvCache &cache) {
  for (const auto &[layer, sequences] : cache)
    for (const auto &[id, sequence] : *sequences)
      for (int64_t position = 0; position < sequence.keys.rows; ++position) {
        os << "  layer " << layer << " sequence " << id << " position " << position << ": key";
        printNumbers(os, sequence.keys.row(position));
        os << " value";
        printNumbers(os, sequence.values.row(position));
        os << '\n';
      }
}
/// A batch is what a step is asked, and no result.
static void print(raw_ostream &os, const Batch &) { os << "  batch\n"; }

namespace {

struct EvaluatePass : inlay::impl::EvaluatePassBase<EvaluatePass> {
  void runOnOperation() override {
    Evaluator evaluator(
        [](StringRef) -> llvm::Expected<std::vector<double>> {
          return llvm::createStringError("this pass reads no checkpoint; give the weight a value");
        },
        getRanks(getOperation()));
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(evaluate(function, evaluator)))
        return signalPassFailure();
  }

  static LogicalResult evaluate(func::FuncOp function, Evaluator &evaluator) {
    std::vector<GraphValue> arguments;
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      FailureOr<GraphValue> argument = readArgument(function, i);
      if (failed(argument))
        return failure();
      arguments.push_back(std::move(*argument));
    }
    std::vector<std::vector<GraphValue>> ofRanks(getRanks(function), arguments);
    FailureOr<std::vector<std::vector<GraphValue>>> results = evaluator.evaluateRanks(function, ofRanks);
    if (failed(results))
      return failure();
    for (auto [i, result] : llvm::enumerate(results->front())) {
      llvm::outs() << '@' << function.getSymName() << " result " << i << '\n';
      std::visit([](const auto &value) { print(llvm::outs(), value); }, result);
    }
    llvm::outs().flush();
    return success();
  }
};

} // namespace
