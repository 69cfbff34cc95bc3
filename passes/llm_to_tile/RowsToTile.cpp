//===- RowsToTile.cpp - groups that work on rows alone ---------------------===//
//
// One block is one row: rows that are looked up, gathered or summed over ranks,
// elementwise ops on them, at most one norm of the whole row, elementwise ops on its
// result, and at most one op that quantizes the row, as a whole or in groups of columns.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/Elementwise.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;
using tile::Reduction;

namespace {

/// Writes the program of one group.
class RowsConverter {
public:
  RowsConverter(GroupOp group, ProgramBuilder &b)
      : group(group), b(b), yield(cast<YieldOp>(group.getBody().front().getTerminator())) {}
  FailureOr<tile::ProgramOp> run();

private:
  /// Tiles of values of the group at one column.
  using Tiles = DenseMap<Value, Value>;

  GroupOp group;
  ProgramBuilder &b;
  YieldOp yield;
  NormInterface norm;          // null if the group has none
  QuantizeOp quantize;         // the same
  AllReduceOp sum;             // the same: what the row is summed by
  tile::ExchangeAttr exchange; // of the sum
  int64_t columns = 0, step = 0;
  tile::Extent extent = tile::Extent::Tokens;
  Value row;
  Value token, position, gathered; // the row's token, position and row of the input, where the group reads by them
  Value mean, inverse;             // of the row that is normed: null where it is not subtracted, and 1/rms
  Value normWeight, normBias;      // loaded before other ranks are waited for; null where there is no sum
  Value scale, perScale;           // of the row that is quantized as a whole, and 1/scale
  bool hasFailed = false;

  LogicalResult findOps();
  void declareViews();
  bool isInPlace(Value value, Value result);
  Value input(Value value);
  Value output(Value result);
  Value columnOf(Value value, Value at);
  Value evaluate(Value value, Value at, Tiles &tiles);
  Value normed(Value at, Tiles &tiles);
  Value codes(Value at, Tiles &tiles);
  Value toCodes(Value x, Value inverse);
  bool hasGroups() { return quantize && quantize.getGroupSize() < columns; }
  Value scaleOf(Value largest);
  Value reduceRow(Reduction kind, Value row, Tiles &held, llvm::function_ref<Value(Value)> term);
  LogicalResult checkSum();
  void loadBeforeSum(Tiles &held);
  Value receive(Value at);
  Value roundedAsStored(Value value, Value tile);
  void emitNorm(Tiles &held);
  void emitScale(Tiles &held);
  void store(Value at, Tiles &tiles);

  bool isFromOutside(Value value) {
    Operation *op = value.getDefiningOp();
    return !op || op->getParentOp() != group;
  }
  bool isHeld() { return columns <= step; }
};

} // namespace

/// Columns that one block handles at a time.
static int64_t columnStep(int64_t columns, bool cpu, int64_t mostOnGpu) {
  return std::min<int64_t>(cpu ? 256 : mostOnGpu, llvm::PowerOf2Ceil(columns));
}

