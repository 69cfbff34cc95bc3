//===- NormPrologue.h - a norm of rows in front of a product ---------------===//
//
// A norm is statistics of each row, a scale and a shift: y = (x - mean) / rms * w + b.
// One without a mean scales rows by its weight before the product and the product's rows
// by 1/rms, since the sum of squares is known only at the end of the loop that reads x
// anyway. A norm that subtracts the mean needs its statistics first: a loop over the rows
// comes before that of the product.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_NORMPROLOGUE_H
#define INLAY_PASSES_LLM_TO_TILE_NORMPROLOGUE_H

#include "passes/llm_to_tile/Elementwise.h"

namespace inlay {

class NormPrologue {
public:
  /// Loads columns from `at` on of the rows.
  using LoadRows = llvm::function_ref<mlir::Value(mlir::Value at, int64_t columns)>;

  /// `norm`: null where there is none. `k`: the columns of a row; `shape`: the tile of the product.
  NormPrologue(llm::NormInterface norm, int64_t k, LinearTile shape, ProgramBuilder &b)
      : norm(norm), k(k), shape(shape), b(b) {}

  /// Gives weight and bias their places among the arguments.
  void declareViews();
  /// The loop over the rows before that of the product, if the norm takes one.
  void emitStatistics(LoadRows loadRows);
  /// Whether the loop of the product sums squares along k beside it.
  bool sumsSquares() { return norm && !norm.subtractsMean(); }
  /// Adds the squares of the tile `x` to `sum`.
  mlir::Value addSquares(mlir::Value sum, mlir::Value x);
  /// What the product takes of the tile `x`, whose first column is `at`.
  mlir::Value apply(mlir::Value x, mlir::Value at);
  /// The rows `product`, with what could not be done before it; `squares`: the sum of them.
  mlir::Value finish(mlir::Value product, mlir::Value squares);

private:
  mlir::Value insideRow(mlir::Value tile, mlir::Value at);
  mlir::Value center(mlir::Value x, mlir::Value means);

  llm::NormInterface norm;
  int64_t k;
  LinearTile shape;
  ProgramBuilder &b;
  mlir::Value mean, inverse; // of each row, where the norm subtracts the mean
};

} // namespace inlay

#endif // INLAY_PASSES_LLM_TO_TILE_NORMPROLOGUE_H
