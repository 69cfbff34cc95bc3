//===- ListSchedules.cpp - the schedules that could be measured ------------===//

#include "passes/tile/Passes.h"
#include "passes/tile/ScheduleSpace.h"
#include "passes/tile/ScheduleTuning.h"
#include "llvm/Support/FormatVariadic.h"

namespace inlay {
#define GEN_PASS_DEF_LISTSCHEDULESPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct ListSchedulesPass : inlay::impl::ListSchedulesPassBase<ListSchedulesPass> {
  using ListSchedulesPassBase::ListSchedulesPassBase;
  void runOnOperation() override;
};
} // namespace

static bool isLinear(tile::Family family) {
  return family == tile::Family::Matvec || family == tile::Family::SwapAb || family == tile::Family::Gemm;
}

void ListSchedulesPass::runOnOperation() {
  tile::TargetAttr target = tile::targetOf(getOperation());
  for (tile::ProgramOp program : getOperation().getOps<tile::ProgramOp>()) {
    auto family = dyn_cast_or_null<tile::FamilyAttr>(program.getScheduleAttr());
    if (!family || !isLinear(family.getValue()))
      continue;
    FailureOr<MainLoop> loop = findMainLoop(program);
    if (failed(loop))
      return signalPassFailure();
    ScheduleSpace space = findSchedules(family.getValue(), shapeOf(*loop), stepRows ? stepRows : loop->tokens, target,
                                        [&] { return program.emitError(); });
    if (!space.chosen)
      return signalPassFailure();
    size_t legal = space.schedules.size();
    pruneSchedules(space, most);
    for (const auto &[i, one] : llvm::enumerate(space.schedules))
      program.emitRemark() << "schedule " << i + 1 << " of " << legal << ", "
                           << llvm::formatv("{0:f1}", static_cast<double>(one.nanoseconds) / 1000) << " us by the model"
                           << (one.schedule == space.chosen ? ", its choice" : "") << ": "
                           << static_cast<Attribute>(one.schedule);
  }
}
