//===- Materialization.h - which tiles lie in memory -----------------------===//
//
// A tile is an expression, computed a vector at a time in the loop of what consumes
// it, unless that repeats costly work or would read memory after it has been
// overwritten. Those that this names are computed once, where they are defined.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_TILE_TO_CPU_MATERIALIZATION_H
#define INLAY_CODEGEN_TILE_TO_CPU_MATERIALIZATION_H

#include "dialects/tile/Tile.h"
#include "llvm/ADT/DenseSet.h"

namespace inlay::cpu {

/// Whether the op's tiles can be computed element by element where they are used.
bool isExpression(mlir::Operation *op);

/// The results of expressions of `program` that are computed once and kept in memory.
llvm::DenseSet<mlir::Value> tilesToMaterialize(tile::ProgramOp program);

} // namespace inlay::cpu

#endif // INLAY_CODEGEN_TILE_TO_CPU_MATERIALIZATION_H
