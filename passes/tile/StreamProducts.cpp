//===- StreamProducts.cpp - rows and products of the family stream ---------===//

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/tile/StreamBody.h"

#include <functional>

using namespace mlir;
using namespace inlay;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Gives the tiles of `op`, a copy of `from` in a loop along k, `width` columns. `ofK`: a matrix of that loop, whose
/// columns are along k.
void StreamBody::widen(Operation *op, Operation *from, Value ofK, int64_t width) {
  for (auto [result, original] : llvm::zip_equal(op->getResults(), from->getResults())) {
    auto type = dyn_cast<RankedTensorType>(original.getType());
    if (!type)
      continue;
    SmallVector<int64_t> shape(type.getShape());
    Slot slot = Slot::ofUse(original);
    for (unsigned dim = 0; dim < shape.size(); ++dim)
      if (dimensions.areSame(slot, dim, ofK, 1))
        shape[dim] = width;
    auto wide = RankedTensorType::get(shape, type.getElementType());
    result.setType(wide);
    if (auto constant = dyn_cast<arith::ConstantOp>(op))
      if (auto splat = dyn_cast<SplatElementsAttr>(constant.getValue()))
        constant.setValueAttr(DenseElementsAttr::get(wide, splat.getSplatValue<Attribute>()));
  }
}

/// `tile`, columns of rows from `at` on, without what lies past the end of K or, of `width` columns at a time, past the
/// end of this warp's part.
Value StreamBody::insideK(Value tile, Value at) {
  auto type = cast<RankedTensorType>(tile.getType());
  int64_t part = schedule.share(loop.k) * schedule.getTileK();
  bool isWhole = part % type.getDimSize(1) == 0;
  if (isWhole && part * schedule.getWarps() == loop.k)
    return tile;
  Value end = isWhole ? index(loop.k) : least(add(firstK, index(part)), index(loop.k));
  auto numbers = RankedTensorType::get(type.getShape(), b.getI32Type());
  auto spread = [&](Value number) -> Value {
    return tensor::SplatOp::create(b, arith::IndexCastOp::create(b, b.getI32Type(), number), numbers);
  };
  Value k = arith::AddIOp::create(b, tile::IotaOp::create(b, numbers, 1), spread(at));
  Value isInside = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, k, spread(end));
  return arith::SelectOp::create(b, isInside, tile, arith::ConstantOp::create(b, b.getZeroAttr(type)));
}

/// The columns of its part that a warp takes at a time for a statistic. Its part of one row stays in registers for the
/// product; of several rows it loads what 64 registers hold, in few round trips to memory.
int64_t StreamBody::statisticColumns() {
  constexpr int64_t registers = 64, lanes = 32, elements = 2 * registers * lanes;
  int64_t steps = schedule.share(loop.k), width = schedule.getTileK();
  int64_t most = isOneRow() ? steps : std::max<int64_t>(elements / (schedule.getRows() * width), 1);
  return llvm::divideCeil(steps, llvm::divideCeil(steps, most)) * width;
}

/// What `width` columns from `at` on add to each sum of `statistic`.
SmallVector<Value> StreamBody::partOfStatistic(const RowStatistic &statistic, Value at, int64_t width) {
  IRMapping mapping = outside;
  scf::ForOp from = statistic.loop;
  mapping.map(from.getInductionVar(), at);
  llvm::SmallPtrSet<Operation *, 4> last; // of each sum: the reduction, and what adds it to the sum
  SmallVector<tile::ReduceOp> reductions;
  for (const RowSum &sum : statistic.sums) {
    auto add = from.getBody()->getTerminator()->getOperand(sum.result.getResultNumber()).getDefiningOp<arith::AddFOp>();
    reductions.push_back(add.getRhs().getDefiningOp<tile::ReduceOp>());
    last.insert(add);
    last.insert(reductions.back());
  }
  for (Operation &op : from.getBody()->without_terminator())
    if (!last.contains(&op))
      widen(b.clone(op, mapping), &op, statistic.sums.front().element, width);
  SmallVector<Value> parts;
  for (tile::ReduceOp reduce : reductions) {
    IRMapping own;
    own.map(reduce.getValue(), insideK(mapping.lookup(reduce.getValue()), at));
    parts.push_back(b.clone(*reduce, own)->getResult(0));
  }
  return parts;
}

