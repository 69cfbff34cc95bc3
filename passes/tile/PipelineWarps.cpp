//===- PipelineWarps.cpp - rings of single warps ---------------------------===//
//
// A warp that fetches for itself uses its slots in the order of its program: of the outer
// loop, the inner loop, and the fetches of one iteration. A fetch moves to where the slot that
// it fills was released, as many uses before its own as the ring has slots. The uses that come
// before all releases are filled at the start, before earlier launches have ended.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/tile/Pipelining.h"

using namespace mlir;
using namespace inlay;

namespace {
struct Use : SlotUse {
  SmallVector<tile::FetchOp> fetches; // one for each tile of the slot
};

class WarpRing {
public:
  explicit WarpRing(tile::RingOp ring) : ring(ring), b(ring.getLoc(), ring) {}
  LogicalResult pipeline();

private:
  LogicalResult findUses();
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value cloneValue(Value value, IRMapping &mapping);
  void fetch(Use &use, Value round, Value step, Value first);
  void fillSlots();
  void fetchAhead(int64_t number);

  tile::RingOp ring;
  ImplicitLocOpBuilder b;
  SmallVector<Use> uses;   // of an iteration of the inner loop
  scf::ForOp inner, outer; // `outer` may be null
};
} // namespace

LogicalResult WarpRing::findUses() {
  FailureOr<SmallVector<SlotUse>> found = findSlotUses(ring);
  if (failed(found))
    return failure();
  for (SlotUse &use : *found)
    uses.push_back({use, {}});
  inner = dyn_cast<scf::ForOp>(uses.front().acquire->getParentOp());
  if (!inner || getConstantIntValue(inner.getLowerBound()) != 0 || getConstantIntValue(inner.getStep()) != 1)
    return uses.front().acquire.emitError("stands in no loop over steps from 0; expected one, or one within another");
  outer = dyn_cast<scf::ForOp>(inner->getParentOp());
  Operation *outermost = outer ? outer : inner;
  if (!isa<tile::ForWarpsOp>(outermost->getParentOp()))
    return outermost->emitError("holds the ring of a warp and does not stand in its tile.for_warps");
  size_t tiles = ring.getResult().getType().getTiles().size();
  for (Use &use : uses) {
    for (Operation *user : use.acquire.getSlot().getUsers()) {
      if (use.fetches.size() == tiles || !isa<tile::FetchOp>(user))
        return user->emitError("uses a slot of the ring of a warp; expected one tile.fetch")
               << (tiles > 1 ? " for each of its tiles" : "");
      use.fetches.push_back(cast<tile::FetchOp>(user));
    }
    llvm::sort(use.fetches, [](tile::FetchOp x, tile::FetchOp y) { return x.getTile() < y.getTile(); });
    if (use.fetches.size() != tiles)
      return use.acquire.emitError("has no tile.fetch for each of ") << tiles << " tiles";
  }
  return success();
}

/// What `value` is computed by in the warp, again at the builder's place.
Value WarpRing::cloneValue(Value value, IRMapping &mapping) {
  if (mapping.contains(value))
    return mapping.lookup(value);
  Operation *op = value.getDefiningOp();
  if (!op || !ring->getBlock()->getParentOp()->isProperAncestor(op) || op == ring || !isPure(op))
    return value;
  for (Value operand : op->getOperands())
    cloneValue(operand, mapping);
  return b.clone(*op, mapping)->getResult(cast<OpResult>(value).getResultNumber());
}

/// Fetches what `use` fetches in step `step` of the outer loop's iteration at `round`.
void WarpRing::fetch(Use &use, Value round, Value step, Value first) {
  IRMapping mapping;
  mapping.map(inner.getInductionVar(), step);
  if (outer)
    mapping.map(outer.getInductionVar(), round);
  SmallVector<SmallVector<Value>> offsets;
  for (tile::FetchOp fetch : use.fetches) {
    SmallVector<Value> &own = offsets.emplace_back();
    for (Value offset : fetch.getOffsets())
      own.push_back(cloneValue(offset, mapping));
  }
  Value slot = tile::AcquireOp::create(b, b.getIndexType(), ring, first);
  for (auto [fetch, own] : llvm::zip_equal(use.fetches, offsets))
    tile::FetchOp::create(b, fetch.getView(), own, ring, slot, fetch.getTile(), fetch.getEvictFirst());
}

