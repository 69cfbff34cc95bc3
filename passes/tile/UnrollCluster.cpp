//===- UnrollCluster.cpp - one block does the work of a cluster ------------===//

#include "dialects/tile/Tile.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "passes/tile/Passes.h"

namespace inlay {
#define GEN_PASS_DEF_UNROLLCLUSTERPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct UnrollClusterPass : inlay::impl::UnrollClusterPassBase<UnrollClusterPass> {
  void runOnOperation() override;
};

/// Puts a copy for each rank in the place of what depends on the rank.
class ClusterUnroller {
public:
  explicit ClusterUnroller(int64_t blocks) : ranks(blocks) {}

  LogicalResult unroll(Block &block);
  /// Erases what has copies.
  void finish() {
    for (Operation *op : llvm::reverse(copied))
      op->erase();
  }

private:
  bool dependsOnRank(Operation *op) const;
  void copy(Operation *op);
  void combine(tile::ClusterReduceOp reduce);
  void merge(tile::ClusterMergeOp op);

  SmallVector<IRMapping> ranks; // from values of the program to those of each rank
  SmallVector<Operation *> copied;
};
} // namespace

template <typename Op> static bool contains(Operation *op) {
  return op->walk([](Op) { return WalkResult::interrupt(); }).wasInterrupted();
}

