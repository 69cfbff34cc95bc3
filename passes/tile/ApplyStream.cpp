//===- ApplyStream.cpp - a product of few rows whose weights are streamed --===//

#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/tile/StreamBody.h"

#include <functional>

using namespace mlir;
using namespace inlay;

//===----------------------------------------------------------------------===//
// The program as it was
//===----------------------------------------------------------------------===//

LogicalResult StreamBody::checkShape() {
  int64_t unit = loop.dequantize ? tile::kUnitColumns : tile::kAtomColumns;
  int64_t rows = schedule.getRows(), step = schedule.getTileK(), padded = llvm::alignTo(loop.k, unit);
  if (loop.tokens != rows)
    return program.emitError("has tiles of ") << loop.tokens << " rows, and a schedule for " << rows;
  if (padded % step != 0)
    return program.emitError("has ") << padded << " columns of packed weights; expected a multiple of tile_k, " << step;
  if (loop.columns % schedule.getTileColumns() != 0)
    return program.emitError("has tiles of ")
           << loop.columns << " columns; expected a multiple of tile_columns, " << schedule.getTileColumns();
  if (loop.dequantize && schedule.getTileColumns() != tile::kUnitRows)
    return program.emitError("has codes and tile_columns of ")
           << schedule.getTileColumns() << "; expected " << tile::kUnitRows << ", the rows of a unit of codes";
  if (loop.receivesRows() && !isOneRow())
    return loop.rows->emitError("receives ") << rows << " rows in front of a product, expected one: more are loaded in "
                                             << "each step along k";
  // Past the end of K there must be nothing, as rows are read in whole steps.
  int64_t columns = cast<tile::ViewType>(loop.rowsView().getType()).getShape()[1];
  if (loop.k % step != 0 && loop.columnOffset + loop.k != columns)
    return loop.rows->emitError("reads ") << loop.k << " columns of " << columns << " from column " << loop.columnOffset
                                          << "; where tile_k does not divide them, they must be the view's last ones";
  return success();
}

/// What of the epilogue can only be done after the product.
void StreamBody::findLateOps() {
  for (Operation &op : old.getBody().front().without_terminator()) {
    if (&op == loop.loop)
      continue;
    bool isLate =
        op.walk([&](Operation *inner) {
            for (Value operand : inner->getOperands())
              if (Operation *source = operand.getDefiningOp(); source == loop.loop || late.contains(source))
                return WalkResult::interrupt();
            return isa<tile::StoreOp, tile::ScatterOp>(inner) ? WalkResult::interrupt() : WalkResult::advance();
          }).wasInterrupted();
    if (isLate)
      late.insert(&op);
  }
}

/// Copies what the loop's rows are read by, such as the indices of gathered ones.
LogicalResult StreamBody::cloneInvariants() {
  for (auto [from, to] : llvm::zip_equal(old.getBody().getArguments(), program.getBody().getArguments()))
    outside.map(from, to);
  if (failed(mapOffsets(1, loop.tokens, loop.tokens, row, outside)))
    return failure();
  std::function<void(Value)> bring = [&](Value value) {
    Operation *op = value.getDefiningOp();
    if (!op || outside.contains(value) || loop.loop->isAncestor(op))
      return;
    auto *statistic = llvm::find_if(loop.statistics, [&](const RowStatistic &found) { return found.loop == op; });
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (Operation *source = operand.getDefiningOp(); source && !op->isAncestor(source))
          bring(operand);
    });
    if (statistic != loop.statistics.end())
      shareStatistic(*statistic);
    else
      b.clone(*op, outside);
  };
  for (Operation &op : loop.loop.getBody()->without_terminator())
    if (&op != loop.weight && &op != loop.dot)
      for (Value operand : op.getOperands())
        bring(operand);
  if (!isOneRow())
    for (tile::LoadOp vector : loop.vectors)
      vectors.insert(vector);
  for (Operation &op : loop.loop.getBody()->without_terminator())
    if (isa<tile::LoadOp, tile::GatherOp, tile::ReceiveSumOp>(op) && &op != loop.weight && !vectors.contains(&op))
      loads.insert(&op);
  return success();
}

//===----------------------------------------------------------------------===//
// Epilogue
//===----------------------------------------------------------------------===//

/// Reads what the epilogue of a piece needs beside the sums. Of a piece that is not there, it reads that of the first.
FailureOr<StreamBody::Piece> StreamBody::startPiece(Value number, Value batch) {
  Value tile = add(batch, number);
  Value limit = least(index(schedule.getTiles()), b.createOrFold<arith::SubIOp>(end, batch));
  Piece piece{number, less(number, limit), {}};
  Value column = mul(b.createOrFold<arith::SelectOp>(piece.isLive, tile, first), pieceColumns);
  piece.mapping = outside;
  if (failed(mapOffsets(0, loop.columns, pieceColumns, column, piece.mapping)))
    return failure();
  for (Operation &op : old.getBody().front().without_terminator()) {
    if (&op == loop.loop || late.contains(&op) || isa<tile::ProgramIdOp>(op) ||
        (op.getNumResults() && piece.mapping.contains(op.getResult(0))))
      continue;
    retype(b.clone(op, piece.mapping), &op);
  }
  return piece;
}

