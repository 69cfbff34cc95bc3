//===- LinearToTile.cpp - groups around a matrix product -------------------===//
//
// y = epilogue(prologue(x) W^T): one block computes one tile of y. NormPrologue.h
// says how a norm in front is applied, SumPrologue.h how a sum over ranks is.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/CodesToTile.h"
#include "passes/llm_to_tile/Epilogue.h"
#include "passes/llm_to_tile/NormPrologue.h"
#include "passes/llm_to_tile/QuantizedWeights.h"
#include "passes/llm_to_tile/SumPrologue.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;
using tile::Reduction;

namespace {

/// What comes before the product: x, its norm and the gather of its rows. Rows of codes have neither. Or the rows are
/// a sum over ranks of x, which blocks receive, and a residual.
struct Prologue {
  Value input;
  NormInterface norm;
  GatherRowsOp gather;
  std::optional<SumPrologue> sum;
};

} // namespace

/// Walks back from the linear's input to a value from outside the group.
static FailureOr<Prologue> findPrologue(GroupOp group, LinearOp linear) {
  Prologue prologue;
  Value value = linear.getInput();
  while (Operation *op = value.getDefiningOp()) {
    if (op->getParentOp() != group)
      break;
    if (auto norm = dyn_cast<NormInterface>(op); norm && !norm.getGroup() && !prologue.norm && !prologue.gather) {
      prologue.norm = norm;
      value = norm.getInput();
    } else if (auto gather = dyn_cast<GatherRowsOp>(op); gather && !prologue.gather) {
      prologue.gather = gather;
      value = gather.getInput();
    } else if (auto sum = SumPrologue::find(group, op); sum && !prologue.gather) {
      prologue.sum = sum;
      value = sum->input();
      break;
    } else {
      return op->emitError() << "cannot be applied while '" << LinearOp::getOperationName()
                             << "' stages its input; expected a whole-row norm, gather_rows, or a sum over ranks that "
                             << "is pushed and a residual";
    }
  }
  prologue.input = value;
  return prologue;
}

/// What the group yields of the product and what follows it. Values of its prologue come behind them.
static ValueRange epilogueValues(GroupOp group, LinearOp linear) {
  ValueRange values = group.getBody().front().getTerminator()->getOperands();
  return values.take_front(
      llvm::count_if(values, [&](Value value) { return !value.getDefiningOp()->isBeforeInBlock(linear); }));
}

