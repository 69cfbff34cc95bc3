//===- OutlineGroup.cpp - makes an llm.group of ops ------------------------===//

#include "passes/llm/OutlineGroup.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

/// Says what `group` became.
static void describe(const Group &group, GroupOp op, int64_t maxRows) {
  std::string members;
  int64_t weightBytes = 0;
  for (Operation &member : op.getBody().front().without_terminator()) {
    members += (members.empty() ? "" : ", ") + member.getName().stripDialect().str();
    if (auto fusion = dyn_cast<FusionInterface>(member))
      weightBytes += fusion.getWeightBytes(maxRows);
  }
  InFlightDiagnostic remark = op.emitRemark() << "one kernel (" << group.family << "): " << members;
  if (weightBytes)
    remark << "; reads " << weightBytes << " bytes of weights";
  if (group.savedBytes)
    remark << "; saves " << group.savedBytes << " bytes a row";
}

void inlay::llm::outlineGroup(const Group &group, int64_t maxRows) {
  SmallVector<Operation *> ops(group.ops.begin(), group.ops.end());
  llvm::sort(ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  SmallVector<Value> outputs;
  // What the prologue of a product computes comes last.
  SmallVector<Operation *> writers(ops);
  if (isa<LinearOp>(group.ops.front()))
    std::rotate(writers.begin(), llvm::find(writers, group.ops.front()), writers.end());
  for (Operation *op : writers)
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) { return !group.ops.contains(user); }))
        outputs.push_back(result);
  OpBuilder builder(ops.back());
  auto grouped = GroupOp::create(builder, NameLoc::get(builder.getStringAttr(group.name)),
                                 ValueRange(outputs).getTypes(), group.name, group.family);
  Block &body = grouped.getBody().emplaceBlock();
  for (Operation *op : ops)
    op->moveBefore(&body, body.end());
  builder.setInsertionPointToEnd(&body);
  auto yield = YieldOp::create(builder, grouped.getLoc(), outputs);
  for (auto [inner, outer] : llvm::zip(outputs, grouped.getResults()))
    inner.replaceUsesWithIf(
        outer, [&](OpOperand &use) { return use.getOwner() != yield && use.getOwner()->getParentOp() != grouped; });
  describe(group, grouped, maxRows);
}
