//===- SpecializeWarps.cpp - warps that fetch and warps that multiply ------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Iterators.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/tile/Passes.h"
#include "passes/tile/Pipelining.h"
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

template <typename... Ops> static bool holds(Operation *op) {
  return op->walk([](Operation *inner) { return isa<Ops...>(inner) ? WalkResult::interrupt() : WalkResult::advance(); })
      .wasInterrupted();
}

static bool isFilling(Operation *op) { return isa<tile::AcquireOp, tile::FetchOp, tile::FetchRowsOp>(op); }

/// Whether `op` fills rings, or holds an op that does.
static bool fills(Operation *op) { return holds<tile::AcquireOp, tile::FetchOp, tile::FetchRowsOp>(op); }

/// The view from which `op` reads; null if it is no load.
static Value loadedView(Operation *op) {
  return isa<tile::LoadOp, tile::GatherOp, tile::ReadOp>(op) ? op->getOperand(0) : Value();
}

/// Whether `op` loads what no launch of the step writes.
static bool isEarlyLoad(Operation *op) {
  Value view = loadedView(op);
  if (!view)
    return false;
  tile::Provenance provenance = cast<tile::ViewType>(view.getType()).getProvenance();
  return provenance == tile::Provenance::Weight || provenance == tile::Provenance::Meta;
}