bool ClusterUnroller::dependsOnRank(Operation *op) const {
  return op
      ->walk([&](Operation *inner) {
        bool depends = isa<tile::ClusterRankOp>(inner) || llvm::any_of(inner->getOperands(), [&](Value operand) {
                         return ranks.front().contains(operand);
                       });
        return depends ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

static Value rankConstant(OpBuilder &builder, tile::ClusterRankOp op, int64_t rank) {
  return arith::ConstantIndexOp::create(builder, op.getLoc(), rank);
}

void ClusterUnroller::copy(Operation *op) {
  OpBuilder builder(op);
  for (auto [rank, mapping] : llvm::enumerate(ranks)) {
    if (auto own = dyn_cast<tile::ClusterRankOp>(op)) {
      mapping.map(own.getResult(), rankConstant(builder, own, rank));
      continue;
    }
    Operation *clone = builder.clone(*op, mapping);
    clone->walk([&, rank = rank](tile::ClusterRankOp inner) {
      OpBuilder inside(inner);
      inner.getResult().replaceAllUsesWith(rankConstant(inside, inner, rank));
      inner.erase();
    });
  }
  copied.push_back(op);
}

static Value combinePair(ImplicitLocOpBuilder &b, tile::Reduction kind, Value x, Value y) {
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(x.getType()));
  switch (kind) {
  case tile::Reduction::Add:
    return isFloat ? Value(arith::AddFOp::create(b, x, y)) : Value(arith::AddIOp::create(b, x, y));
  case tile::Reduction::Max:
    return isFloat ? Value(arith::MaximumFOp::create(b, x, y)) : Value(arith::MaxSIOp::create(b, x, y));
  case tile::Reduction::Min:
    return isFloat ? Value(arith::MinimumFOp::create(b, x, y)) : Value(arith::MinSIOp::create(b, x, y));
  }
  llvm_unreachable("unknown reduction");
}

void ClusterUnroller::combine(tile::ClusterReduceOp reduce) {
  ImplicitLocOpBuilder b(reduce.getLoc(), reduce);
  Value result;
  for (IRMapping &mapping : ranks) {
    Value own = mapping.lookupOrDefault(reduce.getValue());
    result = result ? combinePair(b, reduce.getKind(), result, own) : own;
  }
  reduce.getResult().replaceAllUsesWith(result);
  copied.push_back(reduce);
}

/// Merges two parts of an online softmax: tile.cluster_merge says how.
static SmallVector<Value> mergePair(ImplicitLocOpBuilder &b, ValueRange x, ValueRange y) {
  Value top = arith::MaximumFOp::create(b, x[0], y[0]);
  auto scaled = [&](ValueRange part, unsigned i) -> Value {
    Value scale = math::Exp2Op::create(b, arith::SubFOp::create(b, part[0], top));
    if (cast<RankedTensorType>(part[i].getType()).getRank() == 2)
      scale = tile::BroadcastOp::create(b, part[i].getType(), scale, /*axis=*/1);
    return arith::MulFOp::create(b, part[i], scale);
  };
  SmallVector<Value> merged{top};
  for (unsigned i : {1, 2})
    merged.push_back(arith::AddFOp::create(b, scaled(x, i), scaled(y, i)));
  return merged;
}

void ClusterUnroller::merge(tile::ClusterMergeOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  SmallVector<Value> merged;
  for (IRMapping &mapping : ranks) {
    SmallVector<Value> own;
    for (Value part : op.getParts())
      own.push_back(mapping.lookupOrDefault(part));
    merged = merged.empty() ? own : mergePair(b, merged, own);
  }
  op->replaceAllUsesWith(merged);
  copied.push_back(op);
}

LogicalResult ClusterUnroller::unroll(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (auto reduce = dyn_cast<tile::ClusterReduceOp>(op)) {
      combine(reduce);
      continue;
    }
    if (auto parts = dyn_cast<tile::ClusterMergeOp>(op)) {
      merge(parts);
      continue;
    }
    if (contains<tile::ClusterReduceOp>(&op) || contains<tile::ClusterMergeOp>(&op)) {
      StringRef inner = contains<tile::ClusterReduceOp>(&op) ? "tile.cluster_reduce" : "tile.cluster_merge";
      auto branch = dyn_cast<scf::IfOp>(op);
      if (!branch || branch.getNumResults() != 0)
        return op.emitError("has a ") << inner
                                      << " inside, which tile-unroll-cluster takes from a block of the program or "
                                         "from an scf.if without results";
      if (ranks.front().contains(branch.getCondition()))
        return op.emitError("has a ") << inner
                                      << " inside and a condition that depends on the block's rank; all blocks of a "
                                         "cluster reach a "
                                      << inner;
      for (Region &region : branch->getRegions())
        for (Block &inner : region)
          if (failed(unroll(inner)))
            return failure();
      continue;
    }
    if (dependsOnRank(&op))
      copy(&op);
  }
  return success();
}

/// Makes a loop of the warps whose parts of an online softmax are merged.
static void unrollWarps(tile::ForWarpsOp warps) {
  ImplicitLocOpBuilder b(warps.getLoc(), warps);
  auto index = [&](int64_t value) { return arith::ConstantIndexOp::create(b, value).getResult(); };
  SmallVector<Value> nothing;
  for (Type type : warps.getResultTypes()) {
    auto tile = cast<RankedTensorType>(type);
    bool isTop = nothing.empty();
    APFloat value = isTop ? APFloat::getInf(APFloat::IEEEsingle(), /*Negative=*/true) : APFloat(0.0f);
    nothing.push_back(arith::ConstantOp::create(b, DenseElementsAttr::get(tile, value)));
  }
  auto loop = scf::ForOp::create(b, index(0), index(warps.getCount()), index(1), nothing);
  Block &body = warps.getBody().front();
  auto yield = cast<tile::YieldOp>(body.getTerminator());
  b.setInsertionPoint(yield);
  scf::YieldOp::create(b, mergePair(b, loop.getRegionIterArgs(), yield.getValues()));
  yield.erase();
  warps.getWarp().replaceAllUsesWith(loop.getInductionVar());
  loop.getBody()->getOperations().splice(loop.getBody()->end(), body.getOperations());
  warps.replaceAllUsesWith(loop.getResults());
  warps.erase();
}

void UnrollClusterPass::runOnOperation() {
  tile::ProgramOp program = getOperation();
  int64_t blocks = tile::clusterOf(program);
  SmallVector<tile::ForWarpsOp> merged;
  auto findMerged = [&] {
    program.walk([&](tile::ForWarpsOp warps) {
      if (warps.getNumResults() > 0)
        merged.push_back(warps);
    });
  };
  if (blocks == 1) {
    findMerged();
    for (tile::ForWarpsOp warps : merged)
      unrollWarps(warps);
    return;
  }
  if (contains<tile::ClusterSizeOp>(program)) {
    program.emitError("asks for the number of blocks of its cluster; run tile-apply-schedule first");
    return signalPassFailure();
  }
  ClusterUnroller unroller(blocks);
  if (failed(unroller.unroll(program.getBody().front())))
    return signalPassFailure();
  unroller.finish();
  findMerged();
  for (tile::ForWarpsOp warps : merged)
    unrollWarps(warps);
  program.removeScheduleAttr();
}