LogicalResult RowsConverter::findOps() {
  for (Operation &op : group.getBody().front().without_terminator()) {
    auto found = dyn_cast<NormInterface>(op);
    auto quantizer = dyn_cast<QuantizeOp>(op);
    bool isRowWise = isa<EmbeddingOp, PositionEmbeddingOp, GatherRowsOp, RmsScaleOp, AllReduceOp>(op) ||
                     op.hasTrait<OpTrait::Elementwise>() || (found && !found.getGroup()) || quantizer;
    if (!isRowWise)
      return op.emitError() << "is no row-wise op that this compiler knows: expected a lookup of rows, gather_rows, "
                            << "a sum over ranks, a norm of whole rows, a quantizer or an elementwise op";
    if (quantizer && quantizer.getGroup() && !llvm::isPowerOf2_64(quantizer.getGroupSize()))
      return op.emitError() << "has groups of " << quantizer.getGroupSize() << " columns, expected a power of two";
    if (quantizer && quantize)
      return op.emitError() << "is the second quantizer in one kernel";
    if (isa<AllReduceOp>(op) && sum)
      return op.emitError() << "is the second sum over ranks in one kernel";
    if (found && norm)
      return op.emitError() << "is the second norm of whole rows in one kernel";
    if (auto gather = dyn_cast<GatherRowsOp>(op); gather && !isFromOutside(gather.getInput()))
      return op.emitError() << "gathers rows that its own kernel computes";
    if (auto embedding = dyn_cast<PositionEmbeddingOp>(op)) {
      auto table = cast<WeightOp>(b.getSymbols().lookup(embedding.getTable()));
      int64_t rows = table.getTensorType().getDimSize(0) - static_cast<int64_t>(embedding.getOffset());
      if (rows < b.getStep().maxModelLen)
        return op.emitError() << "has learned positions for " << rows << " tokens of a sequence, expected at least "
                              << b.getStep().maxModelLen << "; lower --max-model-len";
    }
    if (found)
      norm = found;
    if (quantizer)
      quantize = quantizer;
    if (auto reduce = dyn_cast<AllReduceOp>(op))
      sum = reduce;
    columns = cast<RankedTensorType>(op.getResult(0).getType()).getDimSize(1);
  }
  // With a norm, a block on a GPU holds a row in its registers, so that it waits for memory once.
  step = columnStep(columns, b.getStep().isCpu(), norm ? kHeldColumns : quantize ? 16384 : 1024);
  // A core takes a group at a time, a block of a GPU all groups of its tile together.
  if (hasGroups())
    step = b.getStep().isCpu() ? quantize.getGroupSize() : std::max(step, quantize.getGroupSize());
  if (Placement::of(group.getResult(0)).logitRows)
    extent = tile::Extent::LogitRows;
  return success();
}

/// A block receives its row once, and holds it.
LogicalResult RowsConverter::checkSum() {
  if (!sum)
    return success();
  if (!isHeld())
    return sum.emitError() << "is of rows of " << columns << " columns, expected at most " << step
                           << " where a norm of whole rows follows in its kernel; run llm-form-groups, which keeps the "
                           << "norm apart";
  exchange = exchangeOf(sum, b);
  return success(exchange != nullptr);
}

/// Whether `result` is written over `value`, which the group adds to it.
bool RowsConverter::isInPlace(Value value, Value result) {
  auto add = yield.getOperand(cast<OpResult>(result).getResultNumber()).getDefiningOp<AddOp>();
  return add && llvm::is_contained(add->getOperands(), value) &&
         Placement::attributeOf(value) == Placement::attributeOf(result);
}

/// The memory of a value from outside the group.
Value RowsConverter::input(Value value) {
  bool isWritten = llvm::any_of(group.getResults(), [&](Value result) { return isInPlace(value, result); });
  return b.activation(value, isWritten ? Provenance::State : Provenance::Activation);
}

Value RowsConverter::output(Value result) {
  bool isWritten = llvm::any_of(group.getBody().front().without_terminator(), [&](Operation &op) {
    return llvm::any_of(op.getOperands(),
                        [&](Value value) { return isFromOutside(value) && isInPlace(value, result); });
  });
  Value value = yield.getOperand(cast<OpResult>(result).getResultNumber());
  if (quantize && value == quantize.getResult())
    return b.activationCodes(result, Provenance::Output, quantize.getPacking());
  return b.activation(result, isWritten ? Provenance::State : Provenance::Output);
}

/// Gives the views their order among the arguments: what each op reads, then what is written, then where rows lie.
void RowsConverter::declareViews() {
  EmbeddingOp embedding;
  bool readsPosition = false, gathers = false;
  for (Operation &op : group.getBody().front().without_terminator()) {
    for (Value operand : op.getOperands())
      if (isa<RankedTensorType>(operand.getType()) && isFromOutside(operand))
        input(operand);
    if (auto found = dyn_cast<EmbeddingOp>(op)) {
      embedding = found;
      b.weight(embedding.getTableAttr());
    }
    if (norm && norm == &op)
      for (FlatSymbolRefAttr vector : {norm.getWeightAttr(), norm.getBiasAttr()})
        if (vector)
          b.weightVector(vector);
    if (quantize && quantize == &op && quantize.getScale())
      b.weightVector(quantize.getScaleAttr());
    if (auto found = dyn_cast<AddBiasOp>(op))
      b.weightVector(found.getBiasAttr());
    if (auto found = dyn_cast<ScaleColumnsOp>(op))
      b.weightVector(found.getWeightAttr());
    if (auto found = dyn_cast<RmsScaleOp>(op); found && found.getWeight())
      b.weightVector(found.getWeightAttr());
    if (auto found = dyn_cast<PositionEmbeddingOp>(op)) {
      readsPosition = true;
      b.weight(found.getTableAttr());
    }
    gathers |= isa<GatherRowsOp>(op);
  }
  for (Value result : group.getResults())
    output(result);
  row = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
  if (embedding)
    token = b.load(input(embedding.getTokens()), ValueRange{row}, {1});
  if (readsPosition)
    position = rowPositions(b, row, 1);
  if (gathers)
    gathered = b.load(b.metadata("LogitRowIndices", b.getI32Type(), extent), ValueRange{row}, {1});
}

