//===- LinearEpilogue.h - what follows a linear layer's product ------------===//
//
// Where the sums of a tile lie in shared memory, each thread takes pairs of
// neighbouring columns and runs the program's epilogue on them. Several pairs go
// together: what they read is read before any of them is stored, since one by one
// each would wait for the one before.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_LINEAREPILOGUE_H
#define INLAY_PASSES_TILE_TO_CUDA_LINEAREPILOGUE_H

#include "passes/tile/MainLoop.h"
#include "passes/tile_to_cuda/Elements.h"

namespace inlay {
class LinearEpilogue {
public:
  /// `tileColumns`: of the kernel's tile, whose last may reach past the layer's columns. `views` gives the kernel's
  /// pointer of a view.
  LinearEpilogue(KernelBuilder &builder, tile::ProgramOp program, const MainLoop &loop, int64_t tileColumns,
                 std::function<mlir::Value(mlir::Value)> views)
      : b(builder), program(program), loop(loop), tileColumns(tileColumns), views(std::move(views)) {}

  /// Reads what the pair at `row` and `column`, `column + 1` of the layer needs beside its sums. `isOwned`: whether the
  /// thread stores it, as far as the row decides.
  void read(mlir::Value row, mlir::Value column, mlir::Value even, mlir::Value odd, mlir::Value isOwned);

  /// Stores the pairs that were read; failure, with a diagnostic, if one cannot be computed.
  mlir::LogicalResult write();

private:
  KernelBuilder &b;
  tile::ProgramOp program;
  MainLoop loop;
  int64_t tileColumns;
  std::function<mlir::Value(mlir::Value)> views;
  struct Pair {
    std::unique_ptr<Elements> elements;
    mlir::Value row, isOwned;
  };
  std::vector<Pair> pairs;
  bool hasFailed = false;
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_LINEAREPILOGUE_H
