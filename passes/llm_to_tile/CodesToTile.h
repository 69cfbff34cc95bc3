//===- CodesToTile.h - products of rows of codes ---------------------------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_CODESTOTILE_H
#define INLAY_PASSES_LLM_TO_TILE_CODESTOTILE_H

#include "passes/llm_to_tile/ProgramBuilder.h"

namespace inlay {
/// Columns that share a scale in the rows of codes that `linear` multiplies.
int64_t groupOfRows(llm::LinearOp linear);

/// Fails, after a diagnostic, where emitCodeProduct cannot multiply the codes of `linear` by those of `weight`.
mlir::LogicalResult checkCodeProduct(llm::LinearOp linear, llm::WeightOp weight);

/// The product of rows of codes and weights of codes, both as they are in memory, in a tile of `shape` at (row, col):
/// sums of f32, times the scales of rows and columns. Steps of `shape.k` columns lie in one group of columns that share
/// a scale. `k`: the columns of the weight.
mlir::Value emitCodeProduct(llm::LinearOp linear, mlir::Value row, mlir::Value col, LinearTile shape, int64_t k,
                            ProgramBuilder &b);
} // namespace inlay

#endif // INLAY_PASSES_LLM_TO_TILE_CODESTOTILE_H
