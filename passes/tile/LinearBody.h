//===- LinearBody.h - the new body of a linear layer's program -------------===//
//
// What the schedules of linear layers share: rows and columns of the grid, loops, and the
// epilogue of a piece. ApplyLinear.cpp has the families swap_ab and gemm, ApplyStream.cpp the
// family stream.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_LINEARBODY_H
#define INLAY_PASSES_TILE_LINEARBODY_H

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "passes/tile/MainLoop.h"
#include "passes/tile/TileDimensions.h"

namespace inlay {
/// Whether a loop is unrolled on a GPU: fully, never, or as its compiler decides.
enum class Unroll { Full, None, Any };

/// Builds the new body of a program from a copy of the old.
class LinearBody {
public:
  LinearBody(tile::ProgramOp program, tile::ProgramOp old, MainLoop loop)
      : b(program.getLoc(), program), program(program), old(old), loop(loop), dimensions(old) {
    mlir::Operation *end = program.getBody().front().getTerminator();
    while (mlir::Operation *last = end->getPrevNode())
      last->erase();
    b.setInsertionPoint(end);
  }

  mlir::LogicalResult apply(tile::SwapAbAttr schedule);
  mlir::LogicalResult apply(tile::GemmAttr schedule);

protected:
  mlir::Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(b, value); }
  mlir::Value add(mlir::Value x, mlir::Value y) { return b.createOrFold<mlir::arith::AddIOp>(x, y); }
  mlir::Value mul(mlir::Value x, int64_t y) { return b.createOrFold<mlir::arith::MulIOp>(x, index(y)); }
  mlir::Value div(mlir::Value x, int64_t y) { return b.createOrFold<mlir::arith::DivUIOp>(x, index(y)); }
  mlir::Value rem(mlir::Value x, int64_t y) { return b.createOrFold<mlir::arith::RemUIOp>(x, index(y)); }
  mlir::Value ceilDiv(mlir::Value x, int64_t y) { return b.createOrFold<mlir::arith::CeilDivSIOp>(x, index(y)); }
  mlir::Value argument(mlir::Value view) {
    return program.getBody().getArgument(mlir::cast<mlir::BlockArgument>(view).getArgNumber());
  }
  int64_t columns() { return loop.weight.getView().getType().getShape()[0]; }

  llvm::SmallVector<mlir::Value> product(mlir::Value row, int64_t rows, mlir::Value column, int64_t columns,
                                         mlir::Value from, mlir::Value to, int64_t step, bool isSwapped);
  /// A column of a tile.
  struct Column {
    mlir::Value tile; // null where there is none
    mlir::OpFoldResult number;
  };
  Column scalesOfStep(StepScales scales, mlir::Value row, int64_t rows, mlir::Value k);
  mlir::Value scaled(mlir::Value part, Column ofLeft, Column ofRight);
  mlir::Value slice(mlir::Value tile, mlir::OpFoldResult row, mlir::OpFoldResult column, int64_t rows, int64_t columns);
  void forLoop(mlir::Value from, mlir::Value to, int64_t step, llvm::function_ref<void(mlir::Value)> body,
               Unroll unroll = Unroll::Any);
  mlir::Value dequantize(mlir::Value codes, mlir::Value column, mlir::Value k, mlir::Value x);
  void choosePiece(int64_t rows, int64_t tileColumns, int64_t warps, int64_t consumers = 1);
  mlir::Value rowCount();
  mlir::AffineExpr rowTiles(int64_t rows);
  void setGrid(llvm::ArrayRef<mlir::AffineExpr> dims);
  mlir::LogicalResult epilogue(mlir::Value piece, mlir::Value row, mlir::Value column, int64_t tileColumns);
  mlir::LogicalResult mapOffsets(unsigned dim, int64_t tile, int64_t piece, mlir::Value by, mlir::IRMapping &mapping);
  void retype(mlir::Operation *op, mlir::Operation *from);

  mlir::ImplicitLocOpBuilder b;
  tile::ProgramOp program, old;
  MainLoop loop; // of `old`
  TileDimensions dimensions;
  int64_t pieceRows = 0, pieceColumns = 0;
};

/// Rewrites `program`, of which `old` is a copy with the loop `loop`, for its schedule of the family stream.
mlir::LogicalResult applyStream(tile::ProgramOp program, tile::ProgramOp old, const MainLoop &loop);
} // namespace inlay

#endif // INLAY_PASSES_TILE_LINEARBODY_H
