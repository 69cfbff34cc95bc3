//===- EvaluatorStep.h - what the parts of the evaluator share -------------===//

#ifndef INLAY_DIALECTS_LLM_EVALUATORSTEP_H
#define INLAY_DIALECTS_LLM_EVALUATORSTEP_H

#include "dialects/llm/Evaluator.h"
#include "llvm/ADT/StringMap.h"

namespace inlay::llm {

/// The values of one evaluation on one rank.
struct Step {
  /// What was computed for a value of the graph. The verifier has checked that its type stands for a `T`.
  template <typename T> const T &get(mlir::Value value) const { return std::get<T>(*values.at(value)); }
  const Matrix &rows(mlir::Value value) const { return get<Matrix>(value); }

  void set(mlir::Value value, GraphValue result) {
    values[value] = std::make_shared<const GraphValue>(std::move(result));
  }

  llvm::DenseMap<mlir::Value, std::shared_ptr<const GraphValue>> values;
  int64_t rank = 0;
  /// The rank's part of the weight that an op names.
  std::function<mlir::FailureOr<const Matrix *>(mlir::Operation *, mlir::FlatSymbolRefAttr)> weight;
};

/// Evaluates an op on all ranks.
using EvaluateFunction = mlir::LogicalResult (*)(llvm::MutableArrayRef<Step>, mlir::Operation *);
/// By the names of ops.
using EvaluatorTable = llvm::StringMap<EvaluateFunction>;

/// The number of the nearest code of e4m3, ties to even; what is larger than 448 becomes that. NaN stays NaN.
double nearestE4M3(double x);

/// Checks that rows meet as many others.
mlir::LogicalResult verifyRows(mlir::Operation *op, int64_t found, llvm::StringRef of, int64_t expected);

mlir::LogicalResult evaluate(Step &step, QuantizeOp op);
mlir::LogicalResult evaluate(Step &step, LinearOp op);

/// Adds the ops that each rank evaluates alone.
void addOpsOfOneRank(EvaluatorTable &table);

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_EVALUATORSTEP_H
