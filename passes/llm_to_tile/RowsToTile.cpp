//===- RowsToTile.cpp - groups that work on rows alone ---------------------===//
//
// The embedding, norms that no product could take in, and the norm, rotation and
// append of queries and keys where heads are normalised.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/ProgramBuilder.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;
using tile::Reduction;

/// Columns that one block handles at a time.
static int64_t columnStep(int64_t columns, bool cpu, int64_t mostOnGpu) {
  return std::min<int64_t>(cpu ? 256 : mostOnGpu, llvm::PowerOf2Ceil(columns));
}

static Value programId(ProgramBuilder &b, int dimension) {
  return tile::ProgramIdOp::create(b, b.getIndexType(), dimension);
}

static LogicalResult convertEmbedding(GroupOp group, EmbeddingOp op, ProgramBuilder &b, tile::ProgramOp &result) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  int64_t columns = type.getDimSize(1), step = columnStep(columns, b.getStep().isCpu(), 1024);
  Value ids = b.activation(op.getTokens(), Provenance::Meta);
  Value table = b.weight(op.getTableAttr());
  Value output = b.activation(group.getResult(0), Provenance::Output);
  Value row = programId(b, 0);
  Value id = b.load(ids, ValueRange{row}, {1});
  double scale = op.getScale().convertToDouble();
  b.loop(b.index(0), b.index(columns), step, {}, [&](Value at, ValueRange) {
    Value x = b.gather(table, id, at, step);
    if (scale != 1.0)
      x = b.mul(b.toF32(x), b.full(b.tileType({1, step}, b.getF32Type()), scale));
    b.store(b.toType(x, type.getElementType()), output, {row, at});
    return SmallVector<Value>{};
  });
  result = b.finish({ProgramBuilder::count(b.getContext(), tile::Extent::Tokens)});
  return success();
}

/// [gather_rows ->] rms_norm of whole rows. On a GPU a block holds a row of up to 8192 columns in its registers, so
/// that it waits for memory once.
static LogicalResult convertNorm(GroupOp group, RmsNormOp norm, ProgramBuilder &b, tile::ProgramOp &result) {
  auto type = cast<RankedTensorType>(norm.getResult().getType());
  int64_t columns = type.getDimSize(1), step = columnStep(columns, b.getStep().isCpu(), 8192);
  bool isHeld = columns <= step;
  Value source = norm.getInput();
  auto gather = source.getDefiningOp<GatherRowsOp>();
  if (gather && gather->getParentOp() == group)
    source = gather.getInput();
  else
    gather = {};
  Value input = b.activation(source, Provenance::Activation);
  int64_t column = Placement::of(source).column;
  Value weight = b.weight(norm.getWeightAttr());
  Value output = b.activation(group.getResult(0), Provenance::Output);
  tile::Extent extent = Placement::of(group.getResult(0)).logitRows ? tile::Extent::LogitRows : tile::Extent::Tokens;
  Value row = programId(b, 0);
  Value from;
  if (gather)
    from = b.load(b.metadata("LogitRowIndices", b.getI32Type(), extent), ValueRange{row}, {1});
  auto load = [&](Value at) {
    Value inputAt = column ? Value(arith::AddIOp::create(b, at, b.index(column))) : at;
    return b.toF32(gather ? b.gather(input, from, inputAt, step) : b.load(input, ValueRange{row, inputAt}, {1, step}));
  };
  auto sumOfSquares = [&](Value at, Value x) {
    // Past the end of a row that others share lie other values.
    Value inside =
        b.less(b.add(b.iota(step), b.splat(b.toI32(at), {step})), b.full(b.tileType({step}, b.getI32Type()), columns));
    Value square = b.mul(x, x);
    square = b.select(b.broadcast(inside, 0, 1), square, b.like(square, 0.0));
    return b.reduce(Reduction::Add, square, 1);
  };
  Value first = b.index(0), held, sum;
  if (isHeld) {
    held = load(first);
    sum = sumOfSquares(first, held);
  } else {
    Value zero = b.full(b.tileType({1}, b.getF32Type()), 0.0);
    sum = b.loop(first, b.index(columns), step, zero, [&](Value at, ValueRange carried) {
      return SmallVector<Value>{b.add(carried[0], sumOfSquares(at, load(at)))};
    })[0];
  }
  Value mean = b.mul(sum, b.like(sum, 1.0 / static_cast<double>(columns)));
  Value inverse = math::RsqrtOp::create(b, b.add(mean, b.like(mean, norm.getEps().convertToDouble())));
  auto write = [&](Value at, Value x) {
    Value scale = b.broadcast(b.toF32(b.load(weight, ValueRange{at}, {step})), 0, 1);
    Value y = b.mul(b.mul(x, b.broadcast(inverse, 1, step)), scale);
    b.store(b.toType(y, type.getElementType()), output, {row, at});
  };
  if (isHeld)
    write(first, held);
  else
    b.loop(first, b.index(columns), step, {}, [&](Value at, ValueRange) {
      write(at, load(at));
      return SmallVector<Value>{};
    });
  result = b.finish({ProgramBuilder::count(b.getContext(), extent)});
  return success();
}