/// A constant that `value` is at most.
static std::optional<int64_t> most(Value value) {
  auto chosen = value.getDefiningOp<arith::SelectOp>();
  if (!chosen)
    return getConstantIntValue(value);
  std::optional<int64_t> x = most(chosen.getTrueValue()), y = most(chosen.getFalseValue());
  return x && y ? std::optional<int64_t>(std::max(*x, *y)) : std::nullopt;
}

/// Fills the slots for the first uses, and waits for earlier launches after that.
void WarpRing::fillSlots() {
  b.setInsertionPointAfter(ring);
  IRMapping mapping;
  Value steps = cloneValue(inner.getUpperBound(), mapping);
  // A short K leaves warps without a step.
  std::optional<int64_t> known = getConstantIntValue(steps), atMost = most(steps);
  Value divisor = known ? steps : b.createOrFold<arith::MaxSIOp>(steps, index(1));
  Value from, to, stride;
  if (outer) {
    stride = cloneValue(outer.getStep(), mapping);
    from = cloneValue(outer.getLowerBound(), mapping);
    to = cloneValue(outer.getUpperBound(), mapping);
  }
  int64_t slots = ring.getResult().getType().getStages(), number = static_cast<int64_t>(uses.size());
  for (int64_t slot = 0; slot < slots; ++slot) {
    int64_t position = slot / number;
    if (!outer && atMost && position >= *atMost)
      break;
    Value round, step = index(position), exists;
    if (outer) {
      Value rounds = b.createOrFold<arith::DivUIOp>(step, divisor);
      round = b.createOrFold<arith::AddIOp>(from, b.createOrFold<arith::MulIOp>(rounds, stride));
      step = b.createOrFold<arith::RemUIOp>(step, divisor);
      exists = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, round, to);
      if (!known)
        exists = arith::AndIOp::create(b, exists, arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index(0), steps));
    } else if (!known) {
      exists = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, step, steps);
    }
    OpBuilder::InsertionGuard guard(b);
    if (exists)
      b.setInsertionPointToStart(scf::IfOp::create(b, exists, /*withElseRegion=*/false).thenBlock());
    fetch(uses[slot % number], round, step, index(slot));
  }
  tile::DependOp::create(b);
}

/// Fetches for a later use where use `number` releases its slot.
void WarpRing::fetchAhead(int64_t number) {
  int64_t slots = ring.getResult().getType().getStages(), count = static_cast<int64_t>(uses.size());
  int64_t ahead = number + slots;
  b.setInsertionPointAfter(uses[number].release);
  Value steps = inner.getUpperBound(), round, exists;
  Value step = b.createOrFold<arith::AddIOp>(inner.getInductionVar(), index(ahead / count));
  if (outer) {
    // The loop runs at least once here, so `steps` is not 0.
    Value rounds = b.createOrFold<arith::DivUIOp>(step, steps);
    round =
        b.createOrFold<arith::AddIOp>(outer.getInductionVar(), b.createOrFold<arith::MulIOp>(rounds, outer.getStep()));
    step = b.createOrFold<arith::RemUIOp>(step, steps);
    exists = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, round, outer.getUpperBound());
  } else {
    if (std::optional<int64_t> atMost = most(steps); atMost && ahead / count >= *atMost)
      return;
    exists = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, step, steps);
  }
  b.setInsertionPointToStart(scf::IfOp::create(b, exists, /*withElseRegion=*/false).thenBlock());
  fetch(uses[ahead % count], round, step, /*first=*/{});
}

LogicalResult WarpRing::pipeline() {
  if (failed(findUses()))
    return failure();
  fillSlots();
  for (int64_t number = 0; number < static_cast<int64_t>(uses.size()); ++number)
    fetchAhead(number);
  for (Use &use : uses) {
    for (tile::FetchOp fetch : use.fetches)
      fetch.erase();
    use.acquire.erase();
  }
  return success();
}

LogicalResult inlay::pipelineWarpRing(tile::RingOp ring) { return WarpRing(ring).pipeline(); }
