//===- WeightReader.h - the weights of a module as numbers -----------------===//
//
// What recipes make of a checkpoint, in double precision and in the logical order
// of the sources. Codes of quantized weights become the numbers that they stand for.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_WEIGHTREADER_H
#define INLAY_DIALECTS_LLM_WEIGHTREADER_H

#include "dialects/llm/Evaluator.h"
#include "llvm/ADT/StringMap.h"

namespace inlay::llm {

/// Reads weights when an op first asks, and keeps them.
class WeightReader {
public:
  explicit WeightReader(TensorReader reader) : reader(std::move(reader)) {}

  /// The weight that `user` names; one of rank 1 is a single row.
  mlir::FailureOr<const Matrix *> read(mlir::Operation *user, mlir::FlatSymbolRefAttr name);

private:
  mlir::LogicalResult load(WeightOp op, Matrix &result);
  /// Appends the rows of `source`, of `columns` elements each.
  mlir::LogicalResult append(WeightOp op, SourceAttr source, int64_t columns, std::vector<double> &values);
  /// Turns codes of scales into scales.
  mlir::LogicalResult expandNested(WeightOp op, NestedAttr nested, std::vector<double> &codes);
  /// Turns codes into numbers.
  mlir::LogicalResult dequantize(WeightOp op, Matrix &codes);

  TensorReader reader;
  llvm::StringMap<Matrix> known;
};

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_WEIGHTREADER_H