/// The rest of it, with the sums of all pieces.
void StreamBody::finishPiece(Piece &piece, ValueRange reduced) {
  auto branch = scf::IfOp::create(b, piece.isLive, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  piece.mapping.map(loop.product, slice(reduced.front(), b.getIndexAttr(0), mul(piece.number, pieceColumns), pieceRows,
                                        pieceColumns));
  for (auto [sum, value] : llvm::zip_equal(loop.sums, reduced.drop_front()))
    piece.mapping.map(sum.result, value);
  for (Operation &op : old.getBody().front().without_terminator())
    if (late.contains(&op)) {
      Operation *copy = b.clone(op, piece.mapping);
      retype(copy, &op);
      if (!isOneRow())
        copy->walk([&](tile::ScatterOp scatter) { dropMissingRows(scatter); });
    }
}

/// Of a tile that is not full, a scatter has no indices for the rows past the end: those that were loaded are 0.
void StreamBody::dropMissingRows(tile::ScatterOp scatter) {
  auto type = cast<RankedTensorType>(scatter.getIndices().getType());
  if (type.getShape() != ArrayRef(loop.tokens))
    return;
  ImplicitLocOpBuilder at(scatter.getLoc(), scatter);
  auto spread = [&](Value number) -> Value {
    Value narrow = arith::IndexCastOp::create(at, at.getI32Type(), number);
    return tensor::SplatOp::create(at, narrow, type);
  };
  Value number = arith::AddIOp::create(at, tile::IotaOp::create(at, type, 0), spread(row));
  Value isThere = arith::CmpIOp::create(at, arith::CmpIPredicate::slt, number, spread(rows));
  Value none = arith::ConstantOp::create(at, DenseElementsAttr::get(type, at.getI32IntegerAttr(-1).getValue()));
  scatter.getIndicesMutable().assign(arith::SelectOp::create(at, isThere, scatter.getIndices(), none));
}

//===----------------------------------------------------------------------===//
// The block
//===----------------------------------------------------------------------===//

/// The tiles from `batch` on. A single pass brings the row after the epilogue's operands are under way.
LogicalResult StreamBody::pass(Value batch, SmallVector<Value> &ahead) {
  SmallVector<Piece> pieces;
  for (int64_t i = 0; i < schedule.getTiles(); i += schedule.getWarps()) {
    FailureOr<Piece> piece = startPiece(add(warp, index(i)), batch);
    if (failed(piece))
      return failure();
    pieces.push_back(std::move(*piece));
  }
  if (isOneRow() && !staged)
    stageRow();
  SmallVector<Value> sums = products(batch, ahead);
  auto reduced = tile::WarpReduceOp::create(b, ValueRange(sums).getTypes(), tile::Reduction::Add, sums);
  for (Piece &piece : pieces)
    finishPiece(piece, reduced.getResults());
  return success();
}

LogicalResult StreamBody::build() {
  if (failed(checkShape()))
    return failure();
  int64_t cols = schedule.getTileColumns(), blocks = schedule.getBlocks();
  int64_t tiles = llvm::divideCeil(columns(), cols), steps = llvm::divideCeil(loop.k, schedule.getTileK());
  int64_t share = schedule.share(loop.k);
  pieceRows = loop.tokens;
  pieceColumns = cols;
  tilesOfBlock = llvm::divideCeil(tiles, blocks);
  setGrid({getAffineConstantExpr(blocks, b.getContext()), rowTiles(loop.tokens)});
  block = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
  row = mul(tile::ProgramIdOp::create(b, b.getIndexType(), 1), loop.tokens);
  rows = rowCount();
  first = div(mul(block, tiles), blocks);
  end = div(mul(add(block, index(1)), tiles), blocks);
  findLateOps();

  auto forWarps = tile::ForWarpsOp::create(b, schedule.getWarps());
  b.setInsertionPointToStart(&forWarps.getBody().front());
  warp = forWarps.getWarp();
  firstK = mul(warp, share * schedule.getTileK());
  // Warps have the whole share, then one the rest, then none.
  this->steps = index(share);
  if (steps % schedule.getWarps() != 0) {
    Value rest = index(0);
    auto from = [&](int64_t first, Value then, Value otherwise) -> Value {
      return b.createOrFold<arith::SelectOp>(less(warp, index(first)), then, otherwise);
    };
    if (steps % share != 0)
      rest = from(steps / share + 1, index(steps % share), rest);
    this->steps = from(steps / share, index(share), rest);
  }
  if (failed(cloneInvariants()))
    return failure();
  stageVectors();
  SmallVector<Value> ahead = firstRows();
  if (isOnePass())
    return pass(first, ahead);
  if (isOneRow())
    stageRow();
  auto over = scf::ForOp::create(b, first, end, index(schedule.getTiles()), ahead);
  b.setInsertionPointToStart(over.getBody());
  SmallVector<Value> carried(over.getRegionIterArgs());
  if (failed(pass(over.getInductionVar(), carried)))
    return failure();
  if (!carried.empty()) {
    b.setInsertionPointToEnd(over.getBody());
    scf::YieldOp::create(b, carried);
  }
  return success();
}

LogicalResult inlay::applyStream(tile::ProgramOp program, tile::ProgramOp old, const MainLoop &loop) {
  return StreamBody(program, old, loop).build();
}
