//===- ApplyLinear.cpp - a product in the blocks and tiles of its schedule -===//

#include "passes/tile/ApplyLinear.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/tile/LinearBody.h"

#include <numeric>

using namespace mlir;
using namespace inlay;

namespace {
/// Elements of a piece of the epilogue that a lane has at the least and the most: so many reads of it are under way
/// together. Blocks that unpack codes are large and leave a thread fewer registers.
constexpr int64_t kLeastElements = 2, kMostElements = 16, kMostElementsOfCodes = 8, kLanes = 32;
/// Columns of a piece: neighbouring lanes access rows of 128 bytes.
constexpr int64_t kPieceColumns = 64;
/// Rows of a warpgroup's product that each of its warps has.
constexpr int64_t kRowsOfWarp = 16;
/// Columns of a product that is added to sums in registers: a thread has an element of it for two columns, beside the
/// sums of the whole tile.
constexpr int64_t kAddedColumns = 128;
} // namespace

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// The symbol that a dimension of the grid depends on.
static std::optional<unsigned> symbolOf(AffineExpr expr) {
  std::optional<unsigned> symbol;
  expr.walk([&](AffineExpr inner) {
    if (auto found = dyn_cast<AffineSymbolExpr>(inner))
      symbol = found.getPosition();
  });
  return symbol;
}

/// The rows of the product: those of the step, or as many as a constant grid and the view have.
Value LinearBody::rowCount() {
  AffineMap grid = old.getGrid();
  AffineExpr tiles = grid.getNumResults() > 1 ? grid.getResult(1) : getAffineConstantExpr(1, b.getContext());
  auto extent = [&](unsigned which) -> Value {
    return tile::ExtentOp::create(b, b.getIndexType(), static_cast<tile::Extent>(which));
  };
  if (std::optional<unsigned> symbol = symbolOf(tiles))
    return extent(*symbol);
  int64_t most = cast<AffineConstantExpr>(tiles).getValue() * loop.tokens;
  auto view = cast<tile::ViewType>(loop.rowsView().getType());
  if (!ShapedType::isDynamic(view.getShape()[0]))
    return index(std::min(most, view.getShape()[0]));
  if (!view.getExtent())
    return index(most);
  return b.createOrFold<arith::MinSIOp>(extent(static_cast<unsigned>(*view.getExtent())), index(most));
}

/// The tiles of `rows` rows, as a dimension of the grid.
AffineExpr LinearBody::rowTiles(int64_t rows) {
  AffineMap grid = old.getGrid();
  AffineExpr tiles = grid.getNumResults() > 1 ? grid.getResult(1) : getAffineConstantExpr(1, b.getContext());
  if (std::optional<unsigned> symbol = symbolOf(tiles))
    return getAffineSymbolExpr(*symbol, b.getContext()).ceilDiv(rows);
  int64_t most = cast<AffineConstantExpr>(tiles).getValue() * loop.tokens;
  auto view = cast<tile::ViewType>(loop.rowsView().getType());
  if (!ShapedType::isDynamic(view.getShape()[0]))
    most = std::min(most, view.getShape()[0]);
  return getAffineConstantExpr(llvm::divideCeil(most, rows), b.getContext());
}

void LinearBody::setGrid(ArrayRef<AffineExpr> dims) {
  program.setGrid(AffineMap::get(0, old.getGrid().getNumSymbols(), dims, b.getContext()));
}

//===----------------------------------------------------------------------===//
// Loops and tiles
//===----------------------------------------------------------------------===//