/// Queries, keys and values of one product: rotates the pairs, stores q, appends k and v.
static LogicalResult emitQkv(GroupOp group, LinearOp linear, Value acc, Value row, Value col, LinearTile shape,
                             ProgramBuilder &b) {
  KvAppendOp append;
  RopeOp rope;
  for (Operation &op : group.getBody().front()) {
    if (auto found = dyn_cast<KvAppendOp>(op))
      append = found;
    if (auto found = dyn_cast<RopeOp>(op))
      rope = found;
  }
  if (!append || !rope || linear.getNumResults() != 3)
    return group.emitError() << "half_pairs are rotated and appended as queries, keys and values, found "
                             << linear.getNumResults() << " results";
  int64_t d = append.getHeadDim();
  auto headsOf = [&](unsigned i) { return cast<RankedTensorType>(linear.getResult(i).getType()).getDimSize(1) / d; };
  int64_t heads = headsOf(0), kvHeads = headsOf(1);
  if (d % shape.n != 0)
    return linear.emitError() << "has head_dim " << d << ", not a multiple of the tile's " << shape.n << " columns";

  Value head = arith::DivUIOp::create(b, col, b.index(d));
  Value half = arith::DivUIOp::create(b, arith::RemUIOp::create(b, col, b.index(d)), b.index(2));
  Value halfHigh = arith::AddIOp::create(b, half, b.index(d / 2));
  auto pairType = b.tileType({shape.m, shape.n / 2}, b.getF32Type());
  auto pairs = tile::DeinterleaveOp::create(b, TypeRange{pairType, pairType}, acc);
  Value positions = rowPositions(b, row, shape.m);

  // Queries and keys are rotated, values are not.
  Value isRotated = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, head, b.index(heads + kvHeads));
  auto rotated = scf::IfOp::create(b, TypeRange{pairType, pairType}, isRotated, /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(rotated.thenBlock());
    Value table = b.weight(rope.getTableAttr());
    Value tableRows = rowsOfTable(b, rope.getTableOp(), positions, row, shape.m);
    Value cos = b.gather(table, tableRows, half, shape.n / 2);
    Value sin = b.gather(table, tableRows, halfHigh, shape.n / 2);
    Value low = pairs.getEven(), high = pairs.getOdd();
    scf::YieldOp::create(
        b, ValueRange{b.sub(b.mul(low, cos), b.mul(high, sin)), b.add(b.mul(high, cos), b.mul(low, sin))});
    b.setInsertionPointToStart(rotated.elseBlock());
    scf::YieldOp::create(b, ValueRange{pairs.getEven(), pairs.getOdd()});
  }
  Type element = cast<RankedTensorType>(append.getKey().getType()).getElementType();
  Type stored = append.getCache().getType().getStoredType(element);
  Value low = b.toType(rotated.getResult(0), element), high = b.toType(rotated.getResult(1), element);

  Value query = epilogueValues(group, linear).front();
  auto isYieldedQuery = [&](Value v) { return v == query && isa<RankedTensorType>(v.getType()); };
  if (!isYieldedQuery(query))
    return group.emitError() << "yields the queries first";
  Value q = b.activation(group.getResult(0), Provenance::Output);
  int64_t qColumn = Placement::of(group.getResult(0)).column;
  Value isQuery = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, head, b.index(heads));
  b.ifThen(
      isQuery,
      [&] {
        Value base = arith::AddIOp::create(b, arith::MulIOp::create(b, head, b.index(d)), b.index(qColumn));
        b.store(low, q, {row, arith::AddIOp::create(b, base, half)});
        b.store(high, q, {row, arith::AddIOp::create(b, base, halfHigh)});
      },
      [&] {
        Value isKey = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, head, b.index(heads + kvHeads));
        Value kvHead = arith::SelectOp::create(b, isKey, arith::SubIOp::create(b, head, b.index(heads)),
                                               arith::SubIOp::create(b, head, b.index(heads + kvHeads)));
        Value sequences =
            b.load(b.metadata("RowSequences", b.getI32Type(), tile::Extent::Tokens), ValueRange{row}, {shape.m});
        Value rows = cacheRows(b, positions, sequences, b.toI32(kvHead), kvHeads);
        auto write = [&](bool keys) {
          Value cache = b.cache(keys, append.getLayer(), d, stored);
          Value scale = b.cacheScale(keys ? append.getKeyScaleAttr() : append.getValueScaleAttr(), kvHead);
          bool areCodes = stored != element;
          b.scatter(areCodes ? b.toStored(rotated.getResult(0), stored, scale) : low, cache, rows, half);
          b.scatter(areCodes ? b.toStored(rotated.getResult(1), stored, scale) : high, cache, rows, halfHigh);
        };
        b.ifThen(isKey, [&] { write(true); }, [&] { write(false); });
      });
  return success();
}

/// Applies what follows the product, op by op, and stores what the group yields.
static LogicalResult emitEpilogue(GroupOp group, LinearOp linear, Value acc, Value row, Value col, LinearTile shape,
                                  RowOrder order, ProgramBuilder &b) {
  DenseMap<Value, TileValue> tiles;
  SmallVector<Value> outputs(linear.getOutputs());
  if (order == RowOrder::Alternate) {
    auto type = b.tileType({shape.m, shape.n / 2}, b.getF32Type());
    auto pairs = tile::DeinterleaveOp::create(b, TypeRange{type, type}, acc);
    Value column = arith::DivUIOp::create(b, col, b.index(2));
    tiles[outputs[0]] = {pairs.getEven(), column};
    tiles[outputs[1]] = {pairs.getOdd(), column};
  } else if (outputs.size() == 1) {
    tiles[outputs[0]] = {acc, col};
  } else {
    // All results are written side by side, in the order of the product's columns.
    if (!llvm::equal(epilogueValues(group, linear), outputs))
      return linear.emitError() << "has several plain results, which are written and nothing else";
    Type element = cast<RankedTensorType>(outputs[0].getType()).getElementType();
    Value view = b.activation(group.getResult(0), Provenance::Output);
    b.store(b.toType(acc, element), view, {row, col});
    return success();
  }

  return emitEpilogueOps(group, linear, tiles, row, b);
}

static tile::Codes codesOf(llm::Codes codes) {
  switch (codes) {
  case llm::Codes::U4:
    return tile::Codes::U4;
  case llm::Codes::Nf4:
    return tile::Codes::Nf4;
  case llm::Codes::U8:
    return tile::Codes::U8;
  case llm::Codes::I8:
    return tile::Codes::I8;
  case llm::Codes::F8E4M3:
    return tile::Codes::F8E4M3;
  }
  llvm_unreachable("every meaning of codes is a case");
}

