//===- ScheduleSpace.cpp - the schedules that a linear layer can have ------===//

#include "passes/tile/ScheduleCombinations.h"

#include "mlir/IR/Diagnostics.h"
#include "passes/tile/ScheduleTuning.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;
using tile::kAtomColumns, tile::kGroupRows;

//===----------------------------------------------------------------------===//
// Stream
//===----------------------------------------------------------------------===//

/// Registers of a thread that neither hold rows nor sums: addresses, barriers, the epilogue.
static constexpr int64_t kOtherRegisters = 64;

/// Whether the rows and sums of a thread find room beside kOtherRegisters while all slots are taken.
static bool hasRegisters(tile::StreamAttr schedule) {
  constexpr int64_t ofMultiprocessor = 65536, ofThread = 255, threadsOfMultiprocessor = 2048;
  int64_t threads = schedule.getSlots() * schedule.getWarps() * 32;
  if (threads > threadsOfMultiprocessor)
    return false;
  int64_t rows = llvm::divideCeil(schedule.getRows(), 8);
  int64_t fragments = schedule.getRows() == 1 ? 0 : schedule.getDepth() * rows * 8 * schedule.getTileK() / kAtomColumns;
  bool isLeftOfMany = rows > 1 && schedule.getTileColumns() > kGroupRows;
  int64_t sums = (isLeftOfMany ? 8 : 4) * schedule.getTiles();
  return fragments + sums + kOtherRegisters <= std::min(ofThread, ofMultiprocessor / threads);
}

/// An estimate in ns. The rings of a block are filled anew in each round trip to memory under load; blocks that take
/// more tiles than others end last; in each pass over the rows warps wait for each other.
static int64_t estimate(tile::StreamAttr schedule, const LinearShape &shape, tile::TargetAttr target) {
  tile::CostModelAttr costs = target.costs();
  int64_t columns = schedule.getTileColumns();
  int64_t tiles = llvm::divideCeil(llvm::divideCeil(shape.columns, columns), schedule.getBlocks());
  int64_t waves = llvm::divideCeil(schedule.getBlocks(), target.residentBlocks(/*cluster=*/1, schedule.getSlots()));
  int64_t ring = schedule.getWarps() * schedule.getStages() * streamStageBytes(schedule, shape);
  int64_t passes = llvm::divideCeil(tiles, schedule.getTiles()), bits = shape.weightBits;
  return std::max(shape.columns * shape.k * bits / 8 / costs.getMemoryBytes(),
                  waves * tiles * columns * shape.k * bits / 8 * costs.getRoundTrip() / ring) +
         waves * passes * costs.getClusterWait();
}

static SmallVector<tile::StreamAttr> combine(tile::StreamAttr start, const LinearShape &shape,
                                             tile::TargetAttr target) {
  Combinations<tile::StreamAttr> combinations(start, [&](Numbers<tile::StreamAttr> &numbers) {
    int64_t all = llvm::divideCeil(shape.columns, numbers["tile_columns"]);
    numbers["blocks"] = std::min(numbers["slots"] * target.getMultiprocessors(), all);
    numbers["tiles"] = std::min<int64_t>(numbers["tiles"], llvm::divideCeil(all, numbers["blocks"]));
    numbers["shared_bytes"] = target.slotSharedBytes(numbers["slots"]);
  });
  combinations.vary("slots", doubled(4));
  combinations.vary("warps", doubled(32));
  combinations.vary("tile_columns", {kGroupRows, 2 * kGroupRows});
  int64_t unit = shape.weightBits < 16 ? tile::kUnitColumns : kAtomColumns;
  combinations.vary("tile_k", {unit, 2 * unit, 4 * unit});
  combinations.vary("stages", doubled(16));
  combinations.vary("tiles", each(8));
  combinations.vary("depth", start.getRows() == 1 ? ArrayRef<int64_t>{start.getDepth()} : doubled(4));
  SmallVector<tile::StreamAttr> result = combinations.all();
  llvm::erase_if(result, [](tile::StreamAttr schedule) { return !hasRegisters(schedule); });
  return result;
}

//===----------------------------------------------------------------------===//
// Gemm and swap_ab
//===----------------------------------------------------------------------===//

/// Rows of the left operand of a warpgroup's product.
static constexpr int64_t kWarpgroupRows = 64;

/// An estimate in ns: rounds of tiles over the multiprocessors, whose steps along K the products or the refilling of
/// the ring bound.
static int64_t estimate(tile::GemmAttr schedule, const LinearShape &shape, int64_t stepRows, tile::TargetAttr target) {
  tile::CostModelAttr costs = target.costs();
  int64_t tiles =
      llvm::divideCeil(stepRows, schedule.getTileRows()) * llvm::divideCeil(shape.columns, schedule.getTileColumns());
  int64_t rounds = llvm::divideCeil(tiles, schedule.getBlocks());
  int64_t steps = rounds * llvm::divideCeil(shape.k, schedule.getTileK());
  int64_t products = schedule.getTileRows() * schedule.getTileColumns() * schedule.getTileK();
  return std::max({shape.columns * shape.k * 2 / costs.getMemoryBytes(),
                   steps * costs.getRoundTrip() / schedule.getStages(), steps * products / costs.getProducts()});
}

