//===- StreamBody.h - the new body of a program of the family stream -------===//
//
// Each block owns a range of the weight's rows, in tiles. Its warps share K: each multiplies
// its part, and tile.warp_reduce adds the sums. One row is brought into shared memory before
// the loop; of several, each step along K loads its part, some steps ahead. What the epilogue
// reads is read before the loop, since a load takes long while weights are streamed.
// ApplyStream.cpp has the block and its epilogue, StreamProducts.cpp rows and products.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_STREAMBODY_H
#define INLAY_PASSES_TILE_STREAMBODY_H

#include "passes/tile/LinearBody.h"
#include "llvm/ADT/SetVector.h"

namespace inlay {
class StreamBody : LinearBody {
public:
  StreamBody(tile::ProgramOp program, tile::ProgramOp old, const MainLoop &loop)
      : LinearBody(program, old, loop), schedule(mlir::cast<tile::StreamAttr>(program.getScheduleAttr())) {}
  mlir::LogicalResult build();

private:
  /// What the product takes of some columns, and the part of each sum along k.
  struct Rows {
    mlir::Value lhs;
    llvm::SmallVector<mlir::Value> sums;
    llvm::SmallVector<mlir::Value> stored; // by the loop's stores
  };
  /// A piece of the epilogue, of which what depends on no sum is there.
  struct Piece {
    mlir::Value number, isLive;
    mlir::IRMapping mapping;
  };

  bool isOneRow() const { return schedule.getRows() == 1; }
  bool isOnePass() const { return tilesOfBlock <= schedule.getTiles(); }
  mlir::Value least(mlir::Value x, mlir::Value y) { return b.createOrFold<mlir::arith::MinSIOp>(x, y); }
  mlir::Value less(mlir::Value x, mlir::Value y) {
    return mlir::arith::CmpIOp::create(b, mlir::arith::CmpIPredicate::slt, x, y);
  }
  mlir::LogicalResult checkShape();
  void findLateOps();
  mlir::LogicalResult cloneInvariants();
  mlir::Value insideK(mlir::Value tile, mlir::Value at);
  int64_t statisticColumns();
  llvm::SmallVector<mlir::Value> partOfStatistic(const RowStatistic &statistic, mlir::Value at, int64_t width);
  void shareStatistic(const RowStatistic &statistic);
  void widen(mlir::Operation *op, mlir::Operation *from, mlir::Value ofK, int64_t width);
  llvm::SmallVector<mlir::Value> load(const llvm::SetVector<mlir::Operation *> &wanted, mlir::Value k, int64_t width);
  Rows transform(llvm::ArrayRef<mlir::Value> loaded, int64_t width, mlir::Value offset = {});
  llvm::SmallVector<mlir::Value> firstRows();
  mlir::Value stepAhead(mlir::Value step);
  mlir::FailureOr<Piece> startPiece(mlir::Value number, mlir::Value batch);
  void finishPiece(Piece &piece, mlir::ValueRange reduced);
  void dropMissingRows(tile::ScatterOp scatter);
  llvm::SmallVector<mlir::Value> products(mlir::Value batch, llvm::SmallVector<mlir::Value> &ahead);
  llvm::SmallVector<mlir::Value> step(mlir::Value number, mlir::Value batch, mlir::ValueRange carried);
  void stageRow();
  void storeRow(llvm::ArrayRef<mlir::Value> values);
  void stageVectors();
  mlir::LogicalResult pass(mlir::Value batch, llvm::SmallVector<mlir::Value> &ahead);

  tile::StreamAttr schedule;
  int64_t tilesOfBlock = 0;
  mlir::Value row, rows;         // the block's first row of activations, and how many the step has
  mlir::Value block, first, end; // the block's tiles of weights
  mlir::Value warp, firstK, steps;
  mlir::IRMapping outside;                    // what the loop uses from outside
  llvm::SetVector<mlir::Operation *> loads;   // of the loop, without the weights; of several rows without the vectors
  llvm::SetVector<mlir::Operation *> vectors; // of several rows: loads of vectors along k
  llvm::SmallPtrSet<mlir::Operation *, 32> late; // of the epilogue: what depends on sums, or writes
  mlir::Value staged;                            // the one row
  llvm::SmallVector<mlir::Value> stagedSums;
  llvm::SmallVector<mlir::Value> stagedVectors; // this warp's part of each
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_STREAMBODY_H