/// Whether `op` accesses memory that earlier launches write or read.
static bool needsEarlierLaunches(Operation *op) {
  return op
      ->walk([](Operation *inner) {
        bool isAccess = loadedView(inner) ? !isEarlyLoad(inner) : isa<tile::StoreOp, tile::ScatterOp>(inner);
        return isAccess ? WalkResult::interrupt() : WalkResult::advance();
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
  bool isTable = isa<tile::LoadOp, tile::GatherOp>(op) && isEarlyLoad(op);
  if (!(isTable || isMemoryEffectFree(op)) || op->getNumRegions() != 0)
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
    if (isFilling(&op) || sources.contains(&op)) {
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
    bool isNeeded = isa<tile::FetchOp, tile::FetchRowsOp>(op) || (isa<scf::ForOp>(op) && op != outermost && fills(op));
    if (isNeeded)
      for (Value operand : op->getOperands())
        if (isa<IndexType, RankedTensorType>(operand.getType()) &&
            (!isa<scf::ForOp>(op) || operand.getType().isIndex()) && failed(addSources(operand, outermost, sources)))
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

/// What is done with the results of `outermost`, up to tiles in shared memory, which every warp can read.
static FailureOr<llvm::SetVector<Operation *>> opsUntilStaged(Operation *outermost) {
  llvm::SetVector<Operation *> ops;
  SmallVector<Operation *> work(outermost->user_begin(), outermost->user_end());
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (op->getBlock() != outermost->getBlock() || !(isPure(op) || isa<tile::StoreOp, tile::ScatterOp>(op))) {
      op->emitError("uses sums that the warps which multiply have in registers; expected tile.stage before");
      return failure();
    }
    if (ops.insert(op) && !isa<tile::StageOp>(op))
      work.append(op->user_begin(), op->user_end());
  }
  return ops;
}

void inlay::sinkTiles(Region &region) {
  Block &body = region.front();
  SmallVector<Operation *> before;
  for (Operation *op = region.getParentOp()->getPrevNode(); op; op = op->getPrevNode())
    before.push_back(op);
  for (Operation *op : before) {
    bool isTile = op->getNumResults() == 1 && isa<RankedTensorType>(op->getResult(0).getType());
    bool isMovable = isTile && !op->hasTrait<OpTrait::ConstantLike>() && op->getNumRegions() == 0 &&
                     (isMemoryEffectFree(op) || isa<tile::LoadOp, tile::GatherOp>(op));
    if (isMovable && !op->use_empty() &&
        llvm::all_of(op->getUsers(), [&](Operation *user) { return region.isAncestor(user->getParentRegion()); }))
      op->moveBefore(&body, body.begin());
  }
}

static void buildConsumers(tile::WarpRolesOp roles, Operation *outermost, ArrayRef<Operation *> following) {
  Block &consume = roles.getConsume().front();
  Operation *end = &consume.back();
  outermost->moveBefore(end);
  for (Operation *op : following)
    op->moveBefore(end);
  // From the last one to the first: the fetches, and what nothing but where they read is computed from.
  outermost->walk<WalkOrder::PostOrder, mlir::ReverseIterator>([&](Operation *op) {
    if (op != outermost && (isFilling(op) || isOpTriviallyDead(op)))
      op->erase();
  });
  sinkTiles(roles.getConsume());
  auto first = llvm::find_if(consume, [](Operation &op) { return needsEarlierLaunches(&op); });
  if (first == consume.end())
    return;
  OpBuilder b(&*first);
  auto depend = tile::DependOp::create(b, roles.getLoc());
  // What the host wrote is loaded before.
  if (!first->isBeforeInBlock(outermost))
    return;
  for (Operation *op = &*first, *next; op != outermost; op = next) {
    next = op->getNextNode();
    bool isKnown = llvm::none_of(op->getOperands(), [&](Value operand) {
      Operation *source = operand.getDefiningOp();
      return source && source->getBlock() == &consume && depend->isBeforeInBlock(source);
    });
    if (isKnown && op->getNumRegions() == 0 && (isEarlyLoad(op) || isMemoryEffectFree(op)))
      op->moveBefore(depend);
  }
}

/// The loop that uses all rings, at the top of the program or in branches that all warps take alike.
static FailureOr<scf::ForOp> outermostUser(Block &block, ArrayRef<tile::RingOp> rings) {
  Operation *outermost = nullptr;
  for (tile::RingOp ring : rings)
    for (Operation *user : ring->getUsers()) {
      Operation *top = block.findAncestorOpInBlock(*user);
      if (outermost && top != outermost)
        return user->emitError("uses a ring outside of the loop that fills it");
      outermost = top;
    }
  if (auto branch = dyn_cast_or_null<scf::IfOp>(outermost);
      branch && branch.getNumResults() == 0 && !branch.elseBlock())
    return outermostUser(*branch.thenBlock(), rings);
  tile::RingOp first = rings.front();
  auto loop = dyn_cast_or_null<scf::ForOp>(outermost);
  if (!loop)
    return first.emitError("is not used in a loop at the top of the program");
  return loop;
}

void inlay::dependOtherwise(Operation *op) {
  for (auto branch = op->getParentOfType<scf::IfOp>(); branch; branch = branch->getParentOfType<scf::IfOp>()) {
    OpBuilder b(op->getContext());
    b.createBlock(&branch.getElseRegion());
    tile::DependOp::create(b, branch.getLoc());
    scf::YieldOp::create(b, branch.getLoc());
  }
}

static LogicalResult specialize(tile::ProgramOp program, ArrayRef<tile::RingOp> rings,
                                const tile::PipelineShape &pipeline) {
  FailureOr<scf::ForOp> found = outermostUser(program.getBody().front(), rings);
  if (failed(found))
    return failure();
  Operation *outermost = *found;
  FailureOr<llvm::SetVector<Operation *>> following = opsUntilStaged(outermost);
  if (failed(following))
    return failure();
  // In the order of the program.
  SmallVector<Operation *> ordered(following->begin(), following->end());
  llvm::sort(ordered, [](Operation *x, Operation *y) { return x->isBeforeInBlock(y); });
  SmallVector<Value> staged;
  for (Operation *op : ordered)
    if (isa<tile::StageOp>(op))
      staged.push_back(op->getResult(0));

  OpBuilder b(outermost->getContext());
  b.setInsertionPointAfter(ordered.empty() ? outermost : ordered.back());
  auto registers = [&](int64_t count) { return count ? b.getI64IntegerAttr(count) : IntegerAttr(); };
  auto roles =
      tile::WarpRolesOp::create(b, outermost->getLoc(), ValueRange(staged).getTypes(),
                                b.getI64IntegerAttr(pipeline.producers), b.getI64IntegerAttr(pipeline.consumers),
                                registers(pipeline.producerRegisters), registers(pipeline.consumerRegisters));
  for (auto [value, result] : llvm::zip_equal(staged, roles.getResults()))
    value.replaceAllUsesWith(result);
  for (auto [region, values] :
       {std::pair(&roles.getProduce(), ValueRange()), {&roles.getConsume(), ValueRange(staged)}}) {
    b.setInsertionPointToStart(&region->emplaceBlock());
    tile::YieldOp::create(b, roles.getLoc(), values);
  }
  if (failed(buildProducers(roles, outermost)))
    return failure();
  buildConsumers(roles, outermost, ordered);
  if (roles->getNumResults() > 0) {
    b.setInsertionPointAfter(roles);
    tile::DependOp::create(b, roles.getLoc());
  }
  dependOtherwise(roles);
  return success();
}

void SpecializeWarpsPass::runOnOperation() {
  tile::ProgramOp program = getOperation();
  tile::Schedule schedule = program.getScheduleAttr();
  std::optional<tile::PipelineShape> pipeline = schedule ? schedule.getPipeline() : std::nullopt;
  auto rings = llvm::to_vector(program.getBody().getOps<tile::RingOp>());
  if (pipeline && !rings.empty() && failed(specialize(program, rings, *pipeline)))
    return signalPassFailure();
}
