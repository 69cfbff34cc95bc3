//===- SpecializeWarps.cpp - warps that fetch and warps that multiply ------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/tile/Passes.h"
#include "llvm/ADT/SetVector.h"

namespace inlay {
#define GEN_PASS_DEF_SPECIALIZEWARPSPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct SpecializeWarpsPass : inlay::impl::SpecializeWarpsPassBase<SpecializeWarpsPass> {
  void runOnOperation() override;
};
} // namespace

/// Whether `op` fills rings, or holds an op that does.
static bool fills(Operation *op) {
  return op
      ->walk([](Operation *inner) {
        return isa<tile::AcquireOp, tile::FetchOp>(inner) ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

static bool accessesMemory(Operation *op) {
  return op
      ->walk([](Operation *inner) {
        return isa<tile::LoadOp, tile::StoreOp, tile::GatherOp, tile::ScatterOp, tile::ReadOp>(inner)
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

//===----------------------------------------------------------------------===//
// Producers
//===----------------------------------------------------------------------===//

/// Adds what `value` is computed from within `outermost`.
static LogicalResult addSources(Value value, Operation *outermost, llvm::SetVector<Operation *> &sources) {
  Operation *op = value.getDefiningOp();
  if (!op) {
    auto loop = dyn_cast<scf::ForOp>(cast<BlockArgument>(value).getOwner()->getParentOp());
    if (loop && outermost->isAncestor(loop) && value != loop.getInductionVar())
      return loop.emitError(
          "carries a value that a fetch depends on; the warps that fetch have only loops over indices");
    return success();
  }
  if (!outermost->isProperAncestor(op) || isa<tile::AcquireOp>(op) || !sources.insert(op))
    return success();
  if (!isMemoryEffectFree(op) || op->getNumRegions() != 0)
    return op->emitError("computes where a fetch reads; the warps that fetch have only arithmetic");
  for (Value operand : op->getOperands())
    if (failed(addSources(operand, outermost, sources)))
      return failure();
  return success();
}

/// Copies the fetches of `block`, the loops around them, and what both are computed from.
static LogicalResult copyFetches(Block &block, OpBuilder &b, IRMapping &mapping,
                                 const llvm::SetVector<Operation *> &sources) {
  for (Operation &op : block) {
    if (isa<tile::AcquireOp, tile::FetchOp>(op) || sources.contains(&op)) {
      b.clone(op, mapping);
      continue;
    }
    if (!fills(&op))
      continue;
    auto loop = dyn_cast<scf::ForOp>(op);
    if (!loop)
      return op.emitError("holds the fetches of a ring; expected loops around them only");
    auto copy =
        scf::ForOp::create(b, loop.getLoc(), mapping.lookupOrDefault(loop.getLowerBound()),
                           mapping.lookupOrDefault(loop.getUpperBound()), mapping.lookupOrDefault(loop.getStep()));
    mapping.map(loop.getInductionVar(), copy.getInductionVar());
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(copy.getBody());
    if (failed(copyFetches(*loop.getBody(), b, mapping, sources)))
      return failure();
  }
  return success();
}

static LogicalResult buildProducers(tile::WarpRolesOp roles, Operation *outermost) {
  llvm::SetVector<Operation *> sources;
  WalkResult walk = outermost->walk([&](Operation *op) {
    bool isNeeded = isa<tile::FetchOp>(op) || (isa<scf::ForOp>(op) && op != outermost && fills(op));
    if (isNeeded)
      for (Value operand : op->getOperands())
        if (isa<IndexType>(operand.getType()) && failed(addSources(operand, outermost, sources)))
          return WalkResult::interrupt();
    return WalkResult::advance();
  });
  if (walk.wasInterrupted())
    return failure();
  OpBuilder b = OpBuilder::atBlockBegin(&roles.getProduce().front());
  tile::DependOp::create(b, roles.getLoc());
  IRMapping mapping;
  auto loop = cast<scf::ForOp>(outermost);
  auto copy = scf::ForOp::create(b, loop.getLoc(), loop.getLowerBound(), loop.getUpperBound(), loop.getStep());
  mapping.map(loop.getInductionVar(), copy.getInductionVar());
  b.setInsertionPointToStart(copy.getBody());
  return copyFetches(*loop.getBody(), b, mapping, sources);
}

//===----------------------------------------------------------------------===//
// Consumers
//===----------------------------------------------------------------------===//

/// What leads from the results of `outermost` to tiles in shared memory, which every warp can read.
static FailureOr<llvm::SetVector<Operation *>> opsUntilStaged(Operation *outermost) {
  llvm::SetVector<Operation *> ops;
  SmallVector<Operation *> work(outermost->user_begin(), outermost->user_end());
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (op->getBlock() != outermost->getBlock() || !isPure(op)) {
      op->emitError("uses sums that the warps which multiply have in registers; expected tile.stage before");
      return failure();
    }
    if (ops.insert(op) && !isa<tile::StageOp>(op))
      work.append(op->user_begin(), op->user_end());
  }
  return ops;
}

static void buildConsumers(tile::WarpRolesOp roles, Operation *outermost, ArrayRef<Operation *> following) {
  Operation *end = &roles.getConsume().front().back();
  if (accessesMemory(outermost)) {
    OpBuilder b(end);
    tile::DependOp::create(b, roles.getLoc());
  }
  outermost->moveBefore(end);
  for (Operation *op : following)
    op->moveBefore(end);
  SmallVector<Operation *> filling;
  outermost->walk([&](Operation *op) {
    if (isa<tile::AcquireOp, tile::FetchOp>(op))
      filling.push_back(op);
  });
  for (Operation *op : llvm::reverse(filling))
    op->erase();
}

/// The op at the top of `program` that uses the ring.
static FailureOr<Operation *> outermostUser(tile::ProgramOp program, tile::RingOp ring) {
  Operation *outermost = nullptr;
  for (Operation *user : ring->getUsers()) {
    Operation *top = program.getBody().front().findAncestorOpInBlock(*user);
    if (outermost && top != outermost)
      return user->emitError("uses a ring outside of the loop that fills it");
    outermost = top;
  }
  if (!isa_and_nonnull<scf::ForOp>(outermost))
    return ring.emitError("is not used in a loop at the top of the program");
  return outermost;
}

static LogicalResult specialize(tile::ProgramOp program, tile::RingOp ring, const tile::PipelineShape &pipeline) {
  FailureOr<Operation *> outermost = outermostUser(program, ring);
  if (failed(outermost))
    return failure();
  FailureOr<llvm::SetVector<Operation *>> following = opsUntilStaged(*outermost);
  if (failed(following))
    return failure();
  // In the order of the program.
  SmallVector<Operation *> ordered(following->begin(), following->end());
  llvm::sort(ordered, [](Operation *x, Operation *y) { return x->isBeforeInBlock(y); });
  SmallVector<Value> staged;
  for (Operation *op : ordered)
    if (isa<tile::StageOp>(op))
      staged.push_back(op->getResult(0));

  OpBuilder b((*outermost)->getContext());
  b.setInsertionPointAfter(ordered.empty() ? *outermost : ordered.back());
  auto registers = [&](int64_t count) { return count ? b.getI64IntegerAttr(count) : IntegerAttr(); };
  auto roles =
      tile::WarpRolesOp::create(b, (*outermost)->getLoc(), ValueRange(staged).getTypes(),
                                b.getI64IntegerAttr(pipeline.producers), b.getI64IntegerAttr(pipeline.consumers),
                                registers(pipeline.producerRegisters), registers(pipeline.consumerRegisters));
  for (auto [value, result] : llvm::zip_equal(staged, roles.getResults()))
    value.replaceAllUsesWith(result);
  for (auto [region, values] :
       {std::pair(&roles.getProduce(), ValueRange()), {&roles.getConsume(), ValueRange(staged)}}) {
    b.setInsertionPointToStart(&region->emplaceBlock());
    tile::YieldOp::create(b, roles.getLoc(), values);
  }
  if (failed(buildProducers(roles, *outermost)))
    return failure();
  buildConsumers(roles, *outermost, ordered);
  if (roles->getNumResults() > 0) {
    b.setInsertionPointAfter(roles);
    tile::DependOp::create(b, roles.getLoc());
  }
  return success();
}

void SpecializeWarpsPass::runOnOperation() {
  tile::ProgramOp program = getOperation();
  tile::Schedule schedule = program.getScheduleAttr();
  std::optional<tile::PipelineShape> pipeline = schedule ? schedule.getPipeline() : std::nullopt;
  if (!pipeline)
    return;
  for (auto ring : llvm::make_early_inc_range(program.getBody().getOps<tile::RingOp>()))
    if (failed(specialize(program, ring, *pipeline)))
      return signalPassFailure();
}
