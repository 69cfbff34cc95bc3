//===- SelectSchedule.cpp - how programs are run on the chip ---------------===//

#include "passes/tile/LaunchedSteps.h"
#include "passes/tile/Passes.h"
#include "passes/tile/ScheduleTuning.h"
#include "passes/tile/SelectAttention.h"
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
} // namespace

/// The tiles of rows that a step of `program` has at the most, for its product.
static int64_t rowTilesOf(tile::ProgramOp program, int64_t rows) {
  AffineMap grid = program.getGrid();
  unsigned logits = static_cast<unsigned>(tile::Extent::LogitRows);
  bool isOfLogits = grid.getNumResults() > 1 && grid.getResult(1).isFunctionOfSymbol(logits);
  int64_t tiles = 1;
  for (tile::EntryOp entry : launchedSteps(program).entries) {
    int64_t most = isOfLogits ? entry.getMaxSequences() : entry.getMaxTokens();
    tiles = std::max<int64_t>(tiles, llvm::divideCeil(most, rows));
  }
  return tiles;
}

/// Measurements first, then the analytic model; a remark says which.
static LogicalResult selectLinear(tile::ProgramOp program, tile::Family family, tile::TargetAttr target,
                                  const TuningFile &measured) {
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  TuningKey key = tuningKeyOf(program, *loop);
  LinearShape shape = shapeOf(*loop);
  if (loop->dequantize)
    shape.rowTiles = rowTilesOf(program, shape.rows);
  auto found = measured.entries.find(key);
  if (found == measured.entries.end()) {
    tile::Schedule chosen = chooseLinear(family, shape, target, [&] { return program.emitError(); });
    if (!chosen)
      return failure();
    program.setScheduleAttr(chosen);
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

/// Columns of a row of logits, in tiles: what the blocks of a cluster can share.
static int64_t vocabularyTilesOf(tile::ProgramOp program) {
  int64_t tiles = 1;
  program.walk([&](tile::LoadOp load) {
    tile::ViewType view = load.getView().getType();
    auto tile = cast<RankedTensorType>(load.getResult().getType());
    if (view.getRank() == 2 && tile.getRank() == 2)
      tiles = std::max<int64_t>(tiles, llvm::divideCeil(view.getShape()[1], tile.getDimSize(1)));
  });
  return tiles;
}

/// As many blocks for a row as leave all rows of the step running at once, and have a tile each.
static LogicalResult selectSample(tile::ProgramOp program, tile::TargetAttr target, const LaunchedSteps &steps) {
  constexpr int64_t most = 8;
  int64_t slots = target.costs().getSlots(), tiles = vocabularyTilesOf(program), cluster = 1;
  if (steps.sequences) {
    int64_t running = slots * static_cast<int64_t>(llvm::bit_floor(static_cast<uint64_t>(target.getMultiprocessors())));
    cluster = std::clamp<int64_t>(running / static_cast<int64_t>(llvm::PowerOf2Ceil(steps.sequences)), 1, most);
    cluster = std::min<int64_t>(cluster, llvm::PowerOf2Ceil(tiles));
  }
  program.setScheduleAttr(tile::GenericAttr::get(program.getContext(), cluster, slots, /*query_rows=*/0,
                                                 /*tile_rows=*/0,
                                                 /*tile_keys=*/0));
  InFlightDiagnostic remark = program.emitRemark()
                              << "schedule by the analytic model: sample of " << tiles << " tiles of the vocabulary";
  if (cluster > 1)
    remark << ", clusters of " << cluster << " blocks (max_sequences " << steps.sequences << ")";
  return success();
}

static LogicalResult select(tile::ProgramOp program, tile::Family family, tile::TargetAttr target,
                            const TuningFile &measured) {
  switch (family) {
  case tile::Family::Matvec:
  case tile::Family::SwapAb:
  case tile::Family::Gemm:
    return selectLinear(program, family, target, measured);
  case tile::Family::Attention:
    return selectAttention(program, target);
  case tile::Family::Sample:
    return selectSample(program, target, launchedSteps(program));
  }
  llvm_unreachable("unknown family");
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
    if (failed(select(program, family.getValue(), target, *measured)))
      return signalPassFailure();
  }
  setQueryTiles(getOperation());
}
