//===- ApplySchedule.cpp - what a block of a schedule computes -------------===//

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/FoldUtils.h"
#include "passes/tile/ApplyLinear.h"
#include "passes/tile/AttentionLoop.h"
#include "passes/tile/Passes.h"

namespace inlay {
#define GEN_PASS_DEF_APPLYSCHEDULEPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;
using tile::Reduction;

namespace {
struct ApplySchedulePass : inlay::impl::ApplySchedulePassBase<ApplySchedulePass> {
  using ApplySchedulePassBase::ApplySchedulePassBase;
  void runOnOperation() override;
};
} // namespace

/// Gives each block of the cluster a run of whole tiles of keys.
static void splitBounds(AttentionLoop &found, Value rank, int64_t cluster) {
  scf::ForOp loop = found.loop;
  ImplicitLocOpBuilder b(loop.getLoc(), loop);
  auto index = [&](int64_t value) { return arith::ConstantIndexOp::create(b, value); };
  Value from = loop.getLowerBound(), to = loop.getUpperBound();
  Value span = arith::SubIOp::create(b, to, from);
  Value tiles = arith::CeilDivSIOp::create(b, span, index(cluster * found.keysPerStep));
  Value share = arith::MulIOp::create(b, tiles, index(found.keysPerStep));
  Value first = arith::AddIOp::create(b, from, arith::MulIOp::create(b, rank, share));
  loop.setLowerBound(first);
  loop.setUpperBound(arith::MinSIOp::create(b, to, arith::AddIOp::create(b, first, share)));
}

/// Combines maxima, sums and outputs of the cluster's blocks after the loop.
static void mergeResults(AttentionLoop &found) {
  ImplicitLocOpBuilder b(found.loop.getLoc(), found.loop->getContext());
  b.setInsertionPointAfter(found.loop);
  Value top = tile::ClusterReduceOp::create(b, Reduction::Max, found.lastTop);
  Value weight = math::Exp2Op::create(b, arith::SubFOp::create(b, found.lastTop, top));
  auto merge = [&](Value own, Value factor) {
    Value scaled = arith::MulFOp::create(b, own, factor);
    Value merged = tile::ClusterReduceOp::create(b, Reduction::Add, scaled);
    own.replaceUsesWithIf(merged, [&](OpOperand &use) { return use.getOwner() != scaled.getDefiningOp(); });
  };
  // Ops after the loop that use the maximum (the logit of a sink) get the cluster's.
  Value difference = weight.getDefiningOp()->getOperand(0);
  found.lastTop.replaceUsesWithIf(top, [&](OpOperand &use) {
    Operation *user = use.getOwner();
    return user != found.loop && user != top.getDefiningOp() && user != difference.getDefiningOp();
  });
  merge(found.finalSum, weight);
  merge(found.finalOut, tile::BroadcastOp::create(b, found.finalOut.getType(), weight, /*axis=*/1));
}

/// Lets the first block of the cluster store, for all have the result.
static void storeOnce(AttentionLoop &found, Value rank) {
  ImplicitLocOpBuilder b(found.store.getLoc(), found.store);
  Value isFirst =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rank, arith::ConstantIndexOp::create(b, 0).getResult());
  auto branch = scf::IfOp::create(b, isFirst, /*withElseRegion=*/false);
  found.store->moveBefore(branch.thenYield());
}

/// Splits the keys of the attention that `program` is over the blocks of its cluster.
static LogicalResult splitAttention(tile::ProgramOp program) {
  int64_t cluster = tile::clusterOf(program);
  // One that is not split yet is found as if a block were alone.
  tile::Schedule schedule = program.getScheduleAttr();
  program.removeScheduleAttr();
  FailureOr<AttentionLoop> found = findAttentionLoop(program);
  program.setScheduleAttr(schedule);
  if (failed(found))
    return failure();
  OpBuilder builder(found->loop);
  Value rank = tile::ClusterRankOp::create(builder, found->loop.getLoc(), builder.getIndexType());
  splitBounds(*found, rank, cluster);
  mergeResults(*found);
  storeOnce(*found, rank);
  return success();
}

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

template <typename Op> static bool has(tile::ProgramOp program) {
  return program.walk([](Op) { return WalkResult::interrupt(); }).wasInterrupted();
}

void ApplySchedulePass::runOnOperation() {
  for (tile::ProgramOp program : getOperation().getOps<tile::ProgramOp>()) {
    tile::Schedule schedule = program.getScheduleAttr();
    if (!schedule || schedule.isPending())
      continue;
    // Of the programs that the generic lowering takes, attention has products; others divide their work themselves.
    bool isAttention = isa<tile::DecodeAttentionAttr, tile::GenericAttr>(schedule) && has<tile::DotOp>(program);
    if (isAttention && tile::clusterOf(program) > 1 && !has<tile::ClusterRankOp>(program) &&
        failed(splitAttention(program)))
      return signalPassFailure();
    if (linears && isa<tile::SwapAbAttr, tile::GemmAttr>(schedule) && failed(applyLinear(program)))
      return signalPassFailure();
    resolveCluster(program);
  }
}