/// Sums what a loop before the product sums along k: each warp its part, then all of them.
void StreamBody::shareStatistic(const RowStatistic &statistic) {
  int64_t width = statisticColumns(), times = llvm::divideCeil(schedule.share(loop.k) * schedule.getTileK(), width);
  SmallVector<Value> parts;
  if (times == 1) {
    parts = partOfStatistic(statistic, firstK, width);
  } else {
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(RankedTensorType::get({loop.tokens}, b.getF32Type())));
    auto over =
        scf::ForOp::create(b, index(0), index(times), index(1), SmallVector<Value>(statistic.sums.size(), none));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(over.getBody());
    Value at = add(firstK, mul(over.getInductionVar(), width));
    SmallVector<Value> sums;
    for (auto [sum, part] : llvm::zip_equal(over.getRegionIterArgs(), partOfStatistic(statistic, at, width)))
      sums.push_back(arith::AddFOp::create(b, sum, part));
    scf::YieldOp::create(b, sums);
    parts = SmallVector<Value>(over.getResults());
  }
  auto reduced = tile::WarpReduceOp::create(b, ValueRange(parts).getTypes(), tile::Reduction::Add, parts);
  for (auto [sum, value] : llvm::zip_equal(statistic.sums, reduced.getResults()))
    outside.map(sum.result, value);
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
    widen(copy, &op, loop.dot.getLhs(), width);
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
  for (tile::StoreOp store : loop.stores)
    want(store.getValue());
  SmallVector<Value> parts;
  for (const RowSum &sum : loop.sums) {
    Value added = loop.loop.getBody()->getTerminator()->getOperand(sum.result.getResultNumber());
    parts.push_back(added.getDefiningOp<arith::AddFOp>().getRhs());
    want(parts.back());
  }
  for (Operation &op : loop.loop.getBody()->without_terminator())
    if (wanted.contains(&op))
      widen(b.clone(op, mapping), &op, loop.dot.getLhs(), width);
  Rows rows{mapping.lookup(loop.dot.getLhs()), {}, {}};
  for (tile::StoreOp store : loop.stores)
    rows.stored.push_back(mapping.lookup(store.getValue()));
  for (Value part : parts)
    rows.sums.push_back(mapping.lookup(part));
  return rows;
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
  // Rows that are loaded ahead keep their registers if the loop has as many steps in a turn: a register that moves
  // waits for its load.
  std::optional<int64_t> known = isOneRow() ? std::nullopt : getConstantIntValue(steps);
  int64_t turn = known && *known % schedule.getDepth() == 0 ? schedule.getDepth() : 1;
  auto over = scf::ForOp::create(b, index(0), turn > 1 ? index(*known / turn) : steps, index(1), carried);
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
    if (loop.dequantize)
      w = dequantize(w, column, k, own.lhs);
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
  if (!rows.stored.empty())
    storeRow(rows.stored);
}

/// Stores what the loop stores: `values`, this warp's part of the one row, which all blocks have. The first one stores
/// it.
void StreamBody::storeRow(ArrayRef<Value> values) {
  Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, block, index(0));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(scf::IfOp::create(b, isFirst, /*withElseRegion=*/false).thenBlock());
  IRMapping mapping = outside;
  mapping.map(loop.loop.getInductionVar(), firstK);
  for (auto [store, value] : llvm::zip_equal(loop.stores, values))
    mapping.map(store.getValue(), value);
  for (Operation &op : loop.loop.getBody()->without_terminator())
    if (isa<tile::StoreOp>(op) || (op.getNumResults() == 1 && op.getResult(0).getType().isIndex()))
      b.clone(op, mapping);
}

/// Brings this warp's part of the vectors along k into shared memory, where they take no registers.
void StreamBody::stageVectors() {
  for (Value vector : load(vectors, firstK, schedule.share(loop.k) * schedule.getTileK()))
    stagedVectors.push_back(tile::StageOp::create(b, vector));
}
