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
  /// Weights are those of `rank`, one of `ranks`.
  WeightReader(TensorReader reader, int64_t rank, int64_t ranks)
      : reader(std::move(reader)), rank(rank), ranks(ranks) {}

  /// The weight that `user` names; one of rank 1 is a single row.
  mlir::FailureOr<const Matrix *> read(mlir::Operation *user, mlir::FlatSymbolRefAttr name);

private:
  mlir::LogicalResult load(WeightOp op, Matrix &result);
  mlir::FailureOr<Matrix> readSource(WeightOp op, SourceAttr source, int64_t columns);
  /// Appends the rows of `source` that the rank has, of `columns` elements each.
  mlir::LogicalResult append(WeightOp op, SourceAttr source, int64_t columns, std::vector<double> &values);
  /// The columns of a matrix in the order of their groups, which the tensor `name` has.
  mlir::FailureOr<std::vector<int32_t>> readColumnOrder(WeightOp op, ColumnOrderAttr attribute, mlir::StringAttr name,
                                                        int64_t columns);
  /// Turns codes of scales into scales.
  mlir::LogicalResult expandNested(WeightOp op, NestedAttr nested, std::vector<double> &codes);
  /// Turns codes into numbers.
  mlir::LogicalResult dequantize(WeightOp op, Matrix &codes);

  TensorReader reader;
  int64_t rank, ranks;
  llvm::StringMap<Matrix> known;
};

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_WEIGHTREADER_H
