//===- TuningPrograms.cpp - what compile-model --tune measures -------------===//

#include "compiler/pipelines/TuningPrograms.h"

#include "dialects/tile/UniquePrograms.h"
#include "passes/tile/LaunchedSteps.h"
#include "passes/tile/ScheduleTuning.h"
#include "llvm/ADT/TypeSwitch.h"

#include <set>

using namespace mlir;
using namespace inlay;

std::string inlay::entryNameOf(const TunedProgram &program) { return "tune_" + program.name; }

/// The family of a program that a tuning file can name.
static std::optional<tile::Family> familyOf(tile::ProgramOp program) {
  if (!program.getScheduleAttr())
    return std::nullopt;
  return llvm::TypeSwitch<Attribute, std::optional<tile::Family>>(program.getScheduleAttr())
      .Case([](tile::MatvecAttr) { return tile::Family::Matvec; })
      .Case([](tile::SwapAbAttr) { return tile::Family::SwapAb; })
      .Case([](tile::GemmAttr) { return tile::Family::Gemm; })
      .Default(std::optional<tile::Family>());
}

/// The steps in which a program is measured: those with the most sequences of the decode steps that launch it, or else
/// with the most rows. Null if none fills the program's rows.
static tile::EntryOp measuredEntry(tile::ProgramOp program) {
  tile::EntryOp best;
  for (tile::EntryOp entry : launchedSteps(program).entries) {
    bool isDecode = entry.getKind() == tile::EntryKind::Decode;
    if (!best || (isDecode && best.getKind() != tile::EntryKind::Decode) ||
        (isDecode == (best.getKind() == tile::EntryKind::Decode) && entry.getMaxTokens() > best.getMaxTokens()))
      best = entry;
  }
  // In steps of prompts few rows have logits.
  bool isOfLogits = llvm::any_of(program.getArgumentTypes(), [](Type type) {
    return cast<tile::ViewType>(type).getExtent() == tile::Extent::LogitRows;
  });
  if (best && isOfLogits && best.getKind() != tile::EntryKind::Decode)
    return {};
  return best;
}

static bool isFloat16(MainLoop &loop) {
  Type type = loop.weight.getView().getType().getElementType();
  return type.isBF16() || type.isF16();
}

/// Adds the schedule of a program to those that are measured, if it is none of them.
static void addIncumbent(TunedProgram &tuned, tile::Schedule schedule, const ScheduleSpace &all) {
  auto isOwn = [&](const auto &one) { return one.rated.schedule == schedule; };
  auto found = llvm::find_if(tuned.alternatives, isOwn);
  tuned.incumbent = found - tuned.alternatives.begin();
  if (found != tuned.alternatives.end())
    return;
  const auto *rated = llvm::find_if(all.schedules, [&](const RatedSchedule &one) { return one.schedule == schedule; });
  tuned.alternatives.push_back({rated != all.schedules.end() ? *rated : RatedSchedule{schedule, 0}, {}, {}});
}