/// Lowers the stages of a ring to those that fit `bytes` of shared memory.
template <typename Attr> static void keepFitting(Numbers<Attr> &numbers, int64_t stageBytes, int64_t bytes) {
  numbers["stages"] = std::min(numbers["stages"], (bytes - kBarrierBytes) / stageBytes);
}

static SmallVector<tile::GemmAttr> combine(tile::GemmAttr start, const LinearShape &shape, tile::TargetAttr target) {
  constexpr int64_t warpgroup = 128, mostRegisters = 240;
  Combinations<tile::GemmAttr> combinations(start, [&](Numbers<tile::GemmAttr> &numbers) {
    int64_t consumers = numbers["consumers"];
    numbers["tile_rows"] = kWarpgroupRows * consumers;
    // What the producers leave of a multiprocessor, of which a block has all.
    int64_t pool = tile::registerPool(warpgroup * (1 + consumers)) / warpgroup - numbers["producer_registers"];
    numbers["consumer_registers"] = std::min<int64_t>(mostRegisters, llvm::alignDown(pool / consumers, 8));
    int64_t stageBytes = (numbers["tile_rows"] + numbers["tile_columns"]) * kAtomColumns * 2;
    int64_t staged = start.stagedBytes() / start.getConsumers() * consumers;
    keepFitting(numbers, stageBytes, target.getBlockSharedBytes() - staged);
  });
  combinations.vary("consumers", doubled(2)); // rows of a tile are a power of two
  combinations.vary("tile_columns", doubled(512));
  combinations.vary("stages", doubled(16));
  combinations.vary("producer_registers", {24, 40});
  return combinations.all();
}

static SmallVector<tile::SwapAbAttr> combine(tile::SwapAbAttr start, const LinearShape &shape,
                                             tile::TargetAttr target) {
  // Only a block that has a multiprocessor alone can have any number of consumers.
  auto alone =
      tile::SwapAbAttr::get(start.getContext(), start.getTileRows(), kWarpgroupRows, start.getTileK(),
                            /*consumers=*/1, /*split=*/1, /*slots=*/1, start.getStages(), target.slotSharedBytes(1));
  Combinations<tile::SwapAbAttr> combinations(alone, [&](Numbers<tile::SwapAbAttr> &numbers) {
    numbers["tile_columns"] = kWarpgroupRows * numbers["consumers"];
    numbers["shared_bytes"] = target.slotSharedBytes(numbers["slots"]);
    int64_t stageBytes = (numbers["tile_rows"] + numbers["tile_columns"]) * kAtomColumns * 2;
    keepFitting(numbers, stageBytes, numbers["shared_bytes"]);
  });
  combinations.vary("consumers", each(7));
  combinations.vary("split", each(8));
  combinations.vary("slots", each(4));
  combinations.vary("stages", doubled(16));
  return combinations.all();
}

//===----------------------------------------------------------------------===//
// All families
//===----------------------------------------------------------------------===//

template <typename Attr, typename Estimate>
static ScheduleSpace rate(Attr chosen, const LinearShape &shape, tile::TargetAttr target, Estimate estimateOf) {
  return rateSchedules<Attr>(chosen, combine(chosen, shape, target), estimateOf,
                             [&](Attr schedule) { return whyRefused(schedule, shape, target).empty(); });
}

ScheduleSpace inlay::findSchedules(tile::Family family, const LinearShape &shape, int64_t stepRows,
                                   tile::TargetAttr target, function_ref<InFlightDiagnostic()> emitError) {
  tile::Schedule chosen = chooseLinear(family, shape, target, emitError);
  if (!chosen)
    return {};
  // Combinations that the verifier refuses are no errors here.
  ScopedDiagnosticHandler quiet(target.getContext(), [](Diagnostic &) { return success(); });
  if (auto gemm = dyn_cast<tile::GemmAttr>(chosen))
    return rate(gemm, shape, target, [&](tile::GemmAttr one) { return estimate(one, shape, stepRows, target); });
  if (auto swapAb = dyn_cast<tile::SwapAbAttr>(chosen))
    return rate(swapAb, shape, target, [&](tile::SwapAbAttr one) { return estimateSwapAb(one, shape, target); });
  return rate(cast<tile::StreamAttr>(chosen), shape, target,
              [&](tile::StreamAttr one) { return estimate(one, shape, target); });
}

void inlay::pruneSchedules(ScheduleSpace &space, size_t most) {
  if (space.schedules.size() <= most || most == 0)
    return;
  RatedSchedule chosen =
      *llvm::find_if(space.schedules, [&](const RatedSchedule &one) { return one.schedule == space.chosen; });
  space.schedules.truncate(most);
  if (llvm::none_of(space.schedules, [&](const RatedSchedule &one) { return one.schedule == space.chosen; }))
    space.schedules.back() = chosen;
}
