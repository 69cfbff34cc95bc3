//===- FusionCost.cpp - what it saves and costs to fuse an op --------------===//

#include "passes/llm/FusionCost.h"

#include "passes/tile/LinearSchedule.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

/// Bytes of one row of `value`; 0 for what is no activation.
static int64_t rowBytes(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() == 2 ? type.getDimSize(1) * type.getElementTypeBitWidth() / 8 : 0;
}

int64_t inlay::llm::getSavedBytes(Operation *op, const OpSet &group) {
  SetVector<Value> between;
  for (Value operand : op->getOperands())
    if (group.contains(operand.getDefiningOp()))
      between.insert(operand);
  for (Value result : op->getResults())
    if (llvm::any_of(result.getUsers(), [&](Operation *user) { return group.contains(user); }))
      between.insert(result);

  int64_t bytes = 0;
  for (Value value : between) {
    bool isReadElsewhere =
        llvm::any_of(value.getUsers(), [&](Operation *user) { return user != op && !group.contains(user); });
    bytes += rowBytes(value) * (isReadElsewhere ? 1 : 2);
  }
  return bytes;
}

/// The product of one row that the streaming kernel of `linear` computes.
static LinearShape streamedShape(LinearOp linear) {
  auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(linear, linear.getWeightAttr());
  LinearShape shape{weight.getTensorType().getDimSize(0), weight.getTensorType().getDimSize(1), /*rows=*/1};
  if (weight.getQuantized())
    shape.weightBits = weight.getTensorType().getElementTypeBitWidth();
  return shape;
}

bool inlay::llm::fitsRegisters(LinearOp linear, int64_t vectors, tile::TargetAttr target) {
  LinearShape shape = streamedShape(linear);
  tile::StreamAttr schedule = chooseStream(shape, target, [&] { return linear.emitError(); });
  return schedule && rowRegisters(schedule, shape, vectors) <= kMostRowRegisters;
}

int64_t inlay::llm::getReadTime(LinearOp linear, int64_t bytes, tile::TargetAttr target) {
  tile::StreamAttr schedule = chooseStream(streamedShape(linear), target, [&] { return linear.emitError(); });
  return schedule ? schedule.getBlocks() * bytes / target.costs().getCacheBytes() : 0;
}
