//===- SelectSchedule.cpp - how programs are run on the chip ---------------===//

#include "passes/tile/AttentionLoop.h"
#include "passes/tile/AttentionSchedule.h"
#include "passes/tile/Passes.h"
#include "passes/tile/ScheduleTuning.h"
#include "llvm/Support/FormatVariadic.h"

namespace inlay {
#define GEN_PASS_DEF_SELECTSCHEDULEPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct SelectSchedulePass : inlay::impl::SelectSchedulePassBase<SelectSchedulePass> {
  using SelectSchedulePassBase::SelectSchedulePassBase;
  void runOnOperation() override;
};

/// The steps in which a program is launched.
struct Steps {
  bool isDecode = true;
  int64_t sequences = 0; // at the most; 0: no entry launches the program
};
} // namespace

static Steps stepsOf(tile::ProgramOp program, ModuleOp module) {
  Steps steps;
  for (auto entry : module.getOps<tile::EntryOp>())
    for (auto launch : entry.getBody().getOps<tile::LaunchOp>())
      if (launch.getProgram() == program.getSymName()) {
        steps.isDecode &= entry.getKind() == tile::EntryKind::Decode;
        steps.sequences = std::max<int64_t>(steps.sequences, entry.getMaxSequences());
      }
  return steps;
}

/// Measurements first, then the analytic model; a remark says which.
static LogicalResult selectLinear(tile::ProgramOp program, tile::Family family, tile::TargetAttr target,
                                  const TuningFile &measured) {
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  TuningKey key = tuningKeyOf(program, *loop);
  LinearShape shape = shapeOf(*loop);
  auto found = measured.entries.find(key);
  if (found == measured.entries.end()) {
    program.setScheduleAttr(chooseLinear(family, shape, target));
    program.emitRemark() << "schedule by the analytic model: "
                         << (measured.path.empty() ? "no tuning file was given" : measured.path + " has no entry")
                         << " for " << key.toString();
    return success();
  }
  std::string problem;
  tile::Schedule schedule = measuredSchedule(family, found->second, shape, target, problem);
  if (!schedule)
    return program.emitError() << measured.path << ": the entry for " << key.toString() << " " << problem
                               << "; measure it again (compiler '" << found->second.compiler << "' did) or remove it";
  program.setScheduleAttr(schedule);
  program.emitRemark() << "schedule measured on " << measured.chip << ": " << key.toString() << " took "
                       << llvm::formatv("{0:f1}", found->second.microseconds) << " us";
  return success();
}

static LogicalResult selectAttention(tile::ProgramOp program, tile::Family family, tile::TargetAttr target,
                                     const Steps &steps) {
  FailureOr<AttentionLoop> loop = findAttentionLoop(program);
  if (failed(loop))
    return failure();
  AttentionShape shape{loop->rows, loop->keysPerStep, loop->headDim};
  auto kvHeads = dyn_cast<AffineConstantExpr>(program.getGrid().getResult(0));
  int64_t cluster = steps.isDecode && steps.sequences && kvHeads
                        ? chooseAttentionCluster(kvHeads.getValue(), steps.sequences, target)
                        : 1;
  if (family == tile::Family::DecodeAttention) {
    program.setScheduleAttr(chooseDecodeAttention(shape, cluster, target));
  } else if (family == tile::Family::PrefillAttention) {
    cluster = 1;
    program.setScheduleAttr(choosePrefillAttention(shape, target));
  } else {
    program.setScheduleAttr(tile::GenericAttr::get(program.getContext(), cluster, /*slots=*/1));
  }
  InFlightDiagnostic remark = program.emitRemark()
                              << "schedule by the analytic model: " << tile::stringifyFamily(family) << " of "
                              << shape.rows << " rows x " << shape.keysPerStep << " keys, heads of " << shape.headDim;
  if (cluster > 1)
    remark << ", clusters of " << cluster << " blocks (max_sequences " << steps.sequences << ")";
  return success();
}

void SelectSchedulePass::runOnOperation() {
  tile::TargetAttr target = tile::targetOf(getOperation());
  absl::StatusOr<TuningFile> measured = TuningFile::open(tuning, target.getArch().str());
  if (!measured.ok()) {
    getOperation().emitError() << std::string(measured.status().message());
    return signalPassFailure();
  }
  for (tile::ProgramOp program : getOperation().getOps<tile::ProgramOp>()) {
    auto family = dyn_cast_or_null<tile::FamilyAttr>(program.getScheduleAttr());
    if (!family)
      continue;
    tile::Family kind = family.getValue();
    bool isLinear = llvm::is_contained({tile::Family::Matvec, tile::Family::SwapAb, tile::Family::Gemm}, kind);
    if (failed(isLinear ? selectLinear(program, kind, target, *measured)
                        : selectAttention(program, kind, target, stepsOf(program, getOperation()))))
      return signalPassFailure();
  }
}
