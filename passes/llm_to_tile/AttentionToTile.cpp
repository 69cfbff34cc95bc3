//===- AttentionToTile.cpp - causal attention over paged keys and values ---===//
//
// One block is one query tile (rows of one sequence) and one kv head; the rows of
// its matrices are (row of the tile, query head of the group), so that keys and
// values are read once for the whole group. Softmax is online (Milakov and
// Gimelshein, 2018; Dao et al., 2022), in base 2. Tiles of keys begin at multiples of
// their size whatever the window, so that a row's sums do not depend on its chunk.
//
// The tiles here are those of the cpu target. For a GPU, tile-select-schedule chooses
// others, and tile-apply-schedule changes the program.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/ProgramBuilder.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;
using tile::Reduction;

/// The slopes of ALiBi of the query heads `share * kvHead + i % share` for each i in `inGroup`.
static Value selectSlopes(ArrayRef<double> slopes, Value kvHead, Value inGroup, int64_t share, ProgramBuilder &b) {
  auto type = cast<RankedTensorType>(inGroup.getType()).clone(b.getF32Type());
  Value result;
  for (int64_t i = 0; i < share; ++i) {
    // The slope of head i of this block's group.
    Value slope;
    for (int64_t head = static_cast<int64_t>(slopes.size()) - share + i, kv = head / share; kv >= 0;
         head -= share, --kv) {
      Value next = b.full(b.getF32Type(), slopes[head]);
      if (slope)
        next = b.select(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, kvHead, b.i32(kv)), next, slope);
      slope = next;
    }
    Value tile = b.splat(slope, type.getShape());
    Value isHead = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, inGroup, b.like(inGroup, i));
    result = result ? b.select(isHead, tile, result) : tile;
  }
  return result;
}