void LinearBody::forLoop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body, Unroll unroll) {
  auto made = scf::ForOp::create(b, from, to, index(step));
  if (unroll == Unroll::Full)
    made->setAttr(tile::kUnrollAttr, b.getUnitAttr());
  else if (unroll == Unroll::None)
    made->setAttr(tile::kUnrollAttr, b.getIndexAttr(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(made.getBody());
  body(made.getInductionVar());
}

Value LinearBody::slice(Value tile, OpFoldResult row, OpFoldResult column, int64_t rows, int64_t columns) {
  OpFoldResult one = b.getIndexAttr(1);
  auto type = RankedTensorType::get({rows, columns}, cast<RankedTensorType>(tile.getType()).getElementType());
  SmallVector<OpFoldResult> offsets{row, column}, sizes{b.getIndexAttr(rows), b.getIndexAttr(columns)};
  return tensor::ExtractSliceOp::create(b, type, tile,
                                        getAsOpFoldResult(getValueOrCreateConstantIndexOp(b, b.getLoc(), offsets)),
                                        sizes, ArrayRef<OpFoldResult>{one, one});
}

/// What codes of `codes` become, at (column, k), to be multiplied with `x`.
Value LinearBody::dequantize(Value codes, Value column, Value k, Value x) {
  tile::DequantizeOp op = loop.dequantize;
  auto type = cast<RankedTensorType>(codes.getType()).clone(cast<RankedTensorType>(x.getType()).getElementType());
  auto groups = [&](Value of) -> Value {
    if (!of)
      return {};
    int64_t group = op.getGroup();
    int64_t count = llvm::divideCeil(type.getDimSize(1), group);
    auto tile = RankedTensorType::get({type.getDimSize(0), count}, b.getF32Type());
    return tile::LoadOp::create(b, tile, argument(of.getDefiningOp<tile::LoadOp>().getView()),
                                ValueRange{column, div(k, group)});
  };
  return tile::DequantizeOp::create(b, type, op.getCodes(), codes, groups(op.getScales()), groups(op.getZeros()),
                                    op.getGroup(), op.getZeroPoint());
}

/// The scales of a step for `rows` rows of their matrix from `row` on. A fetch brings 16 bytes of each row of a matrix
/// of rows, from a multiple of 16 bytes on: TMA takes an instruction for illegal whose box begins between them.
LinearBody::Column LinearBody::scalesOfStep(StepScales scales, Value row, int64_t rows, Value k) {
  if (!scales.load)
    return {};
  tile::ViewType view = scales.load.getView().getType();
  constexpr int64_t fetched = 16 / sizeof(float);
  auto load = [&](int64_t columns, Value first) {
    return tile::LoadOp::create(b, RankedTensorType::get({rows, columns}, view.getElementType()),
                                argument(scales.load.getView()), ValueRange{row, first});
  };
  Value number = div(k, scales.group);
  if (view.getProvenance() == tile::Provenance::Weight)
    return {load(1, number), b.getIndexAttr(0)};
  return {load(fetched, mul(div(number, fetched), fetched)), rem(number, fetched)};
}

/// The product of a step, times `ofLeft` along its rows and `ofRight` along its columns; either may be missing. One
/// factor of both takes fewer registers than two, one after the other.
Value LinearBody::scaled(Value part, Column ofLeft, Column ofRight) {
  Value factor;
  for (auto [scales, axis] : {std::pair(ofLeft, 1), {ofRight, 0}}) {
    if (!scales.tile)
      continue;
    auto type = cast<RankedTensorType>(scales.tile.getType());
    SmallVector<OpFoldResult> offsets{b.getIndexAttr(0), scales.number}, strides(2, b.getIndexAttr(1));
    SmallVector<OpFoldResult> sizes{b.getIndexAttr(type.getDimSize(0)), b.getIndexAttr(1)};
    Value vector =
        tensor::ExtractSliceOp::create(b, type.clone({type.getDimSize(0)}), scales.tile, offsets, sizes, strides);
    Value repeated = tile::BroadcastOp::create(b, part.getType(), vector, axis);
    factor = factor ? arith::MulFOp::create(b, factor, repeated).getResult() : repeated;
  }
  return factor ? arith::MulFOp::create(b, part, factor).getResult() : part;
}

/// The sums of `rows` x `columns` over a part of K; of `columns` x `rows` with the weights on the left. Where each step
/// is added to the sums, they are those of several products, side by side along the columns.
SmallVector<Value> LinearBody::product(Value row, int64_t rows, Value column, int64_t columns, Value from, Value to,
                                       int64_t step, bool isSwapped) {
  auto rowsView = cast<tile::ViewType>(loop.rowsView().getType());
  tile::ViewType weightView = loop.weight.getView().getType();
  int64_t width = loop.addsSteps && !isSwapped ? std::min(columns, kAddedColumns) : columns;
  auto sums =
      RankedTensorType::get({isSwapped ? width : rows, isSwapped ? rows : width}, loop.dot.getType().getElementType());
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sums));
  auto over = scf::ForOp::create(b, from, to, index(step), SmallVector<Value>(columns / width, zero));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(over.getBody());
  Value k = over.getInductionVar();
  Value x = tile::LoadOp::create(b, RankedTensorType::get({rows, step}, rowsView.getElementType()),
                                 argument(loop.rowsView()), ValueRange{row, add(k, index(loop.columnOffset))});
  SmallVector<Value> weights, next;
  for (int64_t first = 0; first < columns; first += width)
    weights.push_back(tile::LoadOp::create(b, RankedTensorType::get({width, step}, weightView.getElementType()),
                                           argument(loop.weight.getView()),
                                           ValueRange{first ? add(column, index(first)) : column, k}));
  Column ofRows = scalesOfStep(loop.rowScales, row, rows, k);
  SmallVector<Column> ofColumns;
  for (int64_t first = 0; first < columns; first += width)
    ofColumns.push_back(scalesOfStep(loop.columnScales, first ? add(column, index(first)) : column, width, k));
  for (auto [codes, scales, carried] : llvm::zip_equal(weights, ofColumns, over.getRegionIterArgs())) {
    Value w = loop.dequantize ? dequantize(codes, column, k, x) : codes;
    Value dot = tile::DotOp::create(b, isSwapped ? w : x, isSwapped ? x : w, loop.addsSteps ? zero : carried,
                                    /*transpose_rhs=*/true);
    if (loop.addsSteps)
      dot = arith::AddFOp::create(b, carried, isSwapped ? scaled(dot, scales, ofRows) : scaled(dot, ofRows, scales));
    next.push_back(dot);
  }
  scf::YieldOp::create(b, next);
  return SmallVector<Value>(over.getResults());
}

