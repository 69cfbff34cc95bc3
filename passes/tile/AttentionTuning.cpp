//===- AttentionTuning.cpp - measured schedules of attention ---------------===//

#include "passes/tile/AttentionTuning.h"

#include "fmt/format.h"
#include "passes/tile/AttentionTraits.h"
#include "passes/tile/ScheduleCombinations.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;

std::optional<AttentionWork> inlay::attentionWorkOf(tile::ProgramOp program, tile::Schedule chosen, int64_t sequences) {
  auto kvHeads = dyn_cast<AffineConstantExpr>(program.getGrid().getResult(0));
  bool isDecode = isa<tile::DecodeAttentionAttr>(chosen);
  if (!kvHeads || (!isDecode && !isa<tile::PrefillAttentionAttr>(chosen)))
    return std::nullopt;
  ScopedDiagnosticHandler quiet(program.getContext(), [](Diagnostic &) { return success(); });
  FailureOr<AttentionLoop> loop = findAttentionLoop(program);
  if (failed(loop))
    return std::nullopt;
  tile::AttentionTile tile = *chosen.getAttentionTile();
  AttentionTraits traits = traitsOf(*loop);
  AttentionWork work;
  work.heads = isDecode ? loop->rows : tile.rows / tile.queryRows;
  work.kvHeads = kvHeads.getValue();
  work.headDim = traits.headDim;
  work.pageSize = traits.pageSize;
  work.sequences = isDecode ? sequences : 0;
  work.type = traits.elementBits == 8                                    ? "f8e4m3"
              : loop->keys.getView().getType().getElementType().isBF16() ? "bf16"
                                                                         : "f16";
  return work;
}

AttentionKey inlay::tuningKeyOf(const AttentionWork &work, tile::Schedule chosen) {
  return {
      chosen.getFamilyName().str(), work.heads, work.kvHeads, work.headDim, work.pageSize, work.sequences, work.type};
}

SmallVector<int64_t> inlay::numbersOf(tile::DecodeAttentionAttr schedule) {
  return {schedule.getQueryRows(), schedule.getTileRows(), schedule.getTileKeys(), schedule.getWarps(),
          schedule.getStages(),    schedule.getSlots(),    schedule.getCluster()};
}

SmallVector<int64_t> inlay::numbersOf(tile::PrefillAttentionAttr schedule) {
  return {schedule.getQueryRows(),        schedule.getTileRows(), schedule.getTileKeys(),
          schedule.getConsumers(),        schedule.getStages(),   schedule.getProducerRegisters(),
          schedule.getConsumerRegisters()};
}

//===----------------------------------------------------------------------===//
// What a schedule needs
//===----------------------------------------------------------------------===//

/// Bytes of an element of keys and values in memory.
static int64_t storedBytes(const AttentionWork &work) { return work.type == "f8e4m3" ? 1 : 2; }

static AttentionShape shapeOf(tile::DecodeAttentionAttr schedule, const AttentionWork &work) {
  return {schedule.getTileRows(), schedule.getTileKeys(), work.headDim, storedBytes(work)};
}
static AttentionShape shapeOf(tile::PrefillAttentionAttr schedule, const AttentionWork &work) {
  return {schedule.getTileRows(), schedule.getTileKeys(), work.headDim, /*elementBytes=*/2,
          /*widens=*/storedBytes(work) == 1};
}

/// Why the family cannot run a schedule in the place of `chosen`; empty if it can.
static std::string whyRefused(tile::DecodeAttentionAttr schedule, const AttentionWork &work, tile::TargetAttr target) {
  constexpr int64_t threadsOfMultiprocessor = 2048;
  int64_t threads = schedule.getSlots() * schedule.getWarps() * 32;
  if (threads > threadsOfMultiprocessor)
    return fmt::format("has {} threads on a multiprocessor, expected at most {}", threads, threadsOfMultiprocessor);
  int64_t needed =
      schedule.getWarps() * schedule.getStages() * shapeOf(schedule, work).stepBytes() + kDecodeBesideRings;
  int64_t most = target.slotSharedBytes(schedule.getSlots());
  return needed <= most ? "" : fmt::format("needs {} bytes of shared memory, expected at most {}", needed, most);
}

static std::string whyRefused(tile::PrefillAttentionAttr schedule, const AttentionWork &work, tile::TargetAttr target) {
  AttentionShape shape = shapeOf(schedule, work);
  int64_t queries = shape.slabs() * AttentionShape::slabBytes * shape.rows;
  int64_t needed = queries + 2 * schedule.getStages() * shape.stepBytes() + kPrefillBesideRings;
  int64_t most = target.getBlockSharedBytes();
  return needed <= most ? "" : fmt::format("needs {} bytes of shared memory, expected at most {}", needed, most);
}

