//===- ShardPlan.cpp - what ranks divide of a function ---------------------===//

#include "passes/llm/ShardPlan.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace inlay::llm;

/// The most ranks that an error proposes.
static constexpr int64_t mostRanks = 64;

static bool isRows(Value value) { return isa<RankedTensorType>(value.getType()); }

LogicalResult ShardPlan::divide(Value value, const SplitUnits &wanted, Operation *reader) {
  auto [it, isNew] = units.try_emplace(value, wanted);
  if (!isNew) {
    if (it->second.count != wanted.count)
      return reader->emitError() << "divides " << wanted.count << " " << wanted.name << " of '"
                                 << getCheckpointName(value.getDefiningOp()) << "', of which others divide "
                                 << it->second.count << " " << it->second.name;
    return success();
  }
  Operation *op = value.getDefiningOp();
  if (auto linear = dyn_cast_or_null<LinearOp>(op)) {
    if (linear.getNumResults() == 1)
      return success();
    return linear.emitError() << "makes " << linear.getNumResults()
                              << " results; run llm-shard before llm-fuse-projections";
  }
  if (!isa_and_nonnull<ShardInterface>(op))
    return reader->emitError() << "divides its " << wanted.name << " among ranks, but reads them from "
                               << (op ? "'" + getCheckpointName(op).str() + "'" : "a parameter")
                               << "; expected a matrix product";
  for (Value operand : op->getOperands())
    if (isRows(operand) && failed(divide(operand, wanted, reader)))
      return failure();
  return success();
}

/// A product of divided columns reads whole groups of its codes on each rank.
void ShardPlan::findGroups(LinearOp linear) {
  auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(linear, linear.getWeightAttr());
  QuantizedAttr quantized = weight ? weight.getQuantizedAttr() : QuantizedAttr();
  int64_t columns = weight ? weight.getTensorType().getShape().back() : 0;
  if (!quantized || quantized.getGroup() >= columns)
    return;
  // A last group that is cut belongs to no rank.
  int64_t group = quantized.getGroup(), groups = columns % group == 0 ? columns / group : 1;
  constraints.push_back({linear,
                         {groups, "groups"},
                         llvm::formatv("{0} columns of '{1}' in groups of {2}", columns, weight.getSymName(), group)});
}

LogicalResult ShardPlan::find(func::FuncOp function) {
  Block &body = function.getBody().front();
  for (Operation &op : body) {
    if (isa<QuantizeOp>(op))
      return op.emitError() << "quantizes rows that ranks may divide; run llm-shard before llm-quantize-activations";
    if (auto gather = dyn_cast<GatherColumnsOp>(op); gather && units.contains(gather.getInput()))
      return gather.emitError() << "takes columns in the order of '" << gather.getOrder()
                                << "', in which the checkpoint sorted them before it quantized them (desc_act, "
                                   "actorder); ranks that divide these columns would need those of others; expected a "
                                   "tensor parallel size of 1, or a checkpoint whose columns are in order";
    auto shard = dyn_cast<ShardInterface>(op);
    for (OpOperand &operand : op.getOpOperands()) {
      SplitUnits wanted = shard ? shard.getSplitUnits(operand.getOperandNumber()) : SplitUnits();
      if (wanted.count == 0)
        continue;
      constraints.push_back({&op, wanted, llvm::formatv("{0} {1}", wanted.count, wanted.name)});
      if (failed(divide(operand.get(), wanted, &op)))
        return failure();
    }
    if (shard && shard.keepsColumns())
      for (Value operand : op.getOperands())
        if (SplitUnits divided = units.lookup(operand); divided.count > 0)
          for (Value result : op.getResults())
            if (isRows(result))
              units.try_emplace(result, divided);
    if (auto linear = dyn_cast<LinearOp>(op); linear && units.contains(linear.getInput()))
      findGroups(linear);
  }
  return success();
}

bool ShardPlan::canDivide(int64_t ranks) const {
  return llvm::all_of(constraints, [&](const Constraint &each) { return each.units.canDivide(ranks); });
}

LogicalResult ShardPlan::check(int64_t ranks) const {
  for (const Constraint &each : constraints) {
    if (each.units.canDivide(ranks))
      continue;
    SmallVector<std::string> possible;
    for (int64_t other = 2; other <= mostRanks; ++other)
      if (canDivide(other))
        possible.push_back(std::to_string(other));
    InFlightDiagnostic error = each.op->emitError()
                               << "has " << each.text << ", which " << ranks << " ranks cannot divide evenly; ";
    if (possible.empty())
      return error << "no number of ranks up to " << mostRanks << " can divide this model";
    return error << "expected a tensor parallel size of " << llvm::join(possible, ", ");
  }
  return success();
}
