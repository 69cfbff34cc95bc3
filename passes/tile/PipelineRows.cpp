//===- PipelineRows.cpp - warps that fetch cached rows ahead ----------------===//
//
// A warp that gathers for itself uses the slots of its ring in the order of its loop. A
// fetch moves to where the slot that it fills was released, as many uses before its own
// as the ring has slots. The first slots are filled before the loop: those for rows that
// no launch of the step writes before tile.depend, the others after it.
//
// Where rows lie, a page table says. A load of it takes as long as a step of a busy
// memory, so the first rows of many iterations are looked up at a time, and kept as a
// tile.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Iterators.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/tile/Pipelining.h"

using namespace mlir;
using namespace inlay;

namespace {
struct Use : SlotUse {
  tile::FetchRowsOp fetch;
};

class RowsRing {
public:
  explicit RowsRing(tile::RingOp ring) : ring(ring), b(ring.getLoc(), ring) {}
  LogicalResult pipeline();

private:
  LogicalResult findUses();
  LogicalResult findLoop();
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value less(Value x, Value y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y); }
  RankedTensorType lookedUp(Type element) const { return RankedTensorType::get({kLookedUp}, element); }
  FailureOr<Value> lookUp(Value at);
  FailureOr<Value> spread(Value tile, Value at, IRMapping &mapping);
  LogicalResult fillSlots();
  LogicalResult fetchAhead();
  void fetch(Use &use, Value rows, Value number, Value first, bool unwritten);
  void eraseUnused();

  /// Iterations whose rows are looked up at a time: one for each lane of a warp.
  static constexpr int64_t kLookedUp = 32;

  tile::RingOp ring;
  ImplicitLocOpBuilder b;
  SmallVector<Use> uses; // of an iteration
  scf::ForOp loop;
  int64_t step = 0;
  Value limit; // of iterations that read unwritten rows; may be null
  Value rows;  // where the rows of the iterations that are fetched next begin
};
} // namespace

//===----------------------------------------------------------------------===//
// What the loop has
//===----------------------------------------------------------------------===//

LogicalResult RowsRing::findUses() {
  FailureOr<SmallVector<SlotUse>> found = findSlotUses(ring);
  if (failed(found))
    return failure();
  for (SlotUse &slot : *found) {
    Use &use = uses.emplace_back(Use{slot, {}});
    auto slotUsers = use.acquire.getSlot().getUsers();
    use.fetch = slotUsers.empty() ? tile::FetchRowsOp() : dyn_cast<tile::FetchRowsOp>(*slotUsers.begin());
    if (!use.fetch || !use.acquire.getSlot().hasOneUse())
      return use.acquire.emitError("has a slot that is not filled by one tile.fetch_rows");
    if (use.fetch.getIndices() != uses.front().fetch.getIndices())
      return use.fetch.emitError("has other indices than the fetches before; expected the same rows of each view");
    RankedTensorType indices = use.fetch.getIndices().getType();
    if (indices.getDimSize(0) != static_cast<int64_t>(use.fetch.getRun()))
      return use.fetch.emitError("brings ")
             << indices.getDimSize(0) << " rows in runs of " << use.fetch.getRun() << "; expected one run in a warp";
  }
  return success();
}

