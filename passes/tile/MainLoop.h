//===- MainLoop.h - the loop over k of a linear layer's program ------------===//
//
// What the families of linear layers know how to turn into a pipeline: a loop that
// loads a tile of rows and a tile of weights, may scale the rows elementwise by
// vectors along k, may sum functions of them along k, and multiplies. Loops before
// it may sum what must be known of the rows first. Rows that are received from other
// ranks may be added to others and stored.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_MAINLOOP_H
#define INLAY_PASSES_TILE_MAINLOOP_H

#include "dialects/tile/Tile.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <optional>

namespace inlay {
/// A sum along k that the loop carries beside the product: result[i] = sum over k of `element`[i, k].
struct RowSum {
  mlir::OpResult result;
  mlir::Value element;
};

/// A loop along k before the product: what the program must know of whole rows first, such as their mean.
struct RowStatistic {
  mlir::scf::ForOp loop;
  llvm::SmallVector<RowSum> sums; // one for each result
};

/// Scales that each step's product is multiplied by: one for each row or column of the product and `group` elements of
/// K, in a matrix at [row or column, k / group].
struct StepScales {
  tile::LoadOp load; // null where there are none
  int64_t group = 0;
};

struct MainLoop {
  mlir::scf::ForOp loop;
  tile::DotOp dot;
  mlir::OpResult product;        // of the loop
  tile::LoadOp weight;           // of weights, or of their codes
  tile::DequantizeOp dequantize; // what codes become; null where weights are numbers
  /// tile.load, tile.gather or tile.receive_sum of rows; `columnOffset` is added to k to find their column in the view.
  mlir::Operation *rows = nullptr;
  int64_t columnOffset = 0;
  /// Of rows that are a sum over ranks: what is added to them (null: nothing), and what stores what becomes of them.
  /// Each block has the whole row, so that one of them stores it.
  tile::LoadOp residual;
  llvm::SmallVector<tile::StoreOp> stores;
  /// Loads of vectors along k.
  llvm::SmallVector<tile::LoadOp> vectors;
  llvm::SmallVector<RowSum> sums;
  llvm::SmallVector<RowStatistic> statistics; // in the program's order
  /// Whether each step's product is made apart, from 0, and then added to what the loop carries.
  bool addsSteps = false;
  StepScales rowScales, columnScales;     // of steps that are added
  int64_t tokens = 0, columns = 0, k = 0; // the program's tile M x N, and the whole K

  /// Whether the rows reach the product as they are in memory.
  bool isPlain() { return dot.getLhs() == rows->getResult(0) && sums.empty() && statistics.empty(); }
  mlir::Value rowsView() const { return rows->getOperand(0); }
  bool receivesRows() const { return mlir::isa<tile::ReceiveSumOp>(rows); }
};

/// `offset` as `base` plus a constant; none for anything else.
std::optional<int64_t> offsetFrom(mlir::Value offset, mlir::Value base);

/// Finds the one loop of `program`; a diagnostic names the op that does not fit.
mlir::FailureOr<MainLoop> findMainLoop(tile::ProgramOp program);
} // namespace inlay

#endif // INLAY_PASSES_TILE_MAINLOOP_H
