//===- SelectAttention.cpp - which family runs an attention, in which tiles ===//

#include "passes/tile/SelectAttention.h"

#include "passes/tile/AttentionSchedule.h"
#include "passes/tile/AttentionTraits.h"
#include "passes/tile/AttentionTuning.h"
#include "passes/tile/LaunchedSteps.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace inlay;

namespace {
/// Why a family does not take an attention; empty where it does.
using Reason = std::string;

/// A schedule, or why there is none of the family.
struct Choice {
  tile::Schedule schedule;
  Reason reason;
};
} // namespace

static Reason refuseShape(StringRef steps, const AttentionTraits &traits, StringRef family, int64_t mostHeadDim,
                          int64_t mostHeads, int64_t columns) {
  std::string text;
  llvm::raw_string_ostream(text) << steps << " take the generic attention: heads of " << traits.headDim << ", "
                                 << traits.elementBits << " bits, " << traits.heads
                                 << " query heads for each of keys, pages of " << traits.pageSize << "; the family "
                                 << family << " takes heads of 16 to " << mostHeadDim << " in " << columns << "s, "
                                 << (traits.elementBits == 8 ? "8 bits beside queries of 16" : "16 bits") << ", up to "
                                 << mostHeads << " query heads, pages of a multiple of " << AttentionShape::keysPerCopy;
  return text;
}

/// Whether keys and values can be copied in runs of positions, as both families do, and multiplied as 16-bit floats.
static bool hasRuns(const AttentionTraits &traits) {
  return (traits.elementBits == 16 || traits.elementBits == 8) && traits.queryBits == 16 && traits.pageSize > 0;
}

/// Each sequence has one row, whose heads take the rows of a product; a step of keys is what one warp takes at a time.
static Choice chooseDecode(const AttentionTraits &traits, int64_t cluster, tile::TargetAttr target) {
  AttentionShape shape{static_cast<int64_t>(llvm::bit_ceil(static_cast<uint64_t>(traits.heads))),
                       AttentionShape::keysPerCopy, traits.headDim, traits.elementBits / 8};
  if (!hasRuns(traits) || !isDecodeAttention(shape, traits.pageSize))
    return {{},
            refuseShape("decode steps", traits, "decode_attention", /*mostHeadDim=*/256, /*mostHeads=*/16,
                        shape.decodeColumns())};
  return {chooseDecodeAttention(shape, cluster, target), ""};
}

static Choice choosePrefill(const AttentionTraits &traits, tile::TargetAttr target) {
  tile::CostModelAttr costs = target.costs();
  AttentionShape shape{costs.getPrefillRows(), costs.getPrefillKeys(), traits.headDim};
  shape.widens = traits.elementBits == 8;
  shape.keysPerStep = choosePrefillKeys(shape, target);
  int64_t columns = shape.widens ? 16 : 8; // of a copy of 16 bytes
  if (!hasRuns(traits) || traits.headDim % columns != 0 || traits.heads > shape.rows ||
      !isPrefillAttention(shape, traits.pageSize))
    return {
        {},
        refuseShape("steps of many rows", traits, "prefill_attention", AttentionShape::mostHead, shape.rows, columns)};
  return {choosePrefillAttention(shape, shape.rows / traits.heads, target), ""};
}

/// Tiles of what warps multiply, op by op.
static tile::Schedule chooseGeneric(const AttentionTraits &traits, bool isDecode, int64_t cluster,
                                    tile::TargetAttr target) {
  constexpr int64_t mostRows = 64, leastRows = 16, keys = 64;
  int64_t queryRows = isDecode ? 1 : std::max<int64_t>(1, mostRows / traits.heads);
  int64_t rows = std::max<int64_t>(leastRows, llvm::PowerOf2Ceil(queryRows * traits.heads));
  return tile::GenericAttr::get(target.getContext(), cluster, /*slots=*/1, queryRows, rows, keys);
}

/// The attention of `program`, before its schedule is applied.
static FailureOr<AttentionTraits> findTraits(tile::ProgramOp program, const LaunchedSteps &steps) {
  FailureOr<AttentionLoop> loop = findAttentionLoop(program);
  if (failed(loop))
    return failure();
  if (loop->rows % steps.queryTileRows != 0)
    return loop->scores.emitError("has ") << loop->rows << " rows in steps with query tiles of " << steps.queryTileRows
                                          << " (query_tile_rows of a tile.entry), expected the same number for each";
  AttentionTraits traits = traitsOf(*loop);
  traits.heads = loop->rows / steps.queryTileRows;
  return traits;
}

static bool usesQueryTiles(tile::ProgramOp program) {
  return llvm::any_of(program.getArgumentTypes(),
                      [](Type type) { return cast<tile::ViewType>(type).getExtent() == tile::Extent::QueryTiles; });
}

