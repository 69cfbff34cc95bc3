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
#include "passes/tile/LinearSchedule.h"
#include "llvm/ADT/SetVector.h"

#include <functional>

using namespace mlir;
using namespace inlay;

namespace {
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
  bool isOnePass() const { return tilesOfBlock <= schedule.getTiles(); }
  Value least(Value x, Value y) { return b.createOrFold<arith::MinSIOp>(x, y); }
  Value less(Value x, Value y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y); }
  LogicalResult checkShape();
  void findLateOps();
  LogicalResult cloneInvariants();
  void widen(Operation *op, Operation *from, int64_t width);
  SmallVector<Value> load(const llvm::SetVector<Operation *> &wanted, Value k, int64_t width);
  Rows transform(ArrayRef<Value> loaded, int64_t width, Value offset = {});
  SmallVector<Value> firstRows();
  Value stepAhead(Value step);
  FailureOr<Piece> startPiece(Value number, Value batch);
  void finishPiece(Piece &piece, ValueRange reduced);
  void dropMissingRows(tile::ScatterOp scatter);
  SmallVector<Value> products(Value batch, SmallVector<Value> &ahead);
  SmallVector<Value> step(Value number, Value batch, ValueRange carried);
  void stageRow();
  void stageVectors();
  LogicalResult pass(Value batch, SmallVector<Value> &ahead);

  tile::StreamAttr schedule;
  int64_t tilesOfBlock = 0;
  Value row, rows;  // the block's first row of activations, and how many the step has
  Value first, end; // the block's tiles of weights
  Value warp, firstK, steps;
  IRMapping outside;                       // what the loop uses from outside
  llvm::SetVector<Operation *> loads;      // of the loop, without the weights; of several rows without the vectors
  llvm::SetVector<Operation *> vectors;    // of several rows: loads of vectors along k
  llvm::SmallPtrSet<Operation *, 32> late; // of the epilogue: what depends on sums, or writes
  Value staged;                            // the one row
  SmallVector<Value> stagedSums;
  SmallVector<Value> stagedVectors; // this warp's part of each
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
  if (!isOneRow())
    for (tile::LoadOp vector : loop.vectors)
      vectors.insert(vector);
  for (Operation &op : loop.loop.getBody()->without_terminator())
    if (isa<tile::LoadOp, tile::GatherOp>(op) && &op != loop.weight && !vectors.contains(&op))
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

/// Loads what the loop loads at `k` by the ops `wanted`, in their order.
SmallVector<Value> StreamBody::load(const llvm::SetVector<Operation *> &wanted, Value k, int64_t width) {
  IRMapping mapping = outside;
  mapping.map(loop.loop.getInductionVar(), k);
  SmallVector<Value> loaded;
  for (Operation &op : loop.loop.getBody()->without_terminator()) {
    bool isOffset = op.getNumResults() == 1 && op.getResult(0).getType().isIndex();
    if (!isOffset && !wanted.contains(&op))
      continue;
    Operation *copy = b.clone(op, mapping);
    widen(copy, &op, width);
    if (wanted.contains(&op))
      loaded.push_back(copy->getResult(0));
  }
  return loaded;
}