/// A piece's columns divide the program's and the block's tile. Where it can, each of `warps` has one of the pieces of
/// `rows`.
void LinearBody::choosePiece(int64_t rows, int64_t tileColumns, int64_t warps, int64_t consumers) {
  pieceColumns = std::gcd(std::gcd(loop.columns, tileColumns), kPieceColumns);
  int64_t most = loop.dequantize ? kMostElementsOfCodes : kMostElements;
  if (loop.dequantize && consumers > 2)
    most /= 2;
  int64_t elements = std::clamp(rows * tileColumns / (warps * kLanes), kLeastElements, most);
  pieceRows = std::min<int64_t>(
      rows, llvm::bit_floor(static_cast<uint64_t>(std::max<int64_t>(1, elements * kLanes / pieceColumns))));
}

//===----------------------------------------------------------------------===//
// Epilogue
//===----------------------------------------------------------------------===//

/// Maps what the old program computes as a multiple of its id in `dim` to that of `by`, the first row or column of a
/// piece: `tile` times the id to `by` itself, and a part of it (half, for every second column) to that part.
LogicalResult LinearBody::mapOffsets(unsigned dim, int64_t tile, int64_t piece, Value by, IRMapping &mapping) {
  for (auto id : old.getBody().getOps<tile::ProgramIdOp>()) {
    if (id.getDimension() != dim)
      continue;
    for (Operation *user : id->getUsers()) {
      auto offset = dyn_cast<arith::MulIOp>(user);
      std::optional<int64_t> factor;
      if (offset)
        factor = getConstantIntValue(offset.getLhs() == id ? offset.getRhs() : offset.getLhs());
      if (!factor || *factor < 1 || tile % *factor != 0 || piece % (tile / *factor) != 0)
        return user->emitError() << "uses the block's index for something else than the first of " << tile
                                 << (dim ? " rows" : " columns") << "; the program cannot be divided into other tiles";
      mapping.map(offset.getResult(), div(by, tile / *factor));
    }
    // Of the id itself nothing is left but operands of what is mapped.
    mapping.map(id.getResult(), by);
  }
  return success();
}

/// Gives the tiles of `op`, a copy of `from`, the sizes of a piece.
void LinearBody::retype(Operation *op, Operation *from) {
  for (auto [result, original] : llvm::zip_equal(op->getResults(), from->getResults())) {
    auto type = dyn_cast<RankedTensorType>(original.getType());
    if (!type)
      continue;
    SmallVector<int64_t> shape(type.getShape());
    for (unsigned dim = 0; dim < shape.size(); ++dim) {
      Slot slot = Slot::ofUse(original), product = Value(loop.product);
      if (dimensions.areSame(slot, dim, product, 0))
        shape[dim] = pieceRows;
      else if (dimensions.areSame(slot, dim, product, 1))
        shape[dim] = pieceColumns;
      else if (dimensions.isHalf(slot, dim, product, 1))
        shape[dim] = pieceColumns / 2;
    }
    auto piece = RankedTensorType::get(shape, type.getElementType());
    result.setType(piece);
    if (auto constant = dyn_cast<arith::ConstantOp>(op))
      if (auto splat = dyn_cast<SplatElementsAttr>(constant.getValue()))
        constant.setValueAttr(DenseElementsAttr::get(piece, splat.getSplatValue<Attribute>()));
  }
  for (auto [region, original] : llvm::zip_equal(op->getRegions(), from->getRegions()))
    for (auto [inner, originalInner] : llvm::zip_equal(region.getOps(), original.getOps()))
      retype(&inner, &originalInner);
}

