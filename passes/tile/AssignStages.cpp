//===- AssignStages.cpp - operands of products through rings ---------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "passes/tile/Passes.h"

namespace inlay {
#define GEN_PASS_DEF_ASSIGNSTAGESPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct AssignStagesPass : inlay::impl::AssignStagesPassBase<AssignStagesPass> {
  void runOnOperation() override;
};
} // namespace

/// The load that brings an operand of `dot` and feeds nothing else, in the loop around it; null if there is none.
static tile::LoadOp loadOf(tile::DotOp dot, Value operand) {
  auto load = operand.getDefiningOp<tile::LoadOp>();
  return load && load->getBlock() == dot->getBlock() && load->hasOneUse() ? load : tile::LoadOp();
}

/// The products in loops, both of whose operands are loaded.
static SmallVector<tile::DotOp> stagedProducts(tile::ProgramOp program) {
  SmallVector<tile::DotOp> products;
  program.walk([&](tile::DotOp dot) {
    if (isa<scf::ForOp>(dot->getParentOp()) && loadOf(dot, dot.getLhs()) && loadOf(dot, dot.getRhs()))
      products.push_back(dot);
  });
  return products;
}

static void stage(tile::DotOp dot, tile::ProgramOp program, const tile::PipelineShape &pipeline) {
  tile::LoadOp loads[] = {loadOf(dot, dot.getLhs()), loadOf(dot, dot.getRhs())};
  OpBuilder b = OpBuilder::atBlockBegin(&program.getBody().front());
  Location loc = dot.getLoc();
  SmallVector<Type> tiles{dot.getLhs().getType(), dot.getRhs().getType()};
  auto ring = tile::RingOp::create(b, loc, tile::RingType::get(b.getContext(), pipeline.stages, tiles));

  b.setInsertionPoint(dot);
  Value slot = tile::AcquireOp::create(b, loc, b.getIndexType(), ring, /*first=*/Value());
  for (auto [i, load] : llvm::enumerate(loads)) {
    bool isStreamed = pipeline.streamsWeights && load.getView().getType().getProvenance() == tile::Provenance::Weight;
    tile::FetchOp::create(b, load.getLoc(), load.getView(), load.getOffsets(), ring, slot, i, isStreamed);
  }
  auto wait = tile::WaitOp::create(b, loc, tiles, ring);
  for (auto [load, tile] : llvm::zip_equal(loads, wait.getTiles())) {
    load.getResult().replaceAllUsesWith(tile);
    load->erase();
  }
  b.setInsertionPointAfter(dot);
  tile::ReleaseOp::create(b, loc, ring);
}

/// The load of weights that an operand of `dot` comes from; null if there is none.
static tile::LoadOp weightsOf(tile::DotOp dot) {
  for (Value operand : {dot.getLhs(), dot.getRhs()})
    if (tile::LoadOp load = loadOf(dot, operand);
        load && load.getView().getType().getProvenance() == tile::Provenance::Weight)
      return load;
  return {};
}

/// Brings the weights of the products in `warps` through a ring of each warp. False where there are none, or where
/// their tiles differ.
static bool stageInWarps(tile::ForWarpsOp warps, const tile::PipelineShape &pipeline) {
  SmallVector<tile::LoadOp> loads;
  warps.walk([&](tile::DotOp dot) {
    if (tile::LoadOp load = weightsOf(dot))
      loads.push_back(load);
  });
  if (loads.empty() || !llvm::all_equal(llvm::map_range(loads, [](tile::LoadOp load) { return load.getType(); })))
    return false;
  OpBuilder b = OpBuilder::atBlockBegin(&warps.getBody().front());
  Location loc = warps.getLoc();
  auto ring = tile::RingOp::create(b, loc, tile::RingType::get(b.getContext(), pipeline.stages, {loads[0].getType()}));
  for (tile::LoadOp load : loads) {
    Operation *dot = *load->user_begin();
    b.setInsertionPoint(dot);
    Value slot = tile::AcquireOp::create(b, loc, b.getIndexType(), ring, /*first=*/Value());
    tile::FetchOp::create(b, load.getLoc(), load.getView(), load.getOffsets(), ring, slot, 0, pipeline.streamsWeights);
    load.getResult().replaceAllUsesWith(
        tile::WaitOp::create(b, loc, TypeRange(load.getType()), ring).getTiles().front());
    load->erase();
    b.setInsertionPointAfter(dot);
    tile::ReleaseOp::create(b, loc, ring);
  }
  return true;
}

void AssignStagesPass::runOnOperation() {
  tile::ProgramOp program = getOperation();
  tile::Schedule schedule = program.getScheduleAttr();
  std::optional<tile::PipelineShape> pipeline = schedule ? schedule.getPipeline() : std::nullopt;
  if (!pipeline)
    return;
  if (pipeline->producers == 0) {
    auto warps = program.getBody().getOps<tile::ForWarpsOp>();
    if (!llvm::hasSingleElement(warps) || !stageInWarps(*warps.begin(), *pipeline)) {
      program.emitError("has no tile.for_warps with products of loaded weights of one size, for the rings of its "
                        "schedule ")
          << schedule;
      signalPassFailure();
    }
    return;
  }
  SmallVector<tile::DotOp> products = stagedProducts(program);
  if (products.size() != 1) {
    program.emitError("has ") << products.size() << " products of loaded tiles in loops; expected one, for the ring of "
                              << "its schedule " << schedule;
    return signalPassFailure();
  }
  stage(products.front(), program, *pipeline);
}