/// The column of the buffer of `value` where its column `at` lies.
Value RowsConverter::columnOf(Value value, Value at) {
  int64_t first = Placement::of(value).column;
  return first ? Value(arith::AddIOp::create(b, at, b.index(first))) : at;
}

/// Columns from `at` on of this block's row of `value`.
Value RowsConverter::evaluate(Value value, Value at, Tiles &tiles) {
  if (Value known = tiles.lookup(value))
    return known;
  if (isFromOutside(value))
    return tiles[value] = b.load(input(value), ValueRange{row, columnOf(value, at)}, {1, step});
  Value result =
      llvm::TypeSwitch<Operation *, Value>(value.getDefiningOp())
          .Case([&](NormInterface) { return normed(at, tiles); })
          .Case([&](AllReduceOp) { return receive(at); })
          .Case([&](QuantizeOp) { return codes(at, tiles); })
          .Case([&](EmbeddingOp embedding) {
            Value x = b.gather(b.weight(embedding.getTableAttr()), token, at, step);
            double scale = embedding.getScale().convertToDouble();
            return scale == 1.0 ? x : b.mul(b.toF32(x), b.full(b.tileType({1, step}, b.getF32Type()), scale));
          })
          .Case([&](PositionEmbeddingOp embedding) {
            // Rows of padding are at -1 and stay there.
            Value shifted = b.add(position, b.like(position, static_cast<double>(embedding.getOffset())));
            Value isReal = b.lessEqual(b.like(position, 0), position);
            return b.gather(b.weight(embedding.getTableAttr()), b.select(isReal, shifted, position), at, step);
          })
          .Case([&](GatherRowsOp gather) {
            return b.gather(input(gather.getInput()), gathered, columnOf(gather.getInput(), at), step);
          })
          .Case([&](AddBiasOp add) {
            Value x = b.toF32(evaluate(add.getInput(), at, tiles));
            return roundedAsStored(value, b.add(x, b.broadcast(loadVector(add.getBiasAttr(), at, step, b), 0, 1)));
          })
          .Case([&](ScaleColumnsOp scale) {
            Value x = b.toF32(evaluate(scale.getInput(), at, tiles));
            return scaleColumns(x, scale.getWeightAttr(), scale.getWeightOffset(), at, b);
          })
          .Case([&](RmsScaleOp scale) {
            Value x = b.toF32(evaluate(scale.getInput(), at, tiles));
            Value squares = b.load(input(scale.getSquares()), ValueRange{row, b.index(0)}, {1, 1});
            Value inverse = emitInverseRms(squares, static_cast<int64_t>(scale.getColumns()), scale.getEps(), b);
            x = b.mul(x, b.broadcast(b.reduce(Reduction::Add, inverse, 1), 1, step));
            return scale.getWeight() ? scaleColumns(x, scale.getWeightAttr(), scale.getWeightOffset(), at, b) : x;
          })
          .Default([&](Operation *op) -> Value {
            SmallVector<Value> operands;
            for (Value operand : op->getOperands())
              operands.push_back(b.toF32(evaluate(operand, at, tiles)));
            FailureOr<Value> tile = emitElementwise(op, operands, b);
            hasFailed |= failed(tile);
            return roundedAsStored(value, succeeded(tile) ? *tile : operands.front());
          });
  return tiles[value] = result;
}

/// The normed row at `at`.
Value RowsConverter::normed(Value at, Tiles &tiles) {
  Value x = b.toF32(evaluate(norm.getInput(), at, tiles));
  Value weight = normWeight ? normWeight : loadNormWeight(norm, at, step, b);
  if (weight)
    weight = b.broadcast(weight, 0, 1);
  Value y = b.mul(mean ? b.sub(x, mean) : x, b.broadcast(inverse, 1, step));
  if (weight)
    y = b.mul(y, weight);
  if (Value bias = normBias ? normBias : loadNormBias(norm, at, step, b))
    y = b.add(y, b.broadcast(bias, 0, 1));
  return y;
}