/// What the old program does after its loop, for the piece at (row, column).
LogicalResult LinearBody::epilogue(Value piece, Value row, Value column, int64_t tileColumns) {
  OpBuilder::InsertionGuard guard(b);
  if (columns() % tileColumns != 0) {
    Value isInside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, column, index(columns()));
    b.setInsertionPointToStart(scf::IfOp::create(b, isInside, /*withElseRegion=*/false).thenBlock());
  }
  IRMapping mapping;
  for (auto [from, to] : llvm::zip_equal(old.getBody().getArguments(), program.getBody().getArguments()))
    mapping.map(from, to);
  mapping.map(loop.product, piece);
  if (failed(mapOffsets(0, loop.columns, pieceColumns, column, mapping)) ||
      failed(mapOffsets(1, loop.tokens, pieceRows, row, mapping)))
    return failure();
  Slot product = Value(loop.product);
  for (auto reduce : old.getBody().getOps<tile::ReduceOp>())
    if (pieceColumns != loop.columns &&
        dimensions.areSame(Slot::ofUse(reduce.getValue()), reduce.getAxis(), product, 1))
      return reduce->emitError() << "reduces " << loop.columns << " columns of the product, of which a piece has "
                                 << pieceColumns << "; choose tiles whose columns are a multiple of " << loop.columns;
  SmallVector<Operation *> copies;
  for (Operation &op : old.getBody().front().without_terminator()) {
    if (&op == loop.loop || isa<tile::ProgramIdOp>(op) || (op.getNumResults() && mapping.contains(op.getResult(0))))
      continue;
    copies.push_back(b.clone(op, mapping));
    retype(copies.back(), &op);
  }
  for (Operation *copy : llvm::reverse(copies))
    if (isOpTriviallyDead(copy))
      copy->erase();
  return success();
}

//===----------------------------------------------------------------------===//
// Schedules
//===----------------------------------------------------------------------===//

LogicalResult LinearBody::apply(tile::SwapAbAttr schedule) {
  int64_t rows = schedule.getTileRows(), cols = schedule.getTileColumns(), step = schedule.getTileK();
  int64_t split = schedule.getSplit(), warps = 4 * schedule.getConsumers();
  setGrid({getAffineConstantExpr(llvm::divideCeil(columns(), cols), b.getContext()), rowTiles(rows)});
  Value columnId = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
  Value rowId = tile::ProgramIdOp::create(b, b.getIndexType(), 1);
  Value column = mul(columnId, cols), row = mul(rowId, rows);
  Value rank = split > 1 ? tile::ClusterRankOp::create(b, b.getIndexType()).getResult() : index(0);
  int64_t share = schedule.share(loop.k) * step;
  Value from = mul(rank, share);
  Value to = split == 1 ? index(loop.k) : b.createOrFold<arith::MinSIOp>(add(from, index(share)), index(loop.k));

  Value sums = product(row, rows, column, cols, from, to, step, /*isSwapped=*/true).front();
  Value turned =
      tile::TransposeOp::create(b, RankedTensorType::get({rows, cols}, loop.dot.getType().getElementType()), sums);
  Value staged = tile::StageOp::create(b, turned);
  if (split > 1)
    staged = tile::ClusterReduceOp::create(b, tile::Reduction::Add, staged);

  choosePiece(rows, cols, split * warps, schedule.getConsumers());
  int64_t parts = cols / pieceColumns;
  Value live = b.createOrFold<arith::MinSIOp>(b.createOrFold<arith::SubIOp>(rowCount(), row), index(rows));
  Value pieces = mul(ceilDiv(live, pieceRows), parts);
  auto forWarps = tile::ForWarpsOp::create(b, warps);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&forWarps.getBody().front());
  LogicalResult result = success();
  Value first = add(mul(rank, warps), forWarps.getWarp());
  auto ofPiece = [&](Value piece) {
    Value r = mul(div(piece, parts), pieceRows), c = mul(rem(piece, parts), pieceColumns);
    result = epilogue(slice(staged, r, c, pieceRows, pieceColumns), add(row, r), add(column, c), cols);
  };
  if (rows / pieceRows * parts > split * warps) {
    forLoop(first, pieces, split * warps, ofPiece);
    return result;
  }
  // A branch, unlike a loop, lets what the piece needs be loaded before the blocks of a cluster meet.
  Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, first, pieces);
  b.setInsertionPointToStart(scf::IfOp::create(b, exists, /*withElseRegion=*/false).thenBlock());
  ofPiece(first);
  return result;
}

