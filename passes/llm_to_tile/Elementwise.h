//===- Elementwise.h - arithmetic of the llm dialect on tiles --------------===//
//
// What epilogues and prologues of products and programs of rows and heads share:
// the arithmetic of ops with the trait Elementwise and the parts of a norm, in f32.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_ELEMENTWISE_H
#define INLAY_PASSES_LLM_TO_TILE_ELEMENTWISE_H

#include "passes/llm_to_tile/ProgramBuilder.h"

namespace inlay {

/// What `op` computes of tiles of its operands; all are of one shape and of f32. Fails after a diagnostic for an op
/// that is not elementwise.
mlir::FailureOr<mlir::Value> emitElementwise(mlir::Operation *op, mlir::ValueRange operands, ProgramBuilder &b);

/// 1 / sqrt(mean + eps) of the sums of the squares of `size` columns, or of `norm.getSize()`.
mlir::Value emitInverseRms(mlir::Value sumOfSquares, int64_t size, const llvm::APFloat &eps, ProgramBuilder &b);
mlir::Value emitInverseNorm(llm::NormInterface norm, mlir::Value sumOfSquares, ProgramBuilder &b);

/// `columns` elements of the weight `vector` from `at` on in f32; null without one.
mlir::Value loadVector(mlir::FlatSymbolRefAttr vector, mlir::Value at, int64_t columns, ProgramBuilder &b);

/// The tile `x` of f32, whose first column is `at`, times the elements of `weight` plus `offset`.
mlir::Value scaleColumns(mlir::Value x, mlir::FlatSymbolRefAttr weight, const llvm::APFloat &offset, mlir::Value at,
                         ProgramBuilder &b);

/// `columns` elements from `at` on of the norm's weight plus its offset; null if the norm has no weight.
mlir::Value loadNormWeight(llm::NormInterface norm, mlir::Value at, int64_t columns, ProgramBuilder &b);

/// The same of the norm's bias.
mlir::Value loadNormBias(llm::NormInterface norm, mlir::Value at, int64_t columns, ProgramBuilder &b);

} // namespace inlay

#endif // INLAY_PASSES_LLM_TO_TILE_ELEMENTWISE_H
