//===- ApplyStream.cpp - a product of few rows whose weights are streamed --===//
//
// Each block owns a range of the weight's rows, in tiles. Its warps share K: each multiplies
// its part, and tile.warp_reduce adds the sums. One row is brought into shared memory before
// the loop; of several, each step along K loads its part, some steps ahead. What the epilogue
// reads is read before the loop, since a load takes long while weights are streamed.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/tile/LinearBody.h"
#include "llvm/ADT/SetVector.h"

#include <functional>

using namespace mlir;
using namespace inlay;

namespace {
/// A loop of so many steps is unrolled where registers have fixed names: activations are loaded ahead.
constexpr int64_t kMostUnrolled = 16;

class StreamBody : LinearBody {
public:
  StreamBody(tile::ProgramOp program, tile::ProgramOp old, const MainLoop &loop)
      : LinearBody(program, old, loop), schedule(cast<tile::StreamAttr>(program.getScheduleAttr())) {}
  LogicalResult build();

private:
  /// What the product takes of some columns, and the part of each sum along k.
  struct Rows {
    Value lhs;
    SmallVector<Value> sums;
  };
  /// A piece of the epilogue, of which what depends on no sum is there.
  struct Piece {
    Value number, isLive;
    IRMapping mapping;
  };

  bool isOneRow() const { return schedule.getRows() == 1; }
  Value least(Value x, Value y) { return b.createOrFold<arith::MinSIOp>(x, y); }
  Value less(Value x, Value y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y); }
  LogicalResult checkShape();
  void findLateOps();
  LogicalResult cloneInvariants();
  void widen(Operation *op, Operation *from, int64_t width);
  SmallVector<Value> loadRows(Value k, int64_t width);
  Rows transform(ArrayRef<Value> loaded, int64_t width);
  FailureOr<Piece> startPiece(Value number, Value batch);
  void finishPiece(Piece &piece, ValueRange reduced);
  void dropMissingRows(tile::ScatterOp scatter);
  SmallVector<Value> products(Value batch);
  void stageRow();
  LogicalResult pass(Value batch);

  tile::StreamAttr schedule;
  int64_t tilesOfBlock = 0;
  Value row, rows;  // the block's first row of activations, and how many the step has
  Value first, end; // the block's tiles of weights
  Value warp, firstK, steps;
  IRMapping outside;                       // what the loop uses from outside
  llvm::SetVector<Operation *> loads;      // of the loop, without the weights
  llvm::SmallPtrSet<Operation *, 32> late; // of the epilogue: what depends on sums, or writes
  Value staged;                            // the one row
  SmallVector<Value> stagedSums;
};
} // namespace

//===----------------------------------------------------------------------===//
// The program as it was
//===----------------------------------------------------------------------===//

LogicalResult StreamBody::checkShape() {
  int64_t rows = schedule.getRows(), step = schedule.getTileK(), padded = llvm::alignTo(loop.k, tile::kAtomColumns);
  if (loop.tokens != rows)
    return program.emitError("has tiles of ") << loop.tokens << " rows, and a schedule for " << rows;
  if (padded % step != 0)
    return program.emitError("has ") << padded << " columns of packed weights; expected a multiple of tile_k, " << step;
  if (loop.columns % schedule.getTileColumns() != 0)
    return program.emitError("has tiles of ")
           << loop.columns << " columns; expected a multiple of tile_columns, " << schedule.getTileColumns();
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
    for (Value operand : op->getOperands())
      bring(operand);
    b.clone(*op, outside);
  };
  for (Operation &op : loop.loop.getBody()->without_terminator())
    if (&op != loop.weight && &op != loop.dot)
      for (Value operand : op.getOperands())
        bring(operand);
  for (Operation &op : loop.loop.getBody()->without_terminator())
    if (isa<tile::LoadOp, tile::GatherOp>(op) && &op != loop.weight)
      loads.insert(&op);
  return success();
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Gives the tiles of `op`, a copy of `from` in the loop, `width` columns along k.
void StreamBody::widen(Operation *op, Operation *from, int64_t width) {
  for (auto [result, original] : llvm::zip_equal(op->getResults(), from->getResults())) {
    auto type = dyn_cast<RankedTensorType>(original.getType());
    if (!type)
      continue;
    SmallVector<int64_t> shape(type.getShape());
    Slot slot = Slot::ofUse(original);
    for (unsigned dim = 0; dim < shape.size(); ++dim)
      if (dimensions.areSame(slot, dim, loop.dot.getLhs(), 1))
        shape[dim] = width;
    auto wide = RankedTensorType::get(shape, type.getElementType());
    result.setType(wide);
    if (auto constant = dyn_cast<arith::ConstantOp>(op))
      if (auto splat = dyn_cast<SplatElementsAttr>(constant.getValue()))
        constant.setValueAttr(DenseElementsAttr::get(wide, splat.getSplatValue<Attribute>()));
  }
}