template <typename Attr>
static tile::Schedule measured(const TuningEntry &entry, Attr chosen, const AttentionWork &work,
                               tile::TargetAttr target, std::string &problem) {
  Attr schedule = scheduleOf<Attr>(entry, target.getContext(), problem);
  if (!schedule)
    return {};
  if (schedule.getTileRows() != chosen.getTileRows() || schedule.getQueryRows() != chosen.getQueryRows())
    problem = fmt::format("has {} query rows in tiles of {}, expected {} in {}", schedule.getQueryRows(),
                          schedule.getTileRows(), chosen.getQueryRows(), chosen.getTileRows());
  else
    problem = whyRefused(schedule, work, target);
  return problem.empty() ? tile::Schedule(schedule) : tile::Schedule();
}

tile::Schedule inlay::measuredAttention(const TuningEntry &entry, tile::Schedule chosen, const AttentionWork &work,
                                        tile::TargetAttr target, std::string &problem) {
  if (auto decode = dyn_cast<tile::DecodeAttentionAttr>(chosen))
    return measured(entry, decode, work, target, problem);
  return measured(entry, cast<tile::PrefillAttentionAttr>(chosen), work, target, problem);
}

//===----------------------------------------------------------------------===//
// All schedules
//===----------------------------------------------------------------------===//

/// An estimate in ns: rounds of blocks, each of which streams its part of the keys and values through its rings; and
/// the merge in a cluster.
static int64_t estimate(tile::DecodeAttentionAttr schedule, const AttentionWork &work, int64_t context,
                        tile::TargetAttr target) {
  tile::CostModelAttr costs = target.costs();
  int64_t cluster = schedule.getCluster(), blocks = cluster * work.kvHeads * work.sequences;
  int64_t waves = llvm::divideCeil(blocks, target.residentBlocks(cluster, schedule.getSlots()));
  int64_t keyBytes = work.headDim * 2 * storedBytes(work); // of a key and a value
  int64_t ring = schedule.getWarps() * schedule.getStages() * shapeOf(schedule, work).stepBytes();
  int64_t ofBlock = std::max<int64_t>(llvm::divideCeil(context, cluster) * keyBytes, ring);
  return std::max(work.kvHeads * work.sequences * context * keyBytes / costs.getMemoryBytes(),
                  waves * ofBlock * costs.getRoundTrip() / ring) +
         costs.getClusterWait() * llvm::Log2_64_Ceil(cluster);
}

/// An estimate in ns of a tile of queries: products, and what each step of keys costs beside them.
static int64_t estimate(tile::PrefillAttentionAttr schedule, const AttentionWork &work, int64_t context,
                        tile::TargetAttr target) {
  tile::CostModelAttr costs = target.costs();
  int64_t steps = llvm::divideCeil(context, schedule.getTileKeys());
  int64_t products = 2 * schedule.getTileRows() * schedule.getTileKeys() * work.headDim;
  return steps * (products / costs.getProducts() + costs.getClusterWait() / schedule.getStages());
}

static SmallVector<tile::DecodeAttentionAttr> combine(tile::DecodeAttentionAttr start, const AttentionWork &work,
                                                      tile::TargetAttr target) {
  Combinations<tile::DecodeAttentionAttr> combinations(start, [&](Numbers<tile::DecodeAttentionAttr> &numbers) {
    int64_t bytes = target.slotSharedBytes(numbers["slots"]) - kDecodeBesideRings;
    numbers["stages"] = std::min(numbers["stages"], bytes / (numbers["warps"] * shapeOf(start, work).stepBytes()));
  });
  combinations.vary("slots", doubled(4));
  combinations.vary("warps", doubled(32));
  combinations.vary("stages", doubled(16));
  combinations.vary("cluster", doubled(16));
  return combinations.all();
}

static SmallVector<tile::PrefillAttentionAttr> combine(tile::PrefillAttentionAttr start, const AttentionWork &work,
                                                       tile::TargetAttr target) {
  Combinations<tile::PrefillAttentionAttr> combinations(start, [](Numbers<tile::PrefillAttentionAttr> &) {});
  combinations.vary("tile_keys", kPrefillKeys);
  combinations.vary("stages", each(4));
  SmallVector<tile::PrefillAttentionAttr> result = combinations.all();
  llvm::erase_if(result, [&](tile::PrefillAttentionAttr one) { return !hasPrefillRegisters(shapeOf(one, work)); });
  return result;
}

template <typename Attr>
static ScheduleSpace rate(Attr chosen, const AttentionWork &work, int64_t context, tile::TargetAttr target) {
  return rateSchedules<Attr>(
      chosen, combine(chosen, work, target), [&](Attr one) { return estimate(one, work, context, target); },
      [&](Attr one) { return whyRefused(one, work, target).empty(); });
}

ScheduleSpace inlay::findAttentionSchedules(tile::Schedule chosen, const AttentionWork &work, int64_t context,
                                            tile::TargetAttr target) {
  // Combinations that the verifier refuses are no errors here.
  ScopedDiagnosticHandler quiet(target.getContext(), [](Diagnostic &) { return success(); });
  if (auto decode = dyn_cast<tile::DecodeAttentionAttr>(chosen))
    return rate(decode, work, context, target);
  return rate(cast<tile::PrefillAttentionAttr>(chosen), work, context, target);
}
