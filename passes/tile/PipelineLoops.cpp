//===- PipelineLoops.cpp - copies and products that run ahead --------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile/Passes.h"
#include "passes/tile/Pipelining.h"

namespace inlay {
#define GEN_PASS_DEF_PIPELINELOOPSPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct PipelineLoopsPass : inlay::impl::PipelineLoopsPassBase<PipelineLoopsPass> {
  void runOnOperation() override;
};
} // namespace

//===----------------------------------------------------------------------===//
// Consumers
//===----------------------------------------------------------------------===//

/// Waits for the product at once: while a warpgroup adds it to its sums, the others have the tensor cores. The slot is
/// released after the last product that reads it.
static LogicalResult startAndWait(tile::DotOp dot) {
  auto wait = dot.getLhs().getDefiningOp<tile::WaitOp>();
  if (!wait || dot.getRhs().getDefiningOp<tile::WaitOp>() != wait)
    return dot.emitError("has operands that do not come from one slot of a ring");
  ImplicitLocOpBuilder b(dot.getLoc(), dot);
  Value started =
      tile::DotAsyncOp::create(b, dot.getLhs(), dot.getRhs(), dot.getAccumulator(), /*columns=*/!dot.getTransposeRhs());
  dot.getResult().replaceAllUsesWith(tile::DotWaitOp::create(b, started, /*pending=*/0).getResult(0));
  dot->erase();
  return success();
}

/// Columns `from` to `from` + `columns` of a tile.
static Value columnsOf(ImplicitLocOpBuilder &b, Value tile, int64_t from, int64_t columns) {
  auto type = cast<RankedTensorType>(tile.getType());
  auto attr = [&](int64_t value) -> OpFoldResult { return b.getIndexAttr(value); };
  SmallVector<OpFoldResult> offsets{attr(0), attr(from)}, sizes{attr(type.getDimSize(0)), attr(columns)},
      strides{attr(1), attr(1)};
  return tensor::ExtractSliceOp::create(b, RankedTensorType::get({type.getDimSize(0), columns}, type.getElementType()),
                                        tile, offsets, sizes, strides);
}

/// Starts the product of each iteration and waits for that of the one before, whose slot is released then. A left side
/// that is made of codes in registers is multiplied in two halves: while one is made, the product of the other runs.
static LogicalResult pipelineProduct(tile::DotOp dot) {
  auto loop = dyn_cast<scf::ForOp>(dot->getParentOp());
  auto dequantize = dot.getLhs().getDefiningOp<tile::DequantizeOp>();
  auto wait = (dequantize ? dequantize.getBytes() : dot.getLhs()).getDefiningOp<tile::WaitOp>();
  if (!loop || !wait || dot.getRhs().getDefiningOp<tile::WaitOp>() != wait)
    return dot.emitError("has operands that do not come from one slot of a ring");
  auto releases = loop.getBody()->getOps<tile::ReleaseOp>();
  auto carried = dyn_cast<BlockArgument>(dot.getAccumulator());
  bool isCarried = carried && carried.getOwner() == loop.getBody() && dot->hasOneUse() &&
                   loop.getTiedLoopYieldedValue(carried) == &*dot->use_begin();
  if (!isCarried || !llvm::hasSingleElement(releases))
    return dot.emitError("is not what its loop carries from one slot of a ring to the next");
  unsigned number = carried.getArgNumber() - 1;
  ImplicitLocOpBuilder b(dot.getLoc(), dot);
  int64_t depth = cast<RankedTensorType>(dot.getLhs().getType()).getDimSize(1), parts = dequantize ? 2 : 1;
  Value sums = dot.getAccumulator();
  Operation *firstWait = nullptr;
  for (int64_t part = 0; part < parts; ++part) {
    int64_t from = part * depth / parts;
    auto half = [&](Value tile) { return parts == 1 ? tile : columnsOf(b, tile, from, depth / parts); };
    Value left = half(dot.getLhs());
    sums = tile::DotAsyncOp::create(b, left, half(dot.getRhs()), sums, /*columns=*/!dot.getTransposeRhs());
    auto waited = tile::DotWaitOp::create(b, sums, /*pending=*/1);
    firstWait = firstWait ? firstWait : waited;
    sums = waited.getResult(0);
  }
  dot.getResult().replaceAllUsesWith(sums);
  dot->erase();

  // After the first wait, all products of the iteration before are done.
  tile::ReleaseOp release = *releases.begin();
  release->moveAfter(firstWait);
  b.setInsertionPoint(release);
  Value isLater = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, loop.getInductionVar(), loop.getLowerBound());
  auto branch = scf::IfOp::create(b, isLater, /*withElseRegion=*/false);
  Value ring = release.getRing();
  release->moveBefore(branch.thenYield());

  b.setInsertionPointAfter(loop);
  auto last = tile::DotWaitOp::create(b, loop.getResult(number), /*pending=*/0);
  loop.getResult(number).replaceAllUsesExcept(last.getResult(0), last);
  tile::ReleaseOp::create(b, ring);
  return success();
}

//===----------------------------------------------------------------------===//
// Producers
//===----------------------------------------------------------------------===//

/// The most iterations of `loop`: its bounds are constants, or its end is at most a constant from its start.
static std::optional<int64_t> mostIterations(scf::ForOp loop) {
  std::optional<int64_t> step = getConstantIntValue(loop.getStep());
  if (!step)
    return std::nullopt;
  std::optional<int64_t> from = getConstantIntValue(loop.getLowerBound()),
                         to = getConstantIntValue(loop.getUpperBound());
  if (from && to)
    return llvm::divideCeil(*to - *from, *step);
  SmallVector<Value> ends{loop.getUpperBound()};
  if (auto least = loop.getUpperBound().getDefiningOp<arith::MinSIOp>())
    ends = {least.getLhs(), least.getRhs()};
  for (Value end : ends)
    if (auto sum = end.getDefiningOp<arith::AddIOp>(); sum && sum.getLhs() == loop.getLowerBound())
      if (std::optional<int64_t> span = getConstantIntValue(sum.getRhs()))
        return llvm::divideCeil(*span, *step);
  return std::nullopt;
}