/// Loads what the loop loads at `k`, without the weights, in the order of `loads`.
SmallVector<Value> StreamBody::loadRows(Value k, int64_t width) {
  IRMapping mapping = outside;
  mapping.map(loop.loop.getInductionVar(), k);
  SmallVector<Value> loaded;
  for (Operation &op : loop.loop.getBody()->without_terminator()) {
    bool isOffset = op.getNumResults() == 1 && op.getResult(0).getType().isIndex();
    if (!isOffset && !loads.contains(&op))
      continue;
    Operation *copy = b.clone(op, mapping);
    widen(copy, &op, width);
    if (loads.contains(&op))
      loaded.push_back(copy->getResult(0));
  }
  return loaded;
}

/// Does with `loaded` what the loop does before its product.
StreamBody::Rows StreamBody::transform(ArrayRef<Value> loaded, int64_t width) {
  IRMapping mapping = outside;
  for (auto [op, value] : llvm::zip_equal(loads, loaded))
    mapping.map(op->getResult(0), value);
  // What reaches the product and the sums.
  llvm::SetVector<Operation *> wanted;
  std::function<void(Value)> want = [&](Value value) {
    Operation *op = value.getDefiningOp();
    if (!op || !loop.loop->isAncestor(op) || mapping.contains(value) || !wanted.insert(op))
      return;
    for (Value operand : op->getOperands())
      want(operand);
  };
  want(loop.dot.getLhs());
  SmallVector<Value> parts;
  for (const RowSum &sum : loop.sums) {
    Value added = loop.loop.getBody()->getTerminator()->getOperand(sum.result.getResultNumber());
    parts.push_back(added.getDefiningOp<arith::AddFOp>().getRhs());
    want(parts.back());
  }
  for (Operation &op : loop.loop.getBody()->without_terminator())
    if (wanted.contains(&op))
      widen(b.clone(op, mapping), &op, width);
  Rows rows{mapping.lookup(loop.dot.getLhs()), {}};
  for (Value part : parts)
    rows.sums.push_back(mapping.lookup(part));
  return rows;
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
// Products
//===----------------------------------------------------------------------===//

/// This warp's sums for the tiles from `batch` on, side by side, and its part of the sums along k.
SmallVector<Value> StreamBody::products(Value batch) {
  int64_t rows = schedule.getRows(), cols = schedule.getTileColumns(), step = schedule.getTileK();
  int64_t tiles = schedule.getTiles(), depth = isOneRow() ? 0 : schedule.getDepth();
  bool isSwapped = cols == 16;
  Type f32 = b.getF32Type();
  auto sumType = isSwapped ? RankedTensorType::get({cols, rows}, f32) : RankedTensorType::get({rows, cols}, f32);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
  SmallVector<Value> carried(tiles, zero);
  if (!isOneRow()) {
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(RankedTensorType::get({rows}, f32)));
    carried.append(loop.sums.size(), none);
    for (int64_t i = 0; i < depth; ++i)
      carried.append(loadRows(add(firstK, index(i * step)), step));
  }
  auto over = scf::ForOp::create(b, index(0), steps, index(1), carried);
  if (depth > 0 && getConstantIntValue(steps) && *getConstantIntValue(steps) <= kMostUnrolled)
    over->setAttr(tile::kUnrollAttr, b.getUnitAttr());
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(over.getBody());
    Value offset = mul(over.getInductionVar(), step), k = add(firstK, offset);
    ValueRange arguments = over.getRegionIterArgs();
    Rows own;
    SmallVector<Value> ahead(arguments.drop_front(tiles + loop.sums.size() * !isOneRow()));
    if (isOneRow()) {
      own.lhs = slice(staged, b.getIndexAttr(0), offset, 1, step);
    } else {
      ArrayRef<Value> now = ArrayRef(ahead).take_front(loads.size());
      own = transform(now, step);
      SmallVector<Value> next = loadRows(add(k, index(depth * step)), step);
      ahead.erase(ahead.begin(), ahead.begin() + static_cast<int64_t>(loads.size()));
      ahead.append(next);
    }
    SmallVector<Value> results;
    auto weights = loop.weight.getView().getType();
    bool isEven = columns() % (schedule.getBlocks() * tiles * cols) == 0; // each block has whole passes
    for (int64_t i = 0; i < tiles; ++i) {
      // Past the block's last tile there is nothing: the end of the view.
      Value tile = add(batch, index(i)), column = mul(tile, cols);
      if (!isEven)
        column = arith::SelectOp::create(b, less(tile, end), column, index(llvm::alignTo(columns(), cols)));
      Value w = tile::LoadOp::create(b, RankedTensorType::get({cols, step}, weights.getElementType()),
                                     argument(loop.weight.getView()), ValueRange{column, k});
      results.push_back(tile::DotOp::create(b, isSwapped ? w : own.lhs, isSwapped ? own.lhs : w, arguments[i],
                                            /*transpose_rhs=*/true));
    }
    for (auto [i, part] : llvm::enumerate(own.sums))
      results.push_back(arith::AddFOp::create(b, arguments[tiles + i], part));
    results.append(ahead);
    scf::YieldOp::create(b, results);
  }
  SmallVector<Value> sums(over.getResults().take_front(tiles));
  if (isSwapped)
    for (Value &sum : sums)
      sum = tile::TransposeOp::create(b, RankedTensorType::get({rows, cols}, f32), sum);
  SmallVector<Value> result{sums.front()};
  if (tiles > 1)
    result.front() = tensor::ConcatOp::create(b, /*dim=*/1, sums);
  if (isOneRow())
    result.append(stagedSums);
  else
    llvm::append_range(result, over.getResults().slice(tiles, loop.sums.size()));
  return result;
}

