//===- ApplySchedule.cpp - what a block of a schedule computes -------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/FoldUtils.h"
#include "passes/tile/ApplyAttention.h"
#include "passes/tile/ApplyLinear.h"
#include "passes/tile/Passes.h"

namespace inlay {
#define GEN_PASS_DEF_APPLYSCHEDULEPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct ApplySchedulePass : inlay::impl::ApplySchedulePassBase<ApplySchedulePass> {
  void runOnOperation() override;
};
} // namespace

/// Folds the arithmetic that `value`, now a constant, leads to; a branch whose condition holds gives way to its body.
static void foldUsers(Value value) {
  OperationFolder folder(value.getContext());
  SetVector<Operation *> users(value.user_begin(), value.user_end());
  while (!users.empty()) {
    Operation *user = users.pop_back_val();
    if (auto branch = dyn_cast<scf::IfOp>(user); branch && matchPattern(branch.getCondition(), m_One())) {
      IRRewriter rewriter(branch);
      rewriter.eraseOp(branch.thenYield());
      rewriter.inlineBlockBefore(branch.thenBlock(), branch);
      rewriter.eraseOp(branch);
      continue;
    }
    SmallVector<Operation *> next(user->user_begin(), user->user_end());
    bool isUpdated = false;
    if (isa<arith::ArithDialect>(user->getDialect()) && succeeded(folder.tryToFold(user, &isUpdated)) && !isUpdated)
      users.insert(next.begin(), next.end());
  }
}

/// Puts a number in the place of what each `Op` of `program` gives.
template <typename Op> static void replaceByNumber(tile::ProgramOp program, int64_t number) {
  SmallVector<Op> ops;
  program.walk([&](Op op) { ops.push_back(op); });
  for (Op op : ops) {
    OpBuilder builder(op);
    Value constant = arith::ConstantIndexOp::create(builder, op.getLoc(), number);
    op->getResult(0).replaceAllUsesWith(constant);
    op->erase();
    foldUsers(constant);
  }
}

/// Puts the number of blocks of a cluster where `program` asks for it. A block that is alone is the first, and has the
/// whole of each reduction.
static void resolveCluster(tile::ProgramOp program) {
  int64_t cluster = tile::clusterOf(program);
  replaceByNumber<tile::ClusterSizeOp>(program, cluster);
  if (cluster > 1)
    return;
  program.walk([](tile::ClusterReduceOp reduce) {
    reduce.getResult().replaceAllUsesWith(reduce.getValue());
    reduce.erase();
  });
  replaceByNumber<tile::ClusterRankOp>(program, 0);
}

/// Whether the program's work is divided already.
static bool isApplied(tile::ProgramOp program) {
  return program.walk([](tile::ForWarpsOp) { return WalkResult::interrupt(); }).wasInterrupted();
}

void ApplySchedulePass::runOnOperation() {
  for (tile::ProgramOp program : getOperation().getOps<tile::ProgramOp>()) {
    tile::Schedule schedule = program.getScheduleAttr();
    if (!schedule || schedule.isPending())
      continue;
    if (failed(applyAttention(program)))
      return signalPassFailure();
    bool isLinear = schedule.getPipeline() && !schedule.getAttentionTile();
    if (isLinear && !isApplied(program) && failed(applyLinear(program)))
      return signalPassFailure();
    resolveCluster(program);
  }
}
