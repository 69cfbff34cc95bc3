//===- Sharding.cpp - how ops run on ranks that divide their columns -------===//

#include "dialects/llm/Llm.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace inlay::llm;

int64_t inlay::llm::getRanks(Operation *op) {
  auto module = isa<ModuleOp>(op) ? cast<ModuleOp>(op) : op->getParentOfType<ModuleOp>();
  auto ranks = module ? module->getAttrOfType<IntegerAttr>(kRanksAttr) : IntegerAttr();
  return ranks ? ranks.getInt() : 1;
}

static int64_t columns(Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(1); }

//===----------------------------------------------------------------------===//
// #llm.shard
//===----------------------------------------------------------------------===//

LogicalResult ShardAttr::verify(function_ref<InFlightDiagnostic()> emitError, Axis axis, int64_t parts, int64_t size,
                                int64_t index) {
  if (parts < 1)
    return emitError() << "a shard is one of " << parts << " parts, expected at least 1";
  if (size < 0 || (size > 0 && axis != Axis::Rows))
    return emitError() << "a shard has parts of " << size << " " << stringifyAxis(axis)
                       << "; only parts of rows have a size, above 0";
  if (index < -1 || index >= parts || (index >= 0 && (size > 0 || axis != Axis::Rows)))
    return emitError() << "a source is part " << index << " of " << parts << " of its weight's " << stringifyAxis(axis)
                       << "; only rows without a size have parts 0 to " << parts - 1;
  return success();
}

SourceAttr SourceAttr::withShard(ShardAttr shard) const {
  return get(getContext(), getName().getValue(), getTransposed(), getBlock(), getOffset(), getCount(), getHeadDim(),
             getRotaryDim(), getStorage(), shard);
}

int64_t SourceAttr::getWholeColumns(int64_t columns) const {
  ShardAttr shard = getShard();
  return shard && shard.getAxis() == Axis::Columns ? columns * shard.getParts() : columns;
}

//===----------------------------------------------------------------------===//
// Ops of several ranks
//===----------------------------------------------------------------------===//

LogicalResult AllReduceOp::verify() {
  if (getEarly() && !getPushed())
    return emitOpError("is early and not pushed; expected rows that the kernel before pushes (llm-push-sums)");
  return success();
}

LogicalResult AllGatherOp::verifySymbolUses(SymbolTableCollection &) {
  int64_t own = columns(getInput()), all = columns(getResult()), ranks = getRanks(*this);
  if (all > own * ranks)
    return emitOpError() << "makes " << all << " columns of " << own << " on each of " << ranks
                         << " ranks, expected at most " << own * ranks;
  if (cast<RankedTensorType>(getInput().getType()).getElementType() !=
      cast<RankedTensorType>(getResult().getType()).getElementType())
    return emitOpError() << "makes " << getResult().getType() << " of " << getInput().getType();
  return success();
}

LogicalResult inlay::llm::verifySquares(Operation *op, Value rows, Value squares) {
  if (columns(squares) == 0 || columns(rows) % columns(squares) != 0 ||
      !cast<RankedTensorType>(squares.getType()).getElementType().isF32())
    return op->emitOpError() << "has sums of squares " << squares.getType() << " of " << rows.getType()
                             << ", expected an f32 for each of equal parts of a row";
  return success();
}

LogicalResult SumOfSquaresOp::verify() { return verifySquares(*this, getInput(), getResult()); }

LogicalResult RmsScaleOp::verify() {
  if (getInput().getType() != getResult().getType())
    return emitOpError() << "makes " << getResult().getType() << " of " << getInput().getType();
  if (static_cast<int64_t>(getColumns()) < columns(getInput()))
    return emitOpError() << "has " << columns(getInput()) << " of " << getColumns() << " columns of a row";
  if (columns(getSquares()) != 1)
    return emitOpError() << "has sums of squares " << getSquares().getType() << ", expected tensor<?x1xf32>";
  return verifySquares(*this, getInput(), getSquares());
}

