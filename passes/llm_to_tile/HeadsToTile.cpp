//===- HeadsToTile.cpp - norms, rotations and the append of heads ----------===//
//
// One block is some rows of one head of the queries, keys or values. A head is
// handled in parts of equally many columns, a power of two, such that the halves that
// rope rotates and the rest of the head are whole parts.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/Elementwise.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;
using tile::Reduction;

namespace {

/// The heads of a value from outside the group, and the norms and rotations that are applied before they are stored.
struct Heads {
  enum class Target { Output, Keys, Values } target = Target::Output;
  unsigned result = 0; // of the group, for an output
  Value source;        // from outside the group
  SmallVector<Operation *> steps;
  int64_t count = 0; // heads
};

/// Writes the program of one group.
class HeadsConverter {
public:
  HeadsConverter(GroupOp group, ProgramBuilder &b) : group(group), b(b) {}
  FailureOr<tile::ProgramOp> run();

private:
  using Parts = SmallVector<Value>;

  GroupOp group;
  ProgramBuilder &b;
  KvAppendOp append; // null if the group appends nothing
  SmallVector<Heads> all;
  int64_t headDim = 0, columns = 0, rowsPerBlock = 1; // of a head; of a part
  Type element;
  Value row, positions;

  LogicalResult findHeads();
  LogicalResult trace(Heads heads, Value value);
  LogicalResult chooseHeadDim(int64_t size, Operation *op);
  void choosePart();
  void emit(size_t index, int64_t firstHead, Value head);
  Parts load(const Heads &heads, Value head);
  void normalize(NormInterface norm, Value head, Parts &parts);
  void rotate(RopeOp rope, Parts &parts);
  void write(const Heads &heads, Value head, const Parts &parts);

  Value sum(Value a, Value c) { return arith::AddIOp::create(b, a, c); }
  Value product(Value a, int64_t c) { return arith::MulIOp::create(b, a, b.index(c)); }
};

} // namespace

LogicalResult HeadsConverter::chooseHeadDim(int64_t size, Operation *op) {
  if (headDim != 0 && headDim != size)
    return op->emitError() << "has heads of " << size << " beside heads of " << headDim << " in one kernel";
  headDim = size;
  return success();
}

/// Walks back from `value` over norms and rotations to a value from outside.
LogicalResult HeadsConverter::trace(Heads heads, Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (op->getParentOp() != group)
      break;
    auto norm = dyn_cast<NormInterface>(op);
    auto rope = dyn_cast<RopeOp>(op);
    if (!rope && !(norm && norm.getGroup()))
      return op->emitError() << "cannot stand between a product and the cache; expected a per-head norm or a rope";
    if (failed(chooseHeadDim(rope ? static_cast<int64_t>(rope.getHeadDim()) : norm.getSize(), op)))
      return failure();
    heads.steps.insert(heads.steps.begin(), op);
    value = op->getOperand(0);
  }
  heads.source = value;
  all.push_back(std::move(heads));
  return success();
}

LogicalResult HeadsConverter::findHeads() {
  Block &body = group.getBody().front();
  for (auto found : body.getOps<KvAppendOp>()) {
    if (append)
      return found.emitError() << "is the second append of one kernel";
    append = found;
    if (failed(chooseHeadDim(append.getHeadDim(), append)))
      return failure();
  }
  for (auto [i, value] : llvm::enumerate(body.getTerminator()->getOperands())) {
    Heads heads;
    heads.result = i;
    if (isa<RankedTensorType>(value.getType()) && failed(trace(std::move(heads), value)))
      return failure();
  }
  if (append)
    for (auto [target, value] :
         {std::pair(Heads::Target::Keys, append.getKey()), std::pair(Heads::Target::Values, append.getValue())}) {
      Heads heads;
      heads.target = target;
      if (failed(trace(std::move(heads), value)))
        return failure();
    }
  for (Heads &heads : all) {
    heads.count = cast<RankedTensorType>(heads.source.getType()).getDimSize(1) / headDim;
    element = cast<RankedTensorType>(heads.source.getType()).getElementType();
  }
  return success();
}

/// The largest power of two of which the rotated halves and the head are multiples.
void HeadsConverter::choosePart() {
  int64_t boundaries = headDim;
  group.walk([&](RopeOp rope) { boundaries |= rope.getRotaryDim() / 2; });
  columns = boundaries & -boundaries;
}

HeadsConverter::Parts HeadsConverter::load(const Heads &heads, Value head) {
  Value input = b.activation(heads.source, Provenance::Activation);
  Value column = sum(product(head, headDim), b.index(Placement::of(heads.source).column));
  SmallVector<Value> starts{column};
  for (int64_t at = columns; at < headDim; at += columns)
    starts.push_back(sum(column, b.index(at)));
  Parts parts;
  for (Value start : starts)
    parts.push_back(b.toF32(b.load(input, ValueRange{row, start}, {rowsPerBlock, columns})));
  return parts;
}