/// The codes of x * inverse, tiles of one shape.
Value RowsConverter::toCodes(Value x, Value inverse) {
  x = b.mul(x, inverse);
  double most = quantize.getLargestCode();
  Value clamped = b.minimum(b.maximum(x, b.like(x, -most)), b.like(x, most));
  Type element = cast<RankedTensorType>(quantize.getResult().getType()).getElementType();
  if (isa<FloatType>(element))
    return b.toType(clamped, element);
  auto shape = cast<RankedTensorType>(x.getType()).getShape();
  Value whole = math::RoundEvenOp::create(b, clamped);
  Value integers = arith::FPToSIOp::create(b, b.tileType(shape, b.getI32Type()), whole);
  return arith::TruncIOp::create(b, b.tileType(shape, element), integers);
}

/// The elements of `tile` in their order, as a tile of `rows` x `columns`.
static Value reshaped(Value tile, int64_t rows, int64_t columns, ProgramBuilder &b) {
  auto type = cast<RankedTensorType>(tile.getType());
  if (type.getShape() == ArrayRef({rows, columns}))
    return tile;
  SmallVector<ReassociationIndices> all{{0, 1}};
  Value flat = tensor::CollapseShapeOp::create(b, type.clone({type.getNumElements()}), tile, all);
  return tensor::ExpandShapeOp::create(b, type.clone({rows, columns}), flat, all);
}

/// The codes of the row at `at`. With groups, their scales are found there.
Value RowsConverter::codes(Value at, Tiles &tiles) {
  Value x = b.toF32(evaluate(quantize.getInput(), at, tiles));
  if (!hasGroups())
    return toCodes(x, b.broadcast(perScale, 1, step));
  int64_t size = quantize.getGroupSize();
  x = reshaped(x, step / size, size, b);
  Value scales = scaleOf(b.reduce(Reduction::Max, math::AbsFOp::create(b, x), 1));
  tiles[quantize.getScales()] = scales;
  Value inverse = arith::DivFOp::create(b, b.like(scales, 1.0), scales);
  return reshaped(toCodes(x, b.broadcast(inverse, 1, size)), 1, step, b);
}

void RowsConverter::store(Value at, Tiles &tiles) {
  for (auto [result, value] : llvm::zip(group.getResults(), yield.getOperands())) {
    if (quantize && value == quantize.getScales()) {
      if (!hasGroups())
        continue; // one for the row
      evaluate(quantize.getResult(), at, tiles);
      Value scales = tiles.lookup(value), number = arith::DivUIOp::create(b, at, b.index(quantize.getGroupSize()));
      b.store(scales, output(result), {row, columnOf(result, number)});
      continue;
    }
    Type element = cast<RankedTensorType>(value.getType()).getElementType();
    Value tile = evaluate(value, at, tiles);
    b.store(isa<FloatType>(element) ? b.toType(tile, element) : tile, output(result), {row, columnOf(result, at)});
  }
}

/// Combines `term` of all elements of `value` of the row; `held` has the row if the block holds it. Terms that are 0
/// count for nothing.
Value RowsConverter::reduceRow(Reduction kind, Value value, Tiles &held, llvm::function_ref<Value(Value)> term) {
  auto reduceAt = [&](Value at, Value x) {
    // Past the end of a row that others share lie other values.
    Value inside =
        b.less(b.add(b.iota(step), b.splat(b.toI32(at), {step})), b.full(b.tileType({step}, b.getI32Type()), columns));
    Value result = term(x);
    result = b.select(b.broadcast(inside, 0, 1), result, b.like(result, 0.0));
    return b.reduce(kind, result, 1);
  };
  Value first = b.index(0);
  if (isHeld())
    return reduceAt(first, held[value] = b.toF32(evaluate(value, first, held)));
  Value zero = b.full(b.tileType({1}, b.getF32Type()), 0.0);
  return b.loop(first, b.index(columns), step, zero, [&](Value at, ValueRange carried) {
    Tiles tiles;
    Value of = reduceAt(at, b.toF32(evaluate(value, at, tiles)));
    return SmallVector<Value>{kind == Reduction::Add ? b.add(carried[0], of) : b.maximum(carried[0], of)};
  })[0];
}

