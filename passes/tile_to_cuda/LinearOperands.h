//===- LinearOperands.h - what the family matvec takes ---------------------===//
//
// What the family matvec asks of a program's operands, and how many rows it computes.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_LINEAROPERANDS_H
#define INLAY_PASSES_TILE_TO_CUDA_LINEAROPERANDS_H

#include "passes/tile/MainLoop.h"
#include "passes/tile_to_cuda/Families.h"
#include "passes/tile_to_cuda/KernelBuilder.h"

namespace inlay {
/// Fails with a diagnostic unless the weights are packed as `atom_8x64`.
mlir::LogicalResult requirePackedWeights(tile::ProgramOp program, MainLoop &loop, llvm::StringRef family);

/// The rows that the tiles along the grid's y compute; without that dimension the program's one tile. They end with the
/// step, or with the view that is read where the grid is a constant.
class LayerRows {
public:
  LayerRows(tile::ProgramOp program, MainLoop &loop);

  /// How many there are.
  mlir::Value count(KernelBuilder &b) const;
  /// The tiles of `rows` rows that they have.
  cuda::Count tilesOf(int64_t rows) const;
  /// The size of the step that they end with.
  std::optional<uint32_t> size;
  /// Where the grid says so, they are no more than these.
  std::optional<int64_t> most;
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_LINEAROPERANDS_H