namespace {

/// The weight of a linear, whose tiles the loop along K loads.
class WeightTiles {
public:
  /// `element`: what codes become.
  WeightTiles(LinearOp linear, WeightOp op, Type element, ProgramBuilder &b)
      : b(b), quantized(op.getQuantizedAttr()), view(b.weight(linear.getWeightAttr())), element(element) {
    if (!quantized)
      return;
    if (op.getPacking() != Packing::Codes16x128)
      inByte = 8 / op.getTensorType().getElementTypeBitWidth();
    scalesRows = scalesSums(op) && !element.isF32();
    if (!scalesRows)
      scales = b.weight(quantized.getScales());
    if (quantized.getZeroPoints())
      zeros = b.weight(quantized.getZeroPoints());
  }

  /// The scales of rows from `row` on that their sums are multiplied by; null where there are none.
  Value scalesOfRows(Value row, int64_t rows) {
    return scalesRows ? b.load(b.weightVector(quantized.getScales()), ValueRange{row}, {rows}) : Value();
  }

  /// Rows from `row` on, columns from `at` on.
  Value load(Value row, Value at, int64_t rows, int64_t columns) {
    if (!quantized)
      return b.load(view, ValueRange{row, at}, {rows, columns});
    int64_t group = quantized.getGroup();
    auto divided = [&](int64_t divisor) {
      return divisor == 1 ? at : Value(arith::DivUIOp::create(b, at, b.index(divisor)));
    };
    Value bytes = b.load(view, ValueRange{row, divided(inByte)}, {rows, columns / inByte});
    auto groups = [&](Value of) -> Value {
      int64_t count = llvm::divideCeil(columns, group);
      return of ? b.load(of, ValueRange{row, divided(group)}, {rows, count}) : Value();
    };
    return tile::DequantizeOp::create(b, b.tileType({rows, columns}, element), codesOf(quantized.getCodes()), bytes,
                                      groups(scales), groups(zeros), scalesRows ? 0 : group, quantized.getZeroPoint());
  }

private:
  ProgramBuilder &b;
  QuantizedAttr quantized;
  int64_t inByte = 1;
  bool scalesRows = false;
  Value view, scales, zeros;
  Type element;
};

} // namespace

/// The product in the element type `element`, to which codes are unpacked; sums of f32.
static Value emitProduct(LinearOp linear, Prologue &prologue, Value row, Value col, LinearTile shape, int64_t k,
                         Type element, ProgramBuilder &b) {
  if (prologue.sum)
    prologue.sum->declareViews(b);
  WeightTiles weight(linear, cast<WeightOp>(b.getSymbols().lookup(linear.getWeight())), element, b);
  Value input = b.activation(prologue.input, Provenance::Activation);
  int64_t inputColumn = Placement::of(prologue.input).column;
  Value rows;
  if (prologue.gather)
    rows = b.load(b.metadata("LogitRowIndices", b.getI32Type(), tile::Extent::LogitRows), ValueRange{row}, {shape.m});
  NormPrologue norm(prologue.norm, k, shape, b);
  norm.declareViews();
  int64_t rowGroup = linear.getScales() ? groupOfRows(linear) : k;
  auto loadRows = [&](Value at, int64_t columns) {
    if (prologue.sum)
      return prologue.sum->load(row, at, {shape.m, columns}, b);
    Value from = inputColumn ? Value(arith::AddIOp::create(b, at, b.index(inputColumn))) : at;
    return rows ? b.gather(input, rows, from, columns) : b.load(input, ValueRange{row, from}, {shape.m, columns});
  };
  // Codes times the scale of their group of columns, in which each step lies.
  auto scaledRows = [&](Value codes, Value at) {
    Value number = arith::DivUIOp::create(b, at, b.index(rowGroup));
    Value of = b.load(b.activation(linear.getScales(), Provenance::Activation), ValueRange{row, number}, {shape.m, 1});
    return b.mul(b.toF32(codes), b.broadcast(b.reduce(Reduction::Add, of, 1), 1, shape.k));
  };
  norm.emitStatistics(loadRows);

  SmallVector<Value> init{b.full(b.tileType({shape.m, shape.n}, b.getF32Type()), 0.0)};
  if (norm.sumsSquares())
    init.push_back(b.full(b.tileType({shape.m}, b.getF32Type()), 0.0));
  SmallVector<Value> sums = b.loop(b.index(0), b.index(k), shape.k, init, [&](Value at, ValueRange carried) {
    Value x = loadRows(at, shape.k);
    SmallVector<Value> next(carried);
    if (norm.sumsSquares())
      next[1] = norm.addSquares(carried[1], x);
    if (rowGroup < k)
      x = scaledRows(x, at);
    x = b.toType(norm.apply(x, at), element);
    Value w = b.toType(weight.load(col, at, shape.n, shape.k), element);
    next[0] = tile::DotOp::create(b, x, w, carried[0], /*transpose_rhs=*/true);
    return next;
  });

  Value acc = sums[0];
  if (linear.getScales() && rowGroup == k) {
    Value ofRows = b.load(b.activationVector(linear.getScales(), Provenance::Activation), ValueRange{row}, {shape.m});
    acc = b.mul(acc, b.broadcast(ofRows, 1, shape.n));
  }
  if (Value scales = weight.scalesOfRows(col, shape.n))
    acc = b.mul(acc, b.broadcast(scales, 0, shape.m));
  acc = norm.finish(acc, sums.back());
  if (Value squares = linear.getSquares()) {
    // Parts that a row has not are zeros.
    int64_t parts = cast<RankedTensorType>(squares.getType()).getDimSize(1);
    Value first = b.index(Placement::of(squares).column);
    Value of = b.load(b.activation(squares, Provenance::Activation), ValueRange{row, first},
                      {shape.m, static_cast<int64_t>(llvm::PowerOf2Ceil(parts))});
    Value inverse = emitInverseRms(b.reduce(Reduction::Add, of, 1), k, *linear.getEps(), b);
    acc = b.mul(acc, b.broadcast(inverse, 1, shape.n));
  }
  return acc;
}