LogicalResult LinearBody::apply(tile::GemmAttr schedule) {
  int64_t rows = schedule.getTileRows(), cols = schedule.getTileColumns(), step = schedule.getTileK();
  setGrid(getAffineConstantExpr(schedule.getBlocks(), b.getContext()));
  Value block = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
  Value rowTileCount = ceilDiv(rowCount(), rows);
  Value tiles = mul(rowTileCount, llvm::divideCeil(columns(), cols));
  choosePiece(kRowsOfWarp, cols, /*warps=*/1);
  LogicalResult result = success();
  // Rows first: the blocks that run at a time share few columns of weights.
  forLoop(block, tiles, schedule.getBlocks(), [&](Value tile) {
    Value row = mul(arith::RemUIOp::create(b, tile, rowTileCount), rows);
    Value column = mul(arith::DivUIOp::create(b, tile, rowTileCount), cols);
    SmallVector<Value> sums = product(row, rows, column, cols, index(0), index(loop.k), step, /*isSwapped=*/false);
    auto forWarps = tile::ForWarpsOp::create(b, rows / kRowsOfWarp, sums);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&forWarps.getBody().front());
    Value firstRow = add(row, mul(forWarps.getWarp(), kRowsOfWarp));
    int64_t width = cols / static_cast<int64_t>(sums.size());
    for (auto [i, part] : llvm::enumerate(forWarps.getParts())) {
      Value firstColumn = i ? add(column, index(static_cast<int64_t>(i) * width)) : column, sumsOfWarp = part;
      auto ofColumns = [&](Value c) {
        Value own = slice(sumsOfWarp, b.getIndexAttr(0), c, kRowsOfWarp, pieceColumns);
        Value staged = tile::StageOp::create(b, own);
        auto ofRows = [&](Value r) {
          if (succeeded(result))
            result = epilogue(slice(staged, r, b.getIndexAttr(0), pieceRows, pieceColumns), add(firstRow, r),
                              add(firstColumn, c), cols);
        };
        // Copies of the epilogue for all of a warp's rows make the kernel slower.
        forLoop(index(0), index(kRowsOfWarp), pieceRows, ofRows, Unroll::None);
      };
      forLoop(index(0), index(width), pieceColumns, ofColumns, Unroll::Full);
    }
  });
  return result;
}

/// Copies generators for each of their uses, which may have tiles of different sizes.
static void separateGenerators(tile::ProgramOp program) {
  SmallVector<Operation *> generators;
  program.walk([&](Operation *op) {
    if (isTileGenerator(op))
      generators.push_back(op);
  });
  for (Operation *op : generators)
    while (!op->use_empty() && !op->hasOneUse()) {
      OpBuilder b(op);
      op->use_begin()->set(b.clone(*op)->getResult(0));
    }
}

LogicalResult inlay::applyLinear(tile::ProgramOp program) {
  OwningOpRef<tile::ProgramOp> old = program.clone();
  separateGenerators(*old);
  FailureOr<MainLoop> loop = findMainLoop(*old);
  if (failed(loop))
    return failure();
  if (isa<tile::StreamAttr>(program.getScheduleAttr()))
    return applyStream(program, *old, *loop);
  if (!loop->isPlain() || !isa<tile::LoadOp>(loop->rows))
    return loop->rows->emitError("brings rows that are gathered or changed before the product; the family ")
           << program.getScheduleAttr().getFamilyName() << " takes them as they are in memory";
  LinearBody body(program, *old, *loop);
  if (auto swapAb = dyn_cast<tile::SwapAbAttr>(program.getScheduleAttr())) {
    if (!swapAb.givesEachBlockSteps(loop->k))
      return program.emitError("splits ") << llvm::divideCeil(loop->k, swapAb.getTileK()) << " steps of k over "
                                          << swapAb.getSplit() << " blocks; expected each to have one";
    return body.apply(swapAb);
  }
  return body.apply(cast<tile::GemmAttr>(program.getScheduleAttr()));
}