void HeadsConverter::normalize(NormInterface norm, Value head, Parts &parts) {
  auto total = [&](llvm::function_ref<Value(Value)> of) {
    Value result;
    for (Value part : parts) {
      Value ofPart = b.reduce(Reduction::Add, of(part), 1);
      result = result ? b.add(result, ofPart) : ofPart;
    }
    return result;
  };
  if (norm.subtractsMean()) {
    Value all = total([](Value x) { return x; });
    Value mean = b.broadcast(b.mul(all, b.like(all, 1.0 / static_cast<double>(headDim))), 1, columns);
    for (Value &part : parts)
      part = b.sub(part, mean);
  }
  Value squares = total([&](Value x) { return b.mul(x, x); });
  Value inverse = b.broadcast(emitInverseNorm(norm, squares, b), 1, columns);
  for (auto [i, part] : llvm::enumerate(parts)) {
    /// Where the part begins in a vector that all heads share, or that has elements for each.
    auto at = [&](FlatSymbolRefAttr vector) -> Value {
      Value start = b.index(static_cast<int64_t>(i) * columns);
      auto weight = vector ? cast<WeightOp>(b.getSymbols().lookup(vector.getValue())) : WeightOp();
      bool isOfEachHead = weight && weight.getTensorType().getNumElements() > headDim;
      return isOfEachHead ? sum(product(head, headDim), start) : start;
    };
    Value weight = loadNormWeight(norm, at(norm.getWeightAttr()), columns, b);
    part = b.mul(part, inverse);
    if (weight)
      part = b.mul(part, b.broadcast(weight, 0, rowsPerBlock));
    if (Value bias = loadNormBias(norm, at(norm.getBiasAttr()), columns, b))
      part = b.add(part, b.broadcast(bias, 0, rowsPerBlock));
  }
}

void HeadsConverter::rotate(RopeOp rope, Parts &parts) {
  Value table = b.weight(rope.getTableAttr());
  Value tableRows = rowsOfTable(b, rope.getTableOp(), positions, row, rowsPerBlock);
  int64_t half = rope.getRotaryDim() / 2, pairs = half / columns;
  for (int64_t i = 0; i < pairs; ++i) {
    Value cos = b.gather(table, tableRows, b.index(i * columns), columns);
    Value sin = b.gather(table, tableRows, b.index(half + i * columns), columns);
    Value low = parts[i], high = parts[i + pairs];
    parts[i] = b.sub(b.mul(low, cos), b.mul(high, sin));
    parts[i + pairs] = b.add(b.mul(high, cos), b.mul(low, sin));
  }
}

void HeadsConverter::write(const Heads &heads, Value head, const Parts &parts) {
  if (heads.target == Heads::Target::Output) {
    SmallVector<Value> rounded;
    for (Value part : parts)
      rounded.push_back(b.toType(part, element));
    Value result = group.getResult(heads.result);
    Value output = b.activation(result, Provenance::Output);
    Value column = sum(product(head, headDim), b.index(Placement::of(result).column));
    for (auto [i, part] : llvm::enumerate(rounded))
      b.store(part, output, {row, i == 0 ? column : sum(column, b.index(static_cast<int64_t>(i) * columns))});
    return;
  }
  Value sequences =
      b.load(b.metadata("RowSequences", b.getI32Type(), tile::Extent::Tokens), ValueRange{row}, {rowsPerBlock});
  Value rows = cacheRows(b, positions, sequences, b.toI32(head), heads.count);
  bool areKeys = heads.target == Heads::Target::Keys;
  Type stored = append.getCache().getType().getStoredType(element);
  Value cache = b.cache(areKeys, append.getLayer(), headDim, stored);
  Value scale = b.cacheScale(areKeys ? append.getKeyScaleAttr() : append.getValueScaleAttr(), head);
  for (auto [i, part] : llvm::enumerate(parts))
    b.scatter(b.toStored(part, stored, scale), cache, rows, b.index(static_cast<int64_t>(i) * columns));
}

/// Handles `all[index]`, whose heads are those of the grid from `firstHead` on, and all that follow.
void HeadsConverter::emit(size_t index, int64_t firstHead, Value head) {
  const Heads &heads = all[index];
  auto handle = [&] {
    Value own = firstHead == 0 ? head : Value(arith::SubIOp::create(b, head, b.index(firstHead)));
    Parts parts = load(heads, own);
    for (Operation *step : heads.steps) {
      if (auto norm = dyn_cast<NormInterface>(step))
        normalize(norm, own, parts);
      else
        rotate(cast<RopeOp>(step), parts);
    }
    write(heads, own, parts);
  };
  if (index + 1 == all.size())
    return handle();
  Value isOwn = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, head, b.index(firstHead + heads.count));
  b.ifThen(isOwn, handle, [&] { emit(index + 1, firstHead + heads.count, head); });
}

FailureOr<tile::ProgramOp> HeadsConverter::run() {
  if (failed(findHeads()))
    return failure();
  choosePart();
  rowsPerBlock = b.getStep().isCpu() || b.getStep().maxTokens <= 16 ? 1 : 16;
  Value head = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
  row = product(tile::ProgramIdOp::create(b, b.getIndexType(), 1), rowsPerBlock);
  positions = rowPositions(b, row, rowsPerBlock);
  emit(0, 0, head);
  int64_t heads = 0;
  for (const Heads &each : all)
    heads += each.count;
  return b.finish({getAffineConstantExpr(heads, b.getContext()),
                   ProgramBuilder::count(b.getContext(), tile::Extent::Tokens, rowsPerBlock)});
}

LogicalResult inlay::convertHeads(GroupOp group, ProgramBuilder &b, tile::ProgramOp &result) {
  FailureOr<tile::ProgramOp> program = HeadsConverter(group, b).run();
  if (failed(program))
    return failure();
  result = *program;
  return success();
}