LogicalResult inlay::convertLinear(GroupOp group, LinearOp linear, ProgramBuilder &b, tile::ProgramOp &result) {
  FailureOr<Prologue> prologue = findPrologue(group, linear);
  if (failed(prologue))
    return failure();
  auto weightOp = cast<WeightOp>(b.getSymbols().lookup(linear.getWeight()));
  RankedTensorType weightType = weightOp.getTensorType();
  int64_t n = weightType.getDimSize(0), k = weightType.getDimSize(1);
  RowOrder order = weightOp.getRowOrder();
  int64_t unit = order == RowOrder::HalfPairs ? static_cast<int64_t>(*weightOp.getHeadDim()) : 0;
  LinearTile shape = chooseLinearTile(b.getStep(), group.getFamily(), n, k, unit);
  if (!group.getBody().front().getOps<SumOfSquaresOp>().empty())
    shape.n = kNormPart;
  Type element = weightType.getElementType(), f32 = b.getF32Type();
  bool isCpu = b.getStep().isCpu(), multipliesCodes = linear.getScales() && !isCpu;
  if (multipliesCodes) {
    if (failed(checkCodeProduct(linear, weightOp)))
      return failure();
    shape.k = tile::kSlabBytes;
  } else if (QuantizedAttr quantized = weightOp.getQuantizedAttr()) {
    std::optional<int64_t> step = quantizedStep(k, quantized.getGroup(), isCpu);
    if (!step)
      return linear.emitError() << "has the quantized weight '" << linear.getWeight() << "' with groups of "
                                << quantized.getGroup() << " of " << k << " columns; expected multiples of 16";
    shape.k = *step;
    if (linear.getScales())
      shape.k = std::min(shape.k, groupOfRows(linear));
    // What codes become. A GPU multiplies in the type of the activations.
    element = isCpu ? f32 : cast<RankedTensorType>(linear.getInput().getType()).getElementType();
  }

  Value col = arith::MulIOp::create(b, tile::ProgramIdOp::create(b, b.getIndexType(), 0), b.index(shape.n));
  Value row = arith::MulIOp::create(b, tile::ProgramIdOp::create(b, b.getIndexType(), 1), b.index(shape.m));
  if (prologue->sum && failed(prologue->sum->check(b)))
    return failure();
  tile::Extent extent = tile::Extent::Tokens;
  if (prologue->gather || Placement::of(prologue->input).logitRows)
    extent = tile::Extent::LogitRows;
  Value acc = multipliesCodes ? emitCodeProduct(linear, row, col, shape, k, b)
                              : emitProduct(linear, *prologue, row, col, shape, k, element, b);
  if (linear.getBiasAttr()) {
    Value bias = b.toF32(b.load(b.weight(linear.getBiasAttr()), ValueRange{col}, {shape.n}));
    acc = b.add(acc, b.broadcast(bias, 0, shape.m));
  }
  LogicalResult emitted = order == RowOrder::HalfPairs ? emitQkv(group, linear, acc, row, col, shape, b)
                                                       : emitEpilogue(group, linear, acc, row, col, shape, order, b);
  if (failed(emitted))
    return failure();
  MLIRContext *context = b.getContext();
  result = b.finish(
      {getAffineConstantExpr(llvm::divideCeil(n, shape.n), context), ProgramBuilder::count(context, extent, shape.m)});
  return setFamily(group, b.getStep(), result);
}
