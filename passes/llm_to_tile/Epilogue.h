//===- Epilogue.h - what follows a product or a sum over ranks --------------===//
//
// Ops of a group that change the tile of its anchor before it is stored.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_EPILOGUE_H
#define INLAY_PASSES_LLM_TO_TILE_EPILOGUE_H

#include "passes/llm_to_tile/ProgramBuilder.h"

namespace inlay {
/// A value of the group as a tile of f32, and the column of its first element.
struct TileValue {
  mlir::Value tile;
  mlir::Value column;
};
using EpilogueTiles = llvm::DenseMap<mlir::Value, TileValue>;

/// The tile of a value from outside of the group, in f32: rows from `row` on, columns of the value from `column` on, as
/// large as `shape`. The group may write its result there.
mlir::Value loadResidual(mlir::Value value, mlir::Value row, mlir::Value column, llvm::ArrayRef<int64_t> shape,
                         ProgramBuilder &b);

/// Applies the ops of `group` behind `anchor`, op by op, to `tiles`, and stores what the group yields. What is not
/// among the tiles is read where it is added. Fails after a diagnostic for an op that is no epilogue.
mlir::LogicalResult emitEpilogueOps(llm::GroupOp group, mlir::Operation *anchor, EpilogueTiles &tiles, mlir::Value row,
                                    ProgramBuilder &b);
} // namespace inlay

#endif // INLAY_PASSES_LLM_TO_TILE_EPILOGUE_H
