//===- TuningPrograms.cpp - what compile-model --tune measures -------------===//

#include "compiler/pipelines/TuningPrograms.h"

#include "passes/tile/AttentionTuning.h"
#include "passes/tile/LaunchedSteps.h"
#include "passes/tile/ScheduleTuning.h"
#include "llvm/ADT/TypeSwitch.h"

#include <set>

using namespace mlir;
using namespace inlay;

std::string inlay::toString(const TunedKey &key) {
  return std::visit([](const auto &one) { return one.toString(); }, key);
}

/// The family of a program that a tuning file can name.
static std::optional<tile::Family> familyOf(tile::ProgramOp program) {
  if (!program.getScheduleAttr())
    return std::nullopt;
  return llvm::TypeSwitch<Attribute, std::optional<tile::Family>>(program.getScheduleAttr())
      .Case([](tile::StreamAttr) { return tile::Family::Matvec; })
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

namespace {
/// A program in the steps of one entry point, and all its schedules.
struct Work {
  tile::ProgramOp program;
  tile::EntryOp steps;
  TunedKey key;
  ScheduleSpace space;
};
} // namespace

/// Adds a linear layer's program, if a tuning file can have an entry for it.
static LogicalResult addLinear(tile::ProgramOp program, tile::Family family, SmallVectorImpl<Work> &works) {
  tile::EntryOp steps = measuredEntry(program);
  if (!steps)
    return success();
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  ScheduleSpace space = findSchedules(family, shapeOf(*loop), steps.getMaxTokens(), tile::targetOf(program),
                                      [&] { return program.emitError(); });
  if (!space.chosen)
    return failure();
  works.push_back({program, steps, tuningKeyOf(program, *loop), std::move(space)});
  return success();
}

/// Adds an attention's program in each of the decode steps that launch it, or in the largest steps of prompts.
static void addAttention(tile::ProgramOp program, int64_t context, SmallVectorImpl<Work> &works) {
  tile::Schedule schedule = program.getScheduleAttr();
  SmallVector<tile::EntryOp> entries = launchedSteps(program).entries;
  if (isa<tile::PrefillAttentionAttr>(schedule) && !entries.empty()) {
    entries = {*llvm::max_element(
        entries, [](tile::EntryOp a, tile::EntryOp b) { return a.getMaxTokens() < b.getMaxTokens(); })};
    context = entries.front().getMaxTokens();
  }
  for (tile::EntryOp steps : entries) {
    std::optional<AttentionWork> work = attentionWorkOf(program, schedule, steps.getMaxSequences());
    if (work)
      works.push_back({program, steps, tuningKeyOf(*work, schedule),
                       findAttentionSchedules(schedule, *work, context, tile::targetOf(program))});
  }
}

/// Puts the programs first that take most of their step, by the model: an interrupted measurement has the important
/// ones.
static void orderByShare(SmallVectorImpl<Work> &works) {
  auto expected = [](Work &work) {
    auto launches = work.steps.getBody().getOps<tile::LaunchOp>();
    int64_t count = llvm::count_if(
        launches, [&](tile::LaunchOp launch) { return launch.getProgram() == work.program.getSymName(); });
    return static_cast<double>(count * work.space.schedules.front().nanoseconds);
  };
  llvm::MapVector<Operation *, double> ofSteps;
  for (Work &work : works)
    ofSteps[work.steps] += expected(work);
  std::vector<std::pair<double, size_t>> shares;
  for (auto [i, work] : llvm::enumerate(works))
    shares.emplace_back(-expected(work) / ofSteps[work.steps], i);
  llvm::sort(shares);
  SmallVector<Work> ordered;
  for (auto [share, i] : shares)
    ordered.push_back(std::move(works[i]));
  works.assign(std::make_move_iterator(ordered.begin()), std::make_move_iterator(ordered.end()));
}

/// The alternatives of `work`: the best `most`, and the program's own schedule.
static TunedProgram tunedOf(Work &work, size_t most) {
  TunedProgram tuned;
  tuned.key = work.key;
  tuned.program = work.program.getSymName().str();
  tuned.steps = work.steps.getSymName().str();
  tuned.legal = work.space.schedules.size();
  tile::Schedule own = work.program.getScheduleAttr();
  auto isOwn = [&](const RatedSchedule &one) { return one.schedule == own; };
  auto *found = llvm::find_if(work.space.schedules, isOwn);
  RatedSchedule rated = found != work.space.schedules.end() ? *found : RatedSchedule{own, 0};
  pruneSchedules(work.space, most);
  if (llvm::none_of(work.space.schedules, isOwn))
    work.space.schedules.push_back(rated);
  tuned.incumbent = llvm::find_if(work.space.schedules, isOwn) - work.space.schedules.begin();
  for (const auto &[i, one] : llvm::enumerate(work.space.schedules))
    tuned.alternatives.push_back({one, tuned.entryName() + "_" + std::to_string(i), {}});
  return tuned;
}

FailureOr<TuningModule> inlay::findTunedPrograms(ModuleOp tiles, ArrayRef<EntryPoint> entries,
                                                 const TuningSearch &search) {
  SmallVector<Work> works;
  for (tile::ProgramOp program : tiles.getOps<tile::ProgramOp>()) {
    if (std::optional<tile::Family> family = familyOf(program)) {
      if (failed(addLinear(program, *family, works)))
        return failure();
    } else if (program.getScheduleAttr()) {
      addAttention(program, search.context, works);
    }
  }
  orderByShare(works);
  TuningModule result;
  result.module = ModuleOp::create(tiles.getLoc());
  if (Attribute target = tiles->getAttr(tile::kTargetAttr))
    result.module.get()->setAttr(tile::kTargetAttr, target);
  OpBuilder builder = OpBuilder::atBlockEnd(result.module->getBody());
  std::set<TunedKey> seen;
  for (Work &work : works) {
    if (!seen.insert(work.key).second)
      continue;
    if (search.isKnown && search.isKnown(work.key)) {
      ++result.known;
      continue;
    }
    const TunedProgram &tuned = result.programs.emplace_back(tunedOf(work, search.most));
    for (const TunedSchedule &one : tuned.alternatives) {
      auto clone = cast<tile::ProgramOp>(builder.clone(*work.program));
      clone.setSymName(one.kernel);
      clone.setScheduleAttr(one.rated.schedule);
      // It is measured alone: no launch receives what it would push.
      clone.walk([](tile::StoreOp store) { store.removeExchangeAttr(); });
    }
    EntryPoint point = *llvm::find_if(entries, [&](const EntryPoint &one) { return one.name == tuned.steps; });
    point.name = tuned.entryName();
    result.entries.push_back(std::move(point));
  }
  return result;
}

/// An entry point whose launches are those alternatives of `tuned` that have kernels, with the arguments of the first
/// launch of its program in its steps.
static void addEntry(OpBuilder &builder, ModuleOp tiles, const TunedProgram &tuned) {
  auto steps = tiles.lookupSymbol<tile::EntryOp>(tuned.steps);
  auto launches = steps.getBody().getOps<tile::LaunchOp>();
  tile::LaunchOp launch =
      *llvm::find_if(launches, [&](tile::LaunchOp one) { return one.getProgram() == tuned.program; });
  auto entry = cast<tile::EntryOp>(builder.clone(*steps));
  entry.setSymName(tuned.entryName());
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
    addEntry(builder, tiles, tuned);
    entries.push_back(tuning.entries[i]);
  }
  tuning.entries = std::move(entries);
  return success();
}