LogicalResult inlay::convertAttention(GroupOp group, PagedAttentionOp op, ProgramBuilder &b, tile::ProgramOp &result) {
  constexpr double masked = -1.0e30; // smaller than any score, and finite so that differences stay numbers
  constexpr int64_t keysPerTile = 64;
  const StepShape &step = b.getStep();
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads(), d = op.getHeadDim(), share = heads / kvHeads;
  int64_t m = step.queryTileRows * share;
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  Type element = cast<RankedTensorType>(op.getQuery().getType()).getElementType();
  if (Placement::of(op.getQuery()).column % d != 0 || Placement::of(op.getQuery()).rowColumns % d != 0)
    return op.emitError() << "has queries that do not lie on whole heads";
  if (int64_t ranks = getRanks(op); op.getAlibi() && ranks > 1)
    return op.emitError() << "has slopes of ALiBi for the heads of " << ranks
                          << " ranks, which kernels cannot tell apart; compile with --tensor-parallel-size 1";
  int64_t qHeads = Placement::of(op.getQuery()).rowColumns / d, qFirst = Placement::of(op.getQuery()).column / d;

  Value queries = b.activationRows(op.getQuery(), d, Provenance::Activation);
  Value tileSequences = b.metadata("TileSequences", i32, tile::Extent::QueryTiles);
  Value tileFirst = b.metadata("TileRows", i32, tile::Extent::QueryTiles);
  Value tileEnds = b.metadata("TileEnds", i32, tile::Extent::QueryTiles);
  Value tileKeys = b.metadata("TileKeys", i32, tile::Extent::QueryTiles);
  Value positionsView = b.metadata("Positions", i32, tile::Extent::Tokens);
  Value keys = b.cache(true, op.getLayer(), d, element), values = b.cache(false, op.getLayer(), d, element);
  Value output = b.activationRows(group.getResult(0), d, Provenance::Output);

  Value kvHead = b.toI32(tile::ProgramIdOp::create(b, b.getIndexType(), 0));
  Value tileId = tile::ProgramIdOp::create(b, b.getIndexType(), 1);
  auto read = [&](Value view, Value at) { return Value(tile::ReadOp::create(b, i32, view, ValueRange{at})); };
  // All that leads to the keys' pages is known after one access.
  Value sequence = read(tileSequences, tileId), first = read(tileFirst, tileId), end = read(tileEnds, tileId);
  Value length = read(tileKeys, tileId);

  b.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, sequence, b.i32(0)), [&] {
    // Rows of the block: m = row * share + head of the group, and padding for some schedules.
    Value id = b.iota(m);
    auto of = [&](double v) { return b.full(id.getType(), v); };
    Value row = b.add(b.splat(first, {m}), b.div(id, of(share)));
    Value isReal = b.less(row, b.splat(end, {m})); // a query tile ends at most its number of rows after its first
    Value firstHead = b.splat(b.mul(kvHead, b.i32(share)), {m});
    Value inGroup = b.rem(id, of(share));
    Value head = b.add(firstHead, inGroup);
    Value queryRow = b.select(isReal, b.add(b.mul(row, of(qHeads)), b.add(head, of(qFirst))), of(-1));
    Value outputRow = b.select(isReal, b.add(b.mul(row, of(heads)), head), of(-1));
    Value query = b.gather(queries, queryRow, b.index(0), d);
    Value position = b.gather(positionsView, b.select(isReal, row, of(-1)));
    Value positionTile = b.broadcast(position, 1, keysPerTile);
    Value slopes; // of a row and a key, in base 2
    if (op.getAlibi()) {
      Value ofRow = selectSlopes(*op.getAlibi(), kvHead, inGroup, share, b);
      slopes = b.broadcast(b.mul(ofRow, b.like(ofRow, llvm::numbers::log2e)), 1, keysPerTile);
    }

    Value from = b.index(0);
    if (op.getWindow()) {
      Value firstPosition = read(positionsView, b.toIndex(first));
      Value start = b.maximum(b.sub(firstPosition, b.i32(*op.getWindow() - 1)), b.i32(0));
      from = b.toIndex(b.mul(b.div(start, b.i32(keysPerTile)), b.i32(keysPerTile)));
    }
    Value to = b.toIndex(length);

    auto rowType = b.tileType({m}, f32);
    SmallVector<Value> init{b.full(rowType, masked), b.full(rowType, 0.0), b.full(b.tileType({m, d}, f32), 0.0)};
    SmallVector<Value> sums = b.loop(from, to, keysPerTile, init, [&](Value at, ValueRange carried) {
      Value j = b.iota(keysPerTile);
      Value keyPosition = b.add(b.splat(b.toI32(at), {keysPerTile}), j);
      Value inside = b.less(keyPosition, b.splat(length, {keysPerTile}));
      Value held = b.select(inside, keyPosition, b.like(keyPosition, -1));
      Value rows = cacheRows(b, held, b.splat(sequence, {keysPerTile}), kvHead, kvHeads);
      Value key = b.gather(keys, rows, b.index(0), d);
      auto scoreType = b.tileType({m, keysPerTile}, f32);
      Value score = tile::DotOp::create(b, query, key, b.full(scoreType, 0.0), /*transpose_rhs=*/true);
      double scale = op.getScale().convertToDouble();
      if (op.getSoftcap()) {
        double cap = op.getSoftcap()->convertToDouble();
        score = b.mul(math::TanhOp::create(b, b.mul(score, b.full(scoreType, scale / cap))), b.full(scoreType, cap));
        scale = 1.0;
      }
      score = b.mul(score, b.full(scoreType, scale * llvm::numbers::log2e));
      Value keyTile = b.broadcast(keyPosition, 0, m);
      if (slopes)
        score = b.add(score, b.mul(slopes, b.toF32(b.sub(keyTile, positionTile))));
      Value seen = b.lessEqual(keyTile, positionTile);
      if (op.getWindow())
        seen = b.logicalAnd(seen, b.less(b.sub(positionTile, keyTile), b.like(keyTile, *op.getWindow())));
      score = b.select(seen, score, b.full(scoreType, masked));
      Value top = b.maximum(carried[0], b.reduce(Reduction::Max, score, 1));
      Value p = math::Exp2Op::create(b, b.sub(score, b.broadcast(top, 1, keysPerTile)));
      p = b.select(seen, p, b.full(scoreType, 0.0));
      Value correction = math::Exp2Op::create(b, b.sub(carried[0], top));
      Value sum = b.add(b.mul(carried[1], correction), b.reduce(Reduction::Add, p, 1));
      Value scaled = b.mul(carried[2], b.broadcast(correction, 1, d));
      Value value = b.gather(values, rows, b.index(0), d);
      Value out = tile::DotOp::create(b, b.toType(p, element), value, scaled, /*transpose_rhs=*/false);
      return SmallVector<Value>{top, sum, out};
    });

    if (op.getSinks()) {
      Value sink = b.toF32(b.gather(b.weightVector(op.getSinksAttr()), head));
      sink = b.mul(sink, b.like(sink, llvm::numbers::log2e));
      sums[1] = b.add(sums[1], math::Exp2Op::create(b, b.sub(sink, sums[0])));
    }
    Value sum = b.maximum(sums[1], b.full(rowType, 1.0e-30));
    Value normalised = b.toType(b.div(sums[2], b.broadcast(sum, 1, d)), element);
    b.scatter(normalised, output, outputRow, b.index(0));
  });

  SmallVector<NamedAttribute> attributes;
  if (op.getWindow())
    attributes.push_back(b.getNamedAttr("window", b.getI64IntegerAttr(*op.getWindow())));
  MLIRContext *context = b.getContext();
  result = b.finish({getAffineConstantExpr(kvHeads, context), ProgramBuilder::count(context, tile::Extent::QueryTiles)},
                    attributes);
  if (!step.isCpu())
    result.setScheduleAttr(tile::FamilyAttr::get(context, tile::Family::Attention));
  return success();
}