/// Brings this warp's part of the one row into shared memory.
void StreamBody::stageRow() {
  int64_t width = schedule.share(loop.k) * schedule.getTileK();
  Rows rows = transform(loadRows(firstK, width), width);
  staged = tile::StageOp::create(b, rows.lhs);
  stagedSums = rows.sums;
}

/// The tiles from `batch` on. A single pass brings the row after the epilogue's operands are under way.
LogicalResult StreamBody::pass(Value batch) {
  SmallVector<Piece> pieces;
  for (int64_t i = 0; i < schedule.getTiles(); i += schedule.getWarps()) {
    FailureOr<Piece> piece = startPiece(add(warp, index(i)), batch);
    if (failed(piece))
      return failure();
    pieces.push_back(std::move(*piece));
  }
  if (isOneRow() && !staged)
    stageRow();
  SmallVector<Value> sums = products(batch);
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
  Value block = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
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
  if (tilesOfBlock <= schedule.getTiles())
    return pass(first);
  if (isOneRow())
    stageRow();
  auto over = scf::ForOp::create(b, first, end, index(schedule.getTiles()));
  b.setInsertionPointToStart(over.getBody());
  return pass(over.getInductionVar());
}

LogicalResult inlay::applyStream(tile::ProgramOp program, tile::ProgramOp old, const MainLoop &loop) {
  return StreamBody(program, old, loop).build();
}