namespace {

/// Heads of queries, keys or values on their way: an optional norm, an optional rotation.
struct Heads {
  Value source; // from outside the group
  RmsNormOp norm;
  RopeOp rope;
};

} // namespace

/// Walks back from `value` over rope and norm to a value from outside.
static FailureOr<Heads> traceHeads(GroupOp group, Value value) {
  Heads heads;
  while (Operation *op = value.getDefiningOp()) {
    if (op->getParentOp() != group)
      break;
    if (auto rope = dyn_cast<RopeOp>(op); rope && !heads.rope && !heads.norm) {
      heads.rope = rope;
      value = rope.getInput();
    } else if (auto norm = dyn_cast<RmsNormOp>(op); norm && norm.getGroup() && !heads.norm) {
      heads.norm = norm;
      value = norm.getInput();
    } else {
      return op->emitError() << "cannot stand between a product and the cache; expected a per-head norm and a rope";
    }
  }
  heads.source = value;
  return heads;
}

/// [norms of heads -> rope -> KV append]: one block is some rows of one head of q, k or v.
static LogicalResult convertAppend(GroupOp group, KvAppendOp append, ProgramBuilder &b, tile::ProgramOp &result) {
  Value queryValue;
  for (Value v : group.getBody().front().getTerminator()->getOperands())
    if (isa<RankedTensorType>(v.getType()))
      queryValue = v;
  if (!queryValue)
    return group.emitError() << "yields no queries beside the cache";
  FailureOr<Heads> query = traceHeads(group, queryValue), key = traceHeads(group, append.getKey()),
                   value = traceHeads(group, append.getValue());
  if (failed(query) || failed(key) || failed(value))
    return failure();
  unsigned queryResult = 0;
  for (auto [i, v] : llvm::enumerate(group.getBody().front().getTerminator()->getOperands()))
    if (v == queryValue)
      queryResult = i;

  int64_t d = append.getHeadDim(), rowsPerBlock = b.getStep().isCpu() || b.getStep().maxTokens <= 16 ? 1 : 16;
  int64_t half = d / 2, padded = llvm::PowerOf2Ceil(half);
  auto headsOf = [&](Value v) { return cast<RankedTensorType>(v.getType()).getDimSize(1) / d; };
  int64_t heads = headsOf(queryValue), kvHeads = headsOf(append.getKey());
  Type element = cast<RankedTensorType>(queryValue.getType()).getElementType(), i32 = b.getI32Type();

  Value head = programId(b, 0);
  Value row = arith::MulIOp::create(b, programId(b, 1), b.index(rowsPerBlock));
  Value positions = rowPositions(b, row, rowsPerBlock);
  Value inHead = b.broadcast(b.less(b.iota(padded), b.full(b.tileType({padded}, i32), half)), 0, rowsPerBlock);
  auto mask = [&](Value x) { return padded == half ? x : b.select(inHead, x, b.like(x, 0.0)); };

  /// Both halves of the head `index` of `heads`, normalised and rotated.
  auto prepare = [&](const Heads &from, Value index) -> std::pair<Value, Value> {
    Placement place = Placement::of(from.source);
    Value input = b.activation(from.source, Provenance::Activation);
    Value column = arith::AddIOp::create(b, arith::MulIOp::create(b, index, b.index(d)), b.index(place.column));
    Value columnHigh = arith::AddIOp::create(b, column, b.index(half));
    Value low = mask(b.toF32(b.load(input, ValueRange{row, column}, {rowsPerBlock, padded})));
    Value high = mask(b.toF32(b.load(input, ValueRange{row, columnHigh}, {rowsPerBlock, padded})));
    if (RmsNormOp norm = from.norm) {
      Value sum = b.add(b.reduce(Reduction::Add, b.mul(low, low), 1), b.reduce(Reduction::Add, b.mul(high, high), 1));
      Value mean = b.mul(sum, b.like(sum, 1.0 / static_cast<double>(d)));
      Value inverse =
          b.broadcast(math::RsqrtOp::create(b, b.add(mean, b.like(mean, norm.getEps().convertToDouble()))), 1, padded);
      Value weight = b.weight(norm.getWeightAttr());
      auto scale = [&](Value x, int64_t at) {
        Value w = b.toF32(b.load(weight, ValueRange{b.index(at)}, {padded}));
        return b.mul(b.mul(x, inverse), b.broadcast(w, 0, rowsPerBlock));
      };
      low = scale(low, 0);
      high = scale(high, half);
    }
    if (RopeOp rope = from.rope) {
      Value table = b.weight(rope.getTableAttr());
      Value cos = b.gather(table, positions, b.index(0), padded);
      Value sin = b.gather(table, positions, b.index(half), padded);
      Value turned = b.sub(b.mul(low, cos), b.mul(high, sin));
      high = b.add(b.mul(high, cos), b.mul(low, sin));
      low = turned;
    }
    return {b.toType(low, element), b.toType(high, element)};
  };
  if (padded != half)
    return append.emitError() << "has head_dim " << d << "; heads that are normalised on their own need a power of two";

  auto is = [&](int64_t limit) {
    return Value(arith::CmpIOp::create(b, arith::CmpIPredicate::ult, head, b.index(limit)));
  };
  auto writeCache = [&](bool keys, const Heads &from, int64_t firstHead) {
    Value kvHead = arith::SubIOp::create(b, head, b.index(firstHead));
    auto [low, high] = prepare(from, kvHead);
    Value sequences = b.load(b.metadata("RowSequences", i32, tile::Extent::Tokens), ValueRange{row}, {rowsPerBlock});
    Value rows = cacheRows(b, positions, sequences, b.toI32(kvHead), kvHeads);
    Value cache = b.cache(keys, append.getLayer(), d, element);
    b.scatter(low, cache, rows, b.index(0));
    b.scatter(high, cache, rows, b.index(half));
  };
  b.ifThen(
      is(heads),
      [&] {
        auto [low, high] = prepare(*query, head);
        Placement place = Placement::of(group.getResult(queryResult));
        Value output = b.activation(group.getResult(queryResult), Provenance::Output);
        Value column = arith::AddIOp::create(b, arith::MulIOp::create(b, head, b.index(d)), b.index(place.column));
        b.store(low, output, {row, column});
        b.store(high, output, {row, arith::AddIOp::create(b, column, b.index(half))});
      },
      [&] {
        b.ifThen(
            is(heads + kvHeads), [&] { writeCache(true, *key, heads); },
            [&] { writeCache(false, *value, heads + kvHeads); });
      });
  MLIRContext *context = b.getContext();
  result = b.finish({getAffineConstantExpr(heads + 2 * kvHeads, context),
                     ProgramBuilder::count(context, tile::Extent::Tokens, rowsPerBlock)});
  return success();
}

LogicalResult inlay::convertRows(GroupOp group, ProgramBuilder &b, tile::ProgramOp &result) {
  for (Operation &op : group.getBody().front()) {
    if (auto embedding = dyn_cast<EmbeddingOp>(op))
      return convertEmbedding(group, embedding, b, result);
    if (auto append = dyn_cast<KvAppendOp>(op))
      return convertAppend(group, append, b, result);
  }
  for (Operation &op : group.getBody().front())
    if (auto norm = dyn_cast<RmsNormOp>(op); norm && !norm.getGroup())
      return convertNorm(group, norm, b, result);
  return group.emitError()
         << "holds no row-wise op that this compiler knows: expected embedding, rms_norm or kv_append";
}