LogicalResult RowsRing::findLoop() {
  loop = dyn_cast<scf::ForOp>(uses.front().acquire->getParentOp());
  if (!loop || !isa<tile::ForWarpsOp>(loop->getParentOp()))
    return ring.emitError("is not used in a loop of its tile.for_warps");
  std::optional<int64_t> known = getConstantIntValue(loop.getStep());
  if (!known || *known <= 0)
    return loop.emitError("has a step that is no constant, around the ring of a warp");
  step = *known;
  if (auto unwritten = dyn_cast_or_null<tile::UnwrittenOp>(loop->getPrevNode())) {
    limit = unwritten.getLimit();
    unwritten.erase();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Where rows begin
//===----------------------------------------------------------------------===//

/// Whether `op` loads what earlier launches of the step may write.
static bool isDependentLoad(Operation &op) {
  if (!isa<tile::LoadOp, tile::GatherOp>(op))
    return false;
  tile::Provenance provenance = cast<tile::ViewType>(op.getOperand(0).getType()).getProvenance();
  return provenance != tile::Provenance::Weight && provenance != tile::Provenance::Meta;
}

/// For `tile`, one element of each row of an iteration: its first elements in the iterations at `at` and after.
FailureOr<Value> RowsRing::spread(Value tile, Value at, IRMapping &mapping) {
  if (mapping.contains(tile))
    return mapping.lookup(tile);
  Operation *op = tile.getDefiningOp();
  Type element = cast<RankedTensorType>(tile.getType()).getElementType();
  RankedTensorType type = lookedUp(element);
  SplatElementsAttr constant;
  Value result;
  if (matchPattern(tile, m_Constant(&constant))) {
    result = arith::ConstantOp::create(b, constant.resizeSplat(type));
  } else if (isa_and_nonnull<tile::IotaOp>(op)) {
    result = arith::ConstantOp::create(b, b.getZeroAttr(type));
  } else if (auto splat = dyn_cast_or_null<tensor::SplatOp>(op)) {
    auto cast = splat.getInput().getDefiningOp<arith::IndexCastOp>();
    if (cast && cast.getIn() == loop.getInductionVar()) {
      Value start = arith::IndexCastOp::create(b, element, at);
      Value number = tile::IotaOp::create(b, type, /*axis=*/0);
      Value steps = arith::ConstantOp::create(b, DenseElementsAttr::get(type, b.getIntegerAttr(element, step)));
      result =
          arith::AddIOp::create(b, tensor::SplatOp::create(b, start, type), arith::MulIOp::create(b, number, steps));
    } else if (loop.isDefinedOutsideOfLoop(splat.getInput())) {
      result = tensor::SplatOp::create(b, splat.getInput(), type);
    }
  } else if (op && op->getNumResults() == 1 && op->getNumRegions() == 0 &&
             (op->hasTrait<OpTrait::Elementwise>() || (isa<tile::GatherOp>(op) && !isDependentLoad(*op)))) {
    for (Value operand : op->getOperands())
      if (isa<RankedTensorType>(operand.getType()) && failed(spread(operand, at, mapping)))
        return failure();
    Operation *copy = b.clone(*op, mapping);
    result = copy->getResult(0);
    result.setType(type);
  }
  if (!result)
    return emitError(tile.getLoc(), "computes where rows begin that a warp fetches; expected elementwise ops and "
                                    "gathers, of the loop's index and of what the loop does not change");
  mapping.map(tile, result);
  return result;
}

/// Where the rows of the iterations at `at` and after begin.
FailureOr<Value> RowsRing::lookUp(Value at) {
  IRMapping mapping;
  return spread(uses.front().fetch.getIndices(), at, mapping);
}

//===----------------------------------------------------------------------===//
// Fetches
//===----------------------------------------------------------------------===//

/// Fetches what `use` fetches in the iteration whose place in `rows` is `number`.
void RowsRing::fetch(Use &use, Value rows, Value number, Value first, bool unwritten) {
  Value row = tensor::ExtractOp::create(b, rows, number);
  row = arith::IndexCastOp::create(b, b.getIndexType(), row);
  Value slot = tile::AcquireOp::create(b, b.getIndexType(), ring, first);
  tile::FetchOp::create(b, use.fetch.getView(), ValueRange{row, index(0)}, ring, slot, use.fetch.getTile(),
                        /*evict_first=*/false, unwritten);
}

/// Fills the slots for the first uses, and waits for earlier launches as soon as that is needed.
LogicalResult RowsRing::fillSlots() {
  b.setInsertionPoint(loop);
  Value from = loop.getLowerBound(), to = loop.getUpperBound();
  FailureOr<Value> first = lookUp(from);
  if (failed(first))
    return failure();
  rows = *first;
  Value early = limit ? arith::MinSIOp::create(b, to, limit).getResult() : from;
  int64_t slots = ring.getResult().getType().getStages(), count = static_cast<int64_t>(uses.size());
  auto fill = [&](bool isEarly) {
    for (int64_t number = 0; number * count < slots; ++number) {
      Value at = b.createOrFold<arith::AddIOp>(from, index(number * step));
      Value isWanted = less(at, isEarly ? early : to);
      if (!isEarly)
        isWanted = arith::AndIOp::create(b, isWanted,
                                         arith::CmpIOp::create(b, arith::CmpIPredicate::sge, at, early).getResult());
      auto branch = scf::IfOp::create(b, isWanted, /*withElseRegion=*/false);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(branch.thenBlock());
      for (int64_t slot = number * count; slot < std::min(slots, (number + 1) * count); ++slot)
        fetch(uses[slot % count], rows, index(number), index(slot), isEarly);
    }
  };
  if (limit)
    fill(/*isEarly=*/true);
  auto depend = tile::DependOp::create(b);
  fill(/*isEarly=*/false);
  for (Operation &op : llvm::make_early_inc_range(*loop->getBlock()))
    if (isDependentLoad(op) && op.isBeforeInBlock(depend))
      op.moveBefore(loop);
  return success();
}

/// Fetches for later uses where slots are released.
LogicalResult RowsRing::fetchAhead() {
  IRRewriter rewriter(loop->getContext());
  rewriter.setInsertionPoint(loop);
  FailureOr<LoopLikeOpInterface> wider = loop.replaceWithAdditionalYields(
      rewriter, rows, /*replaceInitOperandUsesInLoop=*/false,
      [](OpBuilder &, Location, ArrayRef<BlockArgument> added) { return SmallVector<Value>{added.front()}; });
  if (failed(wider))
    return ring.emitError("is used in a loop that can carry no more values");
  loop = cast<scf::ForOp>(wider->getOperation());
  Value known = loop.getRegionIterArgs().back();
  int64_t slots = ring.getResult().getType().getStages(), count = static_cast<int64_t>(uses.size());
  for (int64_t number = 0; number < count; ++number) {
    int64_t ahead = number + slots;
    b.setInsertionPointAfter(uses[number].release);
    Value at = arith::AddIOp::create(b, loop.getInductionVar(), index(ahead / count * step));
    Value distance = arith::SubIOp::create(b, at, loop.getLowerBound());
    bool isFirstUse = ahead % count == 0; // of its iteration
    SmallVector<Type> results;
    if (isFirstUse)
      results.push_back(known.getType());
    auto branch = scf::IfOp::create(b, results, less(at, loop.getUpperBound()), /*withElseRegion=*/isFirstUse);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    Value current = known;
    if (isFirstUse) {
      Value rest = arith::RemUIOp::create(b, distance, index(kLookedUp * step));
      Value isNew = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rest, index(0));
      auto renew = scf::IfOp::create(b, results, isNew, /*withElseRegion=*/true);
      b.setInsertionPointToStart(renew.thenBlock());
      FailureOr<Value> next = lookUp(at);
      if (failed(next))
        return failure();
      scf::YieldOp::create(b, *next);
      b.setInsertionPointToStart(renew.elseBlock());
      scf::YieldOp::create(b, known);
      b.setInsertionPointAfter(renew);
      current = renew.getResult(0);
    }
    Value place = arith::DivUIOp::create(b, distance, index(step));
    place = arith::RemUIOp::create(b, place, index(kLookedUp));
    fetch(uses[ahead % count], current, place, /*first=*/{}, /*unwritten=*/false);
    if (!isFirstUse)
      continue;
    scf::YieldOp::create(b, current);
    b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(b, known);
    known = branch.getResult(0);
  }
  Operation *yield = loop.getBody()->getTerminator();
  yield->setOperand(yield->getNumOperands() - 1, known);
  return success();
}

/// Erases the fetches, and what nothing but where they read was computed from.
void RowsRing::eraseUnused() {
  for (Use &use : uses) {
    use.fetch.erase();
    use.acquire.erase();
  }
  loop->walk<WalkOrder::PostOrder, mlir::ReverseIterator>([&](Operation *op) {
    if (op != loop && isOpTriviallyDead(op))
      op->erase();
  });
}

LogicalResult RowsRing::pipeline() {
  if (failed(findUses()) || failed(findLoop()) || failed(fillSlots()) || failed(fetchAhead()))
    return failure();
  eraseUnused();
  dependOtherwise(loop);
  return success();
}

LogicalResult inlay::pipelineRows(tile::RingOp ring) { return RowsRing(ring).pipeline(); }
