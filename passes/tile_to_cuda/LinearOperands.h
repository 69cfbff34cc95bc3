//===- LinearOperands.h - what linear layers' families take ----------------===//
//
// What the families of linear layers ask of a program's operands, how many rows they
// compute, and the tensor maps of those that fetch both operands through TMA.
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

/// Fails with a diagnostic unless TMA can fetch both operands: packed weights, and rows as they are in memory.
mlir::LogicalResult requireTmaOperands(tile::ProgramOp program, MainLoop &loop, llvm::StringRef family);

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

/// Gives the kernel the maps of rows, as [rows][K] under the 128-byte swizzle, and of weights, as they lie: their atoms
/// are swizzled already. A box has `tileK` along K and `tileRows` rows or `tileColumns` weights.
void addTmaMaps(MainLoop &loop, const LayerRows &layerRows, int64_t tileRows, int64_t tileColumns, int64_t tileK,
                cuda::KernelOp kernel);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_LINEAROPERANDS_H