FailureOr<TuningModule> inlay::findTunedPrograms(ModuleOp tiles, ArrayRef<EntryPoint> entries, size_t most,
                                                 const std::function<bool(const TuningKey &)> &isKnown) {
  TuningModule result;
  result.module = ModuleOp::create(tiles.getLoc());
  if (Attribute target = tiles->getAttr(tile::kTargetAttr))
    result.module.get()->setAttr(tile::kTargetAttr, target);
  OpBuilder builder = OpBuilder::atBlockEnd(result.module->getBody());
  std::set<TuningKey> seen;
  for (tile::ProgramOp program : tiles.getOps<tile::ProgramOp>()) {
    std::optional<tile::Family> family = familyOf(program);
    tile::EntryOp entry = family ? measuredEntry(program) : tile::EntryOp();
    if (!entry)
      continue;
    FailureOr<MainLoop> loop = findMainLoop(program);
    if (failed(loop))
      return failure();
    TunedProgram tuned;
    tuned.key = tuningKeyOf(program, *loop);
    tuned.name = program.getSymName().str();
    if (!isFloat16(*loop) || !seen.insert(tuned.key).second)
      continue;
    if (isKnown(tuned.key)) {
      ++result.known;
      continue;
    }
    if (auto origin = program->getAttrOfType<StringAttr>(tile::kOriginAttr))
      tuned.origin = origin.str();
    ScheduleSpace all = findSchedules(*family, shapeOf(*loop), entry.getMaxTokens(), tile::targetOf(tiles),
                                      [&] { return program.emitError(); });
    if (!all.chosen)
      return failure();
    tuned.legal = all.schedules.size();
    ScheduleSpace kept = all;
    pruneSchedules(kept, most);
    for (const RatedSchedule &one : kept.schedules)
      tuned.alternatives.push_back({one, {}, {}});
    addIncumbent(tuned, program.getScheduleAttr(), all);
    for (const auto &[i, one] : llvm::enumerate(tuned.alternatives)) {
      one.kernel = tuned.name + "_schedule_" + std::to_string(i);
      auto clone = cast<tile::ProgramOp>(builder.clone(*program));
      clone.setSymName(one.kernel);
      clone.setScheduleAttr(one.rated.schedule);
    }
    result.programs.push_back(std::move(tuned));
    EntryPoint point = *llvm::find_if(entries, [&](const EntryPoint &one) { return one.name == entry.getSymName(); });
    point.name = entryNameOf(result.programs.back());
    result.entries.push_back(std::move(point));
  }
  return result;
}

/// An entry point whose launches are those alternatives of `tuned` that have kernels, with the arguments of the first
/// launch of `program`.
static void addEntry(OpBuilder &builder, tile::ProgramOp program, const TunedProgram &tuned, StringRef name) {
  tile::EntryOp steps = measuredEntry(program);
  auto launches = steps.getBody().getOps<tile::LaunchOp>();
  tile::LaunchOp launch =
      *llvm::find_if(launches, [&](tile::LaunchOp one) { return one.getProgram() == program.getSymName(); });
  auto entry = cast<tile::EntryOp>(builder.clone(*steps));
  entry.setSymName(name);
  entry.getBody().front().clear();
  OpBuilder inside = OpBuilder::atBlockEnd(&entry.getBody().front());
  for (const TunedSchedule &one : tuned.alternatives)
    if (one.refusal.empty()) {
      auto clone = cast<tile::LaunchOp>(inside.clone(*launch));
      clone.setProgramAttr(FlatSymbolRefAttr::get(builder.getContext(), one.kernel));
    }
}

LogicalResult inlay::compileAlternatives(TuningModule &tuning, ModuleOp tiles, const CudaOptions &options,
                                         const std::function<bool(size_t)> &done) {
  FailureOr<std::vector<CudaAlternative>> compiled = compileCudaAlternatives(*tuning.module, options, done);
  if (failed(compiled))
    return failure();
  tuning.kernels = std::move(*compiled);
  // The plan reads weights and their names from the module that has the launches.
  OpBuilder builder = OpBuilder::atBlockEnd(tuning.module->getBody());
  for (Operation &op : *tiles.getBody())
    if (!isa<tile::ProgramOp, tile::EntryOp>(op))
      builder.clone(op);
  auto next = tuning.kernels.begin();
  std::vector<EntryPoint> entries;
  for (const auto &[i, tuned] : llvm::enumerate(tuning.programs)) {
    size_t count = 0;
    for (TunedSchedule &one : tuned.alternatives) {
      const CudaAlternative &kernel = *next++;
      one.refusal = kernel.refusal;
      auto program = tuning.module->lookupSymbol<tile::ProgramOp>(one.kernel);
      if (one.refusal.empty())
        tuning.facts.push_back({program, kernel.kernel.op, {}});
      else
        program.erase();
      count += one.refusal.empty();
    }
    if (count == 0)
      continue;
    addEntry(builder, tiles.lookupSymbol<tile::ProgramOp>(tuned.name), tuned, tuning.entries[i].name);
    entries.push_back(tuning.entries[i]);
  }
  tuning.entries = std::move(entries);
  return success();
}