/// Loads what is read beside the sum: before the ranks wait for each other.
void RowsConverter::loadBeforeSum(Tiles &held) {
  Value first = b.index(0);
  for (Operation &op : group.getBody().front().without_terminator())
    for (Value operand : op.getOperands())
      if (&op != sum && isa<RankedTensorType>(operand.getType()) && isFromOutside(operand))
        evaluate(operand, first, held);
  if (norm) {
    normWeight = loadNormWeight(norm, first, step, b);
    normBias = loadNormBias(norm, first, step, b);
  }
}

/// The row that is summed over ranks.
Value RowsConverter::receive(Value at) {
  Type element = cast<RankedTensorType>(sum.getType()).getElementType();
  return tile::ReceiveSumOp::create(b, b.tileType({1, step}, element), input(sum.getInput()), ValueRange{row, at},
                                    exchange, sum.getPushed(), sum.getEarly());
}

/// `tile`, the sum of ranks after `value`, with the bits that it has where the norm reads it from memory.
Value RowsConverter::roundedAsStored(Value value, Value tile) {
  Type element = cast<RankedTensorType>(value.getType()).getElementType();
  bool isStored = llvm::is_contained(yield.getOperands(), value);
  return sum && isStored ? b.toF32(b.toType(tile, element)) : tile;
}

void RowsConverter::emitNorm(Tiles &held) {
  if (norm.subtractsMean()) {
    Value total = reduceRow(Reduction::Add, norm.getInput(), held, [](Value x) { return x; });
    mean = b.broadcast(b.mul(total, b.like(total, 1.0 / static_cast<double>(columns))), 1, step);
  }
  Value squares = reduceRow(Reduction::Add, norm.getInput(), held, [&](Value x) {
    Value difference = mean ? b.sub(x, mean) : x;
    return b.mul(difference, difference);
  });
  inverse = emitInverseNorm(norm, squares, b);
}

/// The scales for these largest magnitudes.
Value RowsConverter::scaleOf(Value largest) {
  Value fraction = b.mul(largest, b.like(largest, 1.0 / quantize.getLargestCode()));
  return b.maximum(fraction, b.like(fraction, quantize.getLeastScale()));
}

/// The scale of the row that is quantized as a whole, and its inverse.
void RowsConverter::emitScale(Tiles &held) {
  if (quantize.getScale()) {
    Value given = b.weightVector(quantize.getScaleAttr());
    auto count = cast<tile::ViewType>(given.getType()).getShape()[0];
    for (int64_t i = 0; i < count; ++i) {
      Value one = b.load(given, ValueRange{b.index(i)}, {1});
      scale = scale ? b.maximum(scale, one) : one;
    }
  } else {
    Value largest = reduceRow(Reduction::Max, quantize.getInput(), held,
                              [&](Value x) -> Value { return math::AbsFOp::create(b, x); });
    scale = scaleOf(largest);
  }
  perScale = arith::DivFOp::create(b, b.like(scale, 1.0), scale);
  for (auto [result, value] : llvm::zip(group.getResults(), yield.getOperands()))
    if (value == quantize.getScales())
      b.store(b.broadcast(scale, 1, 1), output(result), {row, columnOf(result, b.index(0))});
}

FailureOr<tile::ProgramOp> RowsConverter::run() {
  if (failed(findOps()))
    return failure();
  if (failed(checkSum()))
    return failure();
  declareViews();
  Tiles held;
  if (sum)
    loadBeforeSum(held);
  if (norm)
    emitNorm(held);
  if (quantize && !hasGroups())
    emitScale(held);
  if ((norm || quantize) && isHeld())
    store(b.index(0), held);
  else
    b.loop(b.index(0), b.index(columns), step, {}, [&](Value at, ValueRange) {
      Tiles tiles;
      store(at, tiles);
      return SmallVector<Value>{};
    });
  if (hasFailed)
    return failure();
  return b.finish({ProgramBuilder::count(b.getContext(), extent)});
}

LogicalResult inlay::convertRows(GroupOp group, ProgramBuilder &b, tile::ProgramOp &result) {
  FailureOr<tile::ProgramOp> program = RowsConverter(group, b).run();
  if (failed(program))
    return failure();
  result = *program;
  return success();
}