/// Does with `loaded`, at `offset` of the warp's part of K, what the loop does before its product.
StreamBody::Rows StreamBody::transform(ArrayRef<Value> loaded, int64_t width, Value offset) {
  IRMapping mapping = outside;
  for (auto [op, staged] : llvm::zip_equal(vectors, stagedVectors)) {
    auto type = RankedTensorType::get({width}, cast<RankedTensorType>(staged.getType()).getElementType());
    SmallVector<OpFoldResult> offsets{offset}, sizes{b.getIndexAttr(width)}, strides{b.getIndexAttr(1)};
    mapping.map(op->getResult(0), tensor::ExtractSliceOp::create(b, type, staged, offsets, sizes, strides).getResult());
  }
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

/// The rows of the first steps along k.
SmallVector<Value> StreamBody::firstRows() {
  SmallVector<Value> rows;
  if (isOneRow())
    return rows;
  for (int64_t i = 0; i < schedule.getDepth(); ++i) {
    Value step = index(i);
    // Of fewer steps, those of the next pass.
    if (!isOnePass())
      step = b.createOrFold<arith::RemUIOp>(step, b.createOrFold<arith::MaxSIOp>(steps, index(1)));
    rows.append(load(loads, add(firstK, mul(step, schedule.getTileK())), schedule.getTileK()));
  }
  return rows;
}

/// Where along k the rows lie that are loaded in `step` for a later one: in several passes those of the next pass after
/// the last step, in one pass nothing, past the end of the view.
Value StreamBody::stepAhead(Value step) {
  int64_t width = schedule.getTileK();
  Value later = add(step, index(schedule.getDepth()));
  if (!isOnePass())
    return add(firstK, mul(b.createOrFold<arith::RemUIOp>(later, steps), width));
  int64_t end = cast<tile::ViewType>(loop.rowsView().getType()).getShape()[1];
  return b.createOrFold<arith::SelectOp>(less(later, steps), add(firstK, mul(later, width)),
                                         index(llvm::alignTo(end, width)));
}

/// This warp's sums for the tiles from `batch` on, side by side, and its part of the sums along k. `ahead`: the rows of
/// the first steps, and then those that were loaded for the next pass.
SmallVector<Value> StreamBody::products(Value batch, SmallVector<Value> &ahead) {
  int64_t rows = schedule.getRows(), cols = schedule.getTileColumns(), tiles = schedule.getTiles();
  bool isSwapped = cols == 16;
  Type f32 = b.getF32Type();
  auto sumType = isSwapped ? RankedTensorType::get({cols, rows}, f32) : RankedTensorType::get({rows, cols}, f32);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
  SmallVector<Value> carried(tiles, zero);
  if (!isOneRow()) {
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(RankedTensorType::get({rows}, f32)));
    carried.append(loop.sums.size(), none);
    carried.append(ahead);
  }
  // Rows that are loaded ahead stand in registers of fixed names: the loop is unrolled, or has `depth` steps in a turn.
  std::optional<int64_t> known = isOneRow() ? std::nullopt : getConstantIntValue(steps);
  bool isUnrolled = known && isStreamUnrolled(*known, tiles);
  int64_t turn = known && !isUnrolled && *known % schedule.getDepth() == 0 ? schedule.getDepth() : 1;
  auto over = scf::ForOp::create(b, index(0), turn > 1 ? index(*known / turn) : steps, index(1), carried);
  if (isUnrolled)
    over->setAttr(tile::kUnrollAttr, b.getUnitAttr());
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(over.getBody());
    carried = SmallVector<Value>(over.getRegionIterArgs());
    for (int64_t i = 0; i < turn; ++i)
      carried = step(add(mul(over.getInductionVar(), turn), index(i)), batch, carried);
    scf::YieldOp::create(b, carried);
  }
  ahead = SmallVector<Value>(over.getResults().take_back(ahead.size()));
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

/// A step along k of `products`: from what the loop carries to what it carries on, the sums of the tiles, those along
/// k, and rows that are loaded ahead.
SmallVector<Value> StreamBody::step(Value number, Value batch, ValueRange carried) {
  int64_t cols = schedule.getTileColumns(), width = schedule.getTileK(), tiles = schedule.getTiles();
  Value offset = mul(number, width), k = add(firstK, offset);
  Rows own;
  SmallVector<Value> ahead;
  if (isOneRow()) {
    own.lhs = slice(staged, b.getIndexAttr(0), offset, 1, width);
  } else {
    ValueRange loaded = carried.drop_front(tiles + loop.sums.size());
    own = transform(SmallVector<Value>(loaded.take_front(loads.size())), width, offset);
    llvm::append_range(ahead, loaded.drop_front(loads.size()));
    ahead.append(load(loads, stepAhead(number), width));
  }
  SmallVector<Value> results;
  auto weights = loop.weight.getView().getType();
  bool isEven = columns() % (schedule.getBlocks() * tiles * cols) == 0; // each block has whole passes
  for (int64_t i = 0; i < tiles; ++i) {
    // Past the block's last tile there is nothing: the end of the view.
    Value tile = add(batch, index(i)), column = mul(tile, cols);
    if (!isEven)
      column = arith::SelectOp::create(b, less(tile, end), column, index(llvm::alignTo(columns(), cols)));
    Value w = tile::LoadOp::create(b, RankedTensorType::get({cols, width}, weights.getElementType()),
                                   argument(loop.weight.getView()), ValueRange{column, k});
    bool isLeft = cols == 16;
    results.push_back(tile::DotOp::create(b, isLeft ? w : own.lhs, isLeft ? own.lhs : w, carried[i],
                                          /*transpose_rhs=*/true));
  }
  for (auto [i, part] : llvm::enumerate(own.sums))
    results.push_back(arith::AddFOp::create(b, carried[tiles + i], part));
  results.append(ahead);
  return results;
}

/// Brings this warp's part of the one row into shared memory.
void StreamBody::stageRow() {
  int64_t width = schedule.share(loop.k) * schedule.getTileK();
  Rows rows = transform(load(loads, firstK, width), width);
  staged = tile::StageOp::create(b, rows.lhs);
  stagedSums = rows.sums;
}

/// Brings this warp's part of the vectors along k into shared memory, where they take no registers.
void StreamBody::stageVectors() {
  for (Value vector : load(vectors, firstK, schedule.share(loop.k) * schedule.getTileK()))
    stagedVectors.push_back(tile::StageOp::create(b, vector));
}

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