/// Another attention of the same steps that the family prefill_attention does not take; null if there is none. All of a
/// step's attention has the same query tiles, which the family wants to be large.
static FailureOr<tile::ProgramOp> findGenericPeer(tile::ProgramOp program, const LaunchedSteps &steps,
                                                  tile::TargetAttr target) {
  for (tile::EntryOp entry : steps.entries)
    for (tile::ProgramOp peer : launchedPrograms(entry)) {
      tile::Schedule schedule = peer.getScheduleAttr();
      if (peer == program || !usesQueryTiles(peer) || isa_and_nonnull<tile::PrefillAttentionAttr>(schedule))
        continue;
      if (!schedule || !schedule.isPending())
        return peer;
      FailureOr<AttentionTraits> traits = findTraits(peer, launchedSteps(peer));
      if (failed(traits))
        return failure();
      if (!choosePrefill(*traits, target).schedule)
        return peer;
    }
  return tile::ProgramOp();
}

/// Gives `program` the schedule that was measured in the place of `chosen`, if there is one: true, after a remark.
static FailureOr<bool> selectMeasured(tile::ProgramOp program, tile::Schedule chosen, const LaunchedSteps &steps,
                                      tile::TargetAttr target, const TuningFile &measured) {
  std::optional<AttentionWork> work = attentionWorkOf(program, chosen, steps.sequences);
  auto found = work ? measured.attention.find(tuningKeyOf(*work, chosen)) : measured.attention.end();
  if (found == measured.attention.end())
    return false;
  const auto &[key, entry] = *found;
  std::string problem;
  tile::Schedule schedule = measuredAttention(entry, chosen, *work, target, problem);
  if (!schedule)
    return program.emitError() << measured.path << ": the entry for " << key.toString() << " " << problem
                               << "; measure it again (compiler '" << entry.compiler << "' did) or remove it";
  program.setScheduleAttr(schedule);
  program.emitRemark() << "schedule measured on " << measured.chip << ": " << key.toString() << " took "
                       << llvm::formatv("{0:f1}", entry.microseconds) << " us";
  return true;
}

LogicalResult inlay::selectAttention(tile::ProgramOp program, tile::TargetAttr target, const TuningFile &measured) {
  LaunchedSteps steps = launchedSteps(program);
  FailureOr<AttentionTraits> traits = findTraits(program, steps);
  if (failed(traits))
    return failure();
  auto kvHeads = dyn_cast<AffineConstantExpr>(program.getGrid().getResult(0));
  int64_t cluster = steps.isDecode && steps.sequences && kvHeads
                        ? chooseAttentionCluster(kvHeads.getValue(), steps.sequences, target)
                        : 1;
  Choice choice = steps.isDecode ? chooseDecode(*traits, cluster, target) : choosePrefill(*traits, target);
  if (choice.schedule && !steps.isDecode) {
    FailureOr<tile::ProgramOp> peer = findGenericPeer(program, steps, target);
    if (failed(peer))
      return failure();
    if (*peer)
      choice = {{}, "takes the generic attention, as '" + peer->getSymName().str() + "' of the same steps does"};
  }
  if (!choice.schedule) {
    program.emitRemark() << choice.reason;
    choice.schedule = chooseGeneric(*traits, steps.isDecode, cluster, target);
  }
  FailureOr<bool> isMeasured = selectMeasured(program, choice.schedule, steps, target, measured);
  if (failed(isMeasured) || *isMeasured)
    return isMeasured;
  program.setScheduleAttr(choice.schedule);
  tile::AttentionTile tile = *choice.schedule.getAttentionTile();
  InFlightDiagnostic remark = program.emitRemark()
                              << "schedule by the analytic model: " << choice.schedule.getFamilyName() << ", "
                              << tile.rows << " rows x " << tile.keys << " keys, heads of " << traits->headDim;
  if (int64_t blocks = choice.schedule.getClusterBlocks(); blocks > 1)
    remark << ", clusters of " << blocks << " blocks (max_sequences " << steps.sequences << ")";
  return success();
}

void inlay::setQueryTiles(ModuleOp module) {
  for (auto entry : module.getOps<tile::EntryOp>()) {
    if (entry.getKind() == tile::EntryKind::Decode)
      continue; // each sequence has one row
    std::optional<int64_t> rows;
    for (tile::ProgramOp program : launchedPrograms(entry)) {
      if (!usesQueryTiles(program))
        continue;
      tile::Schedule schedule = program.getScheduleAttr();
      std::optional<tile::AttentionTile> tile = schedule ? schedule.getAttentionTile() : std::nullopt;
      int64_t taken = tile ? tile->queryRows : static_cast<int64_t>(entry.getQueryTileRows());
      rows = std::min(rows.value_or(taken), taken);
    }
    if (rows)
      entry.setQueryTileRows(*rows);
  }
}
