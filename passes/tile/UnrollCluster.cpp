//===- UnrollCluster.cpp - one block does the work of a cluster, one warp that of all ===//

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

/// Puts a copy for each rank in the place of what depends on the rank: of a block in its cluster, or of a warp.
class Unroller {
public:
  explicit Unroller(int64_t count) : ranks(count) {}
  explicit Unroller(tile::ForWarpsOp warps);

  LogicalResult unroll(Block &block);
  /// Erases what has copies.
  void finish() {
    for (Operation *op : llvm::reverse(copied))
      op->erase();
  }

private:
  bool dependsOnRank(Operation *op) const;
  void copy(Operation *op);
  LogicalResult unrollLoop(scf::ForOp loop);
  void combine(Operation *reduce, tile::Reduction kind);
  void merge(tile::ClusterMergeOp op);

  SmallVector<IRMapping> ranks; // from values of the program to those of each rank
  SmallVector<Operation *> copied;
};
} // namespace

template <typename Op> static bool contains(Operation *op) {
  return op->walk([](Op) { return WalkResult::interrupt(); }).wasInterrupted();
}

/// How `op` combines over ranks; none for an op that doesn't.
static std::optional<tile::Reduction> reductionOf(Operation *op) {
  if (auto reduce = dyn_cast<tile::ClusterReduceOp>(op))
    return reduce.getKind();
  if (auto reduce = dyn_cast<tile::WarpReduceOp>(op))
    return reduce.getKind();
  return std::nullopt;
}

static bool containsReduction(Operation *op) {
  return contains<tile::ClusterReduceOp>(op) || contains<tile::ClusterMergeOp>(op) || contains<tile::WarpReduceOp>(op);
}

Unroller::Unroller(tile::ForWarpsOp warps) : ranks(warps.getCount()) {
  OpBuilder builder = OpBuilder::atBlockBegin(&warps.getBody().front());
  for (auto [warp, mapping] : llvm::enumerate(ranks))
    mapping.map(warps.getWarp(), arith::ConstantIndexOp::create(builder, warps.getLoc(), warp).getResult());
}

bool Unroller::dependsOnRank(Operation *op) const {
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

void Unroller::copy(Operation *op) {
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

void Unroller::combine(Operation *reduce, tile::Reduction kind) {
  ImplicitLocOpBuilder b(reduce->getLoc(), reduce);
  for (auto [value, result] : llvm::zip_equal(reduce->getOperands(), reduce->getResults())) {
    Value combined;
    for (IRMapping &mapping : ranks) {
      Value own = mapping.lookupOrDefault(value);
      combined = combined ? combinePair(b, kind, combined, own) : own;
    }
    result.replaceAllUsesWith(combined);
  }
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

void Unroller::merge(tile::ClusterMergeOp op) {
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

/// Puts a loop around reductions in the place of `loop`, which carries what each rank carries.
LogicalResult Unroller::unrollLoop(scf::ForOp loop) {
  OpBuilder b(loop);
  SmallVector<Value> inits, carried;
  for (IRMapping &mapping : ranks)
    for (Value init : loop.getInitArgs())
      inits.push_back(mapping.lookupOrDefault(init));
  auto wide = scf::ForOp::create(b, loop.getLoc(), loop.getLowerBound(), loop.getUpperBound(), loop.getStep(), inits);
  Block *body = wide.getBody();
  Operation *yield = loop.getBody()->getTerminator();
  if (body->mightHaveTerminator())
    body->getTerminator()->erase();
  loop.getInductionVar().replaceAllUsesWith(wide.getInductionVar());
  body->getOperations().splice(body->end(), loop.getBody()->getOperations());
  for (auto [i, argument] : llvm::enumerate(loop.getRegionIterArgs()))
    argument.replaceAllUsesWith(wide.getRegionIterArg(i)); // until each rank has its own
  for (auto [rank, mapping] : llvm::enumerate(ranks))
    for (size_t i = 0; i < loop.getNumResults(); ++i) {
      size_t number = rank * loop.getNumResults() + i;
      mapping.map(wide.getRegionIterArg(i), wide.getRegionIterArg(number));
      mapping.map(loop.getResult(i), wide.getResult(number));
    }
  if (failed(unroll(*body)))
    return failure();
  for (IRMapping &mapping : ranks)
    for (Value value : yield->getOperands())
      carried.push_back(mapping.lookupOrDefault(value));
  yield->setOperands(carried);
  copied.push_back(loop);
  return success();
}

LogicalResult Unroller::unroll(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (op.hasTrait<OpTrait::IsTerminator>())
      continue;
    if (std::optional<tile::Reduction> kind = reductionOf(&op)) {
      combine(&op, *kind);
      continue;
    }
    if (auto parts = dyn_cast<tile::ClusterMergeOp>(op)) {
      merge(parts);
      continue;
    }
    if (containsReduction(&op)) {
      auto loop = dyn_cast<scf::ForOp>(op);
      if (!loop && (!isa<scf::IfOp>(op) || op.getNumResults() != 0))
        return op.emitError(
            "has a tile.cluster_reduce or tile.warp_reduce inside, which tile-unroll-cluster takes from "
            "the program, tile.for_warps, an scf.for, and an scf.if without results");
      ValueRange deciding = op.getOperands().take_front(loop ? 3 : 1);
      if (llvm::any_of(deciding, [&](Value operand) { return ranks.front().contains(operand); }))
        return op.emitError("has a reduction inside and a condition or bounds that depend on the rank; all blocks of a "
                            "cluster reach a tile.cluster_reduce, all warps a tile.warp_reduce");
      if (loop) {
        if (failed(unrollLoop(loop)))
          return failure();
        continue;
      }
      for (Region &region : op.getRegions())
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
  SmallVector<tile::ForWarpsOp> meeting;
  program.walk([&](tile::ForWarpsOp warps) {
    if (contains<tile::WarpReduceOp>(warps))
      meeting.push_back(warps);
  });
  for (tile::ForWarpsOp warps : meeting) {
    Unroller unroller(warps);
    if (failed(unroller.unroll(warps.getBody().front())))
      return signalPassFailure();
    unroller.finish();
    Block &body = warps.getBody().front();
    body.getTerminator()->erase();
    warps->getBlock()->getOperations().splice(warps->getIterator(), body.getOperations());
    warps.erase();
    program.removeScheduleAttr();
  }
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
  Unroller unroller(blocks);
  if (failed(unroller.unroll(program.getBody().front())))
    return signalPassFailure();
  unroller.finish();
  findMerged();
  for (tile::ForWarpsOp warps : merged)
    unrollWarps(warps);
  program.removeScheduleAttr();
}
