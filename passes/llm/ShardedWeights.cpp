//===- ShardedWeights.cpp - weights of which each rank has a part ----------===//

#include "passes/llm/ShardedWeights.h"

using namespace mlir;
using namespace inlay::llm;

ShardedWeights::ShardedWeights(ModuleOp module) : module(module), symbols(module) {
  module.walk([&](Operation *op) {
    for (NamedAttribute attribute : op->getAttrs())
      countUses(attribute.getValue(), 1);
  });
}

/// Counts the symbols that `attribute` names, `change` times each.
void ShardedWeights::countUses(Attribute attribute, int change) {
  attribute.walk([&](FlatSymbolRefAttr symbol) { uses[symbol.getAttr()] += change; });
}

FailureOr<FlatSymbolRefAttr> ShardedWeights::divide(Operation *user, FlatSymbolRefAttr name, const Division &division) {
  auto [it, isNew] = parts.try_emplace({name.getValue().str(), division});
  if (!isNew)
    return it->second;
  auto weight = symbols.lookup<WeightOp>(name.getValue());
  if (!weight)
    return user->emitError() << "reads '" << name.getValue() << "', which is no llm.weight";
  if (uses.lookup(name.getAttr()) > 1) {
    --uses[name.getAttr()];
    auto part = cast<WeightOp>(weight->clone());
    part.setSymName((name.getValue() + ".shard").str());
    name = FlatSymbolRefAttr::get(symbols.insert(part, std::next(Block::iterator(weight))));
    uses[name.getAttr()] = 1;
    if (part.getQuantizedAttr())
      countUses(part.getQuantizedAttr(), 1);
    weight = part;
  }
  if (failed(divideInPlace(user, weight, division)))
    return failure();
  return it->second = name;
}

LogicalResult ShardedWeights::divideInPlace(Operation *user, WeightOp weight, const Division &division) {
  if (!weight.getSources())
    return weight.emitError() << "has inline contents, which ranks cannot divide; expected sources";
  auto count = static_cast<int64_t>(weight.getSources()->size());
  bool isWhole = count != 1; // each source is one part, or some sources are
  if (isWhole && (division.axis != Axis::Rows || division.size != 0 || count % division.parts != 0))
    return weight.emitError() << "has " << count << " sources for " << division.parts
                              << " parts; run llm-shard before they are concatenated";
  if (weight.getQuantizedAttr() && failed(divideGroups(user, weight, division)))
    return failure();
  RankedTensorType type = weight.getTensorType();
  SmallVector<int64_t> shape(type.getShape());
  int64_t &size = division.axis == Axis::Rows ? shape.front() : shape.back();
  SmallVector<Attribute> sources;
  for (auto [i, attribute] : llvm::enumerate(*weight.getSources())) {
    SourceAttr source = SourceAttr::of(attribute);
    if (source.getShard())
      return user->emitError() << "reads '" << weight.getSymName() << "', which ranks divide in two ways";
    int64_t index = isWhole ? static_cast<int64_t>(i) / (count / division.parts) : -1;
    sources.push_back(
        source.withShard(ShardAttr::get(weight.getContext(), division.axis, division.parts, division.size, index)));
  }
  size = division.size ? division.size : size / division.parts;
  weight.setType(type.clone(shape));
  weight.setSourcesAttr(Builder(weight.getContext()).getArrayAttr(sources));
  return success();
}

/// Divides scales and zero points as their weight. One scale of a whole row is on all ranks.
LogicalResult ShardedWeights::divideGroups(Operation *user, WeightOp weight, const Division &division) {
  QuantizedAttr quantized = weight.getQuantizedAttr();
  int64_t columns = weight.getTensorType().getDimSize(1);
  if (division.axis == Axis::Columns && quantized.getGroup() >= columns) {
    weight.setQuantizedAttr(QuantizedAttr::get(weight.getContext(), quantized.getCodes(), quantized.getScales(),
                                               quantized.getZeroPoints(), quantized.getZeroPoint(),
                                               columns / division.parts, quantized.getActivations(),
                                               quantized.getActivationObstacle()));
    return success();
  }
  FailureOr<FlatSymbolRefAttr> scales = divide(user, quantized.getScales(), division), zeroPoints = FlatSymbolRefAttr();
  if (quantized.getZeroPoints())
    zeroPoints = divide(user, quantized.getZeroPoints(), division);
  if (failed(scales) || failed(zeroPoints))
    return failure();
  weight.setQuantizedAttr(quantized.withSymbols(*scales, *zeroPoints, quantized.getActivationScale()));
  return success();
}

void ShardedWeights::eraseUnused() {
  for (auto weight : llvm::make_early_inc_range(module.getOps<WeightOp>()))
    if (auto it = uses.find(weight.getSymNameAttr()); it != uses.end() && it->second == 0)
      symbols.erase(weight);
}