/// Whether no launch of the step writes what is fetched.
static bool isEarly(tile::FetchOp fetch) {
  tile::Provenance provenance = fetch.getView().getType().getProvenance();
  return provenance == tile::Provenance::Weight || provenance == tile::Provenance::Meta;
}

/// Divides the first pass of a loop over a ring: what may come early, `depend`, and the rest.
static void fetchEarly(scf::ForOp loop, tile::DependOp depend) {
  tile::AcquireOp acquire = *loop.getBody()->getOps<tile::AcquireOp>().begin();
  int64_t stages = acquire.getRing().getType().getStages();
  ImplicitLocOpBuilder b(loop.getLoc(), depend);
  Value from = loop.getLowerBound(), to = loop.getUpperBound(), step = loop.getStep();
  int64_t stepSize = *getConstantIntValue(step);
  auto index = [&](int64_t value) { return arith::ConstantIndexOp::create(b, value); };
  std::optional<int64_t> most = mostIterations(loop);
  bool isOnePass = most && *most <= stages;
  // The slots that the first pass fills.
  Value span = b.createOrFold<arith::SubIOp>(to, from);
  Value slots = b.createOrFold<arith::CeilDivSIOp>(span, step);
  if (!isOnePass || !getConstantIntValue(slots))
    slots = b.createOrFold<arith::MinSIOp>(slots, index(stages));

  auto firstPass = [&](bool early) {
    auto pass = scf::ForOp::create(b, index(0), slots, index(1));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(pass.getBody());
    Value slot = pass.getInductionVar();
    IRMapping mapping;
    mapping.map(loop.getInductionVar(), b.createOrFold<arith::AddIOp>(from, b.createOrFold<arith::MulIOp>(slot, step)));
    mapping.map(acquire.getSlot(), slot);
    for (Operation &op : loop.getBody()->without_terminator()) {
      auto fetch = dyn_cast<tile::FetchOp>(op);
      if (&op == acquire && early)
        tile::AcquireOp::create(b, b.getIndexType(), acquire.getRing(), slot);
      else if (&op != acquire && (!fetch || isEarly(fetch) == early))
        b.clone(op, mapping);
    }
  };
  firstPass(/*early=*/true);
  b.setInsertionPointAfter(depend);
  firstPass(/*early=*/false);
  if (isOnePass)
    return loop->erase();
  b.setInsertionPoint(loop);
  loop.setLowerBound(b.createOrFold<arith::AddIOp>(from, index(stages * stepSize)));
}

/// Whether `loop` is the first to fill the ring that it fills, with what may come early and what may not.
static bool canFetchEarly(scf::ForOp loop) {
  auto acquires = loop.getBody()->getOps<tile::AcquireOp>();
  auto fetches = loop.getBody()->getOps<tile::FetchOp>();
  return llvm::hasSingleElement(acquires) && getConstantIntValue(loop.getStep()) && llvm::any_of(fetches, isEarly) &&
         !llvm::all_of(fetches, isEarly);
}

static bool fetchesRows(tile::RingOp ring) {
  return llvm::any_of(ring->getUsers(), [](Operation *user) { return isa<tile::FetchRowsOp>(user); });
}

void PipelineLoopsPass::runOnOperation() {
  tile::Schedule schedule = getOperation().getScheduleAttr();
  SmallVector<tile::RingOp> ofWarps;
  getOperation().walk([&](tile::RingOp ring) {
    if (isa<tile::ForWarpsOp>(ring->getParentOp()))
      ofWarps.push_back(ring);
  });
  for (tile::RingOp ring : ofWarps)
    if (failed(fetchesRows(ring) ? pipelineRows(ring) : pipelineWarpRing(ring)))
      return signalPassFailure();
  SmallVector<tile::WarpRolesOp> all;
  getOperation().walk([&](tile::WarpRolesOp roles) { all.push_back(roles); });
  for (tile::WarpRolesOp roles : all) {
    SmallVector<tile::DotOp> products;
    roles.getConsume().walk([&](tile::DotOp dot) { products.push_back(dot); });
    if (!products.empty() && llvm::all_of(products, [](tile::DotOp dot) { return findStepProduct(dot).has_value(); })) {
      for (tile::DotOp dot : products)
        if (failed(startAndWait(dot)))
          return signalPassFailure();
      continue;
    }
    if (products.size() == 2 && products[0]->getParentOp() == products[1]->getParentOp()) {
      bool takesTurns = schedule && schedule.getPipeline() && schedule.getPipeline()->takesTurns;
      auto loop = dyn_cast<scf::ForOp>(products[0]->getParentOp());
      if (!loop) {
        products[0].emitError("stands in no loop; expected one that runs products ahead");
        return signalPassFailure();
      }
      FailureOr<scf::ForOp> skewed = skewLoop(loop, takesTurns);
      if (failed(skewed))
        return signalPassFailure();
      splitMasks(*skewed->getBody());
      continue;
    }
    for (tile::DotOp dot : products)
      if (failed(pipelineProduct(dot)))
        return signalPassFailure();
    auto loops = roles.getProduce().getOps<scf::ForOp>();
    auto depends = roles.getProduce().getOps<tile::DependOp>();
    if (llvm::hasSingleElement(loops) && llvm::hasSingleElement(depends) && canFetchEarly(*loops.begin()))
      fetchEarly(*loops.begin(), *depends.begin());
  }
}