LogicalResult SampleCandidateOp::verify() {
  constexpr int64_t most = int64_t{1} << 24; // whole numbers of an f32
  auto vocabulary = static_cast<int64_t>(getVocabulary());
  if (vocabulary < 1 || vocabulary > most)
    return emitOpError() << "has a vocabulary of " << vocabulary << " tokens, expected 1 to " << most;
  auto result = cast<RankedTensorType>(getResult().getType());
  if (result.getDimSize(1) != 2 || !result.getElementType().isF32())
    return emitOpError() << "makes " << result << ", expected a score and a token id, tensor<?x2xf32>";
  return success();
}

LogicalResult SampleMergeOp::verify() {
  auto candidates = cast<RankedTensorType>(getCandidates().getType());
  if (candidates.getDimSize(1) < 2 || candidates.getDimSize(1) % 2 != 0 || !candidates.getElementType().isF32())
    return emitOpError() << "takes " << candidates << ", expected two columns of f32 for each rank";
  return success();
}

//===----------------------------------------------------------------------===//
// What ranks divide
//===----------------------------------------------------------------------===//

SplitUnits GatedActivationOp::getSplitUnits(unsigned index) { return {columns(getOperand(index)), "columns"}; }
SplitUnits ActivationOp::getSplitUnits(unsigned) { return {columns(getInput()), "columns"}; }

SplitUnits KvAppendOp::getSplitUnits(unsigned index) {
  Value operand = getOperand(index);
  if (operand != getKey() && operand != getValue())
    return {};
  return {columns(operand) / static_cast<int64_t>(getHeadDim()), "kv heads", /*repeats=*/true};
}

SplitUnits PagedAttentionOp::getSplitUnits(unsigned index) {
  if (getOperand(index) != getQuery())
    return {};
  return {static_cast<int64_t>(getHeads()), "heads"};
}

SmallVector<StringRef> PagedAttentionOp::getWeightsOfColumns() {
  return getSinks() ? SmallVector<StringRef>{getSinksAttrName()} : SmallVector<StringRef>{};
}

void PagedAttentionOp::makePart(int64_t ranks) {
  auto heads = static_cast<int64_t>(getHeads()), kvHeads = static_cast<int64_t>(getKvHeads());
  setHeads(heads / ranks);
  setKvHeads(kvHeads / std::min(kvHeads, ranks));
}

/// The weights of `norm` that have an element for each column of a row, and not those that heads share.
static SmallVector<StringRef> weightsOfColumns(NormInterface norm,
                                               ArrayRef<std::pair<StringRef, FlatSymbolRefAttr>> all) {
  SmallVector<StringRef> names;
  for (auto [attribute, symbol] : all)
    if (auto weight = symbol ? SymbolTable::lookupNearestSymbolFrom<WeightOp>(norm, symbol) : WeightOp())
      if (!norm.getGroup() || weight.getTensorType().getNumElements() != norm.getSize())
        names.push_back(attribute);
  return names;
}

bool RmsNormOp::keepsColumns() { return getGroup().has_value(); }
SmallVector<StringRef> RmsNormOp::getWeightsOfColumns() {
  return weightsOfColumns(*this, {{getWeightAttrName(), getWeightAttr()}});
}
bool LayerNormOp::keepsColumns() { return getGroup().has_value(); }
SmallVector<StringRef> LayerNormOp::getWeightsOfColumns() {
  return weightsOfColumns(*this, {{getWeightAttrName(), getWeightAttr()}, {getBiasAttrName(), getBiasAttr()}});
}

bool AddOp::isSum() { return true; }

SplitUnits SampleOp::getSplitUnits(unsigned index) {
  if (getOperand(index) != getLogits())
    return {};
  return {columns(getLogits()), "rows of the vocabulary", /*repeats=*/false, /*pads=*/true};
}
bool SampleOp::keepsColumns() { return false; }
