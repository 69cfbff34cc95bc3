//===- LinearSchedule.cpp - how a linear layer's program is run on a chip --===//

#include "passes/tile/LinearSchedule.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;
using tile::kAtomColumns;

/// A ring has at least two stages.
static constexpr int64_t kLeastStages = 2;

static void refuseStages(llvm::function_ref<InFlightDiagnostic()> emitError, StringRef family, int64_t bytes) {
  emitError() << "has a target whose blocks have no shared memory for " << kLeastStages << " stages of " << bytes
              << " bytes, which the family " << family << " needs";
}

/// Bytes of scales and zero points in a stage.
static int64_t scaleBytes(int64_t rows, int64_t columns, const LinearShape &shape) {
  return columns * shape.groupBytes + rows * shape.rowScaleBytes;
}

int64_t inlay::gemmStageBytes(tile::GemmAttr schedule, const LinearShape &shape) {
  return schedule.stageBytes() + scaleBytes(schedule.getTileRows(), schedule.getTileColumns(), shape);
}

tile::GemmAttr inlay::chooseGemm(const LinearShape &shape, tile::TargetAttr target,
                                 llvm::function_ref<InFlightDiagnostic()> emitError) {
  auto withStages = [&](int64_t stages) {
    return tile::GemmAttr::get(target.getContext(), /*blocks=*/target.getMultiprocessors(), /*tile_rows=*/128,
                               /*tile_columns=*/256, /*tile_k=*/8 * tile::kSlabBytes / shape.weightBits, stages,
                               /*consumers=*/2,
                               /*producer_registers=*/40, /*consumer_registers=*/232);
  };
  tile::GemmAttr schedule = withStages(4);
  int64_t room = target.getBlockSharedBytes() - schedule.stagedBytes() - kBarrierBytes;
  int64_t stageBytes = gemmStageBytes(schedule, shape), stages = std::min(schedule.getStages(), room / stageBytes);
  if (stages >= kLeastStages)
    return withStages(stages);
  refuseStages(emitError, "gemm", stageBytes);
  return {};
}

int64_t inlay::swapAbStageBytes(tile::SwapAbAttr schedule, const LinearShape &shape) {
  int64_t bits = schedule.getTileRows() * shape.rowBits + schedule.getTileColumns() * shape.weightBits;
  return bits * schedule.getTileK() / 8 + scaleBytes(schedule.getTileRows(), schedule.getTileColumns(), shape);
}

/// A ring is filled anew in each round trip to memory under load; the products and what memory gives bound the time;
/// blocks that share K wait for each other.
int64_t inlay::estimateSwapAb(tile::SwapAbAttr schedule, const LinearShape &shape, tile::TargetAttr target) {
  tile::CostModelAttr costs = target.costs();
  int64_t split = schedule.getSplit(), slots = schedule.getSlots(), chip = target.getMultiprocessors();
  int64_t blocks = llvm::divideCeil(shape.columns, schedule.getTileColumns()) * split * shape.rowTiles;
  int64_t waves = llvm::divideCeil(blocks, target.residentBlocks(split, slots));
  int64_t steps = waves * schedule.share(shape.k);
  int64_t neighbours = std::min<int64_t>(slots, llvm::divideCeil(blocks, chip));
  int64_t products = schedule.getTileRows() * schedule.getTileColumns() * schedule.getTileK();
  // Each block reads all rows through the cache, which counts where weights are few bits beside them. A multiprocessor
  // has its share of what the cache gives, which is unused where it has no block. Products of rows of 16 bits keep the
  // choices that steps of 8B were measured with.
  int64_t cached = shape.weightBits < 16 ? blocks * schedule.share(shape.k) * swapAbStageBytes(schedule, shape) : 0;
  if (shape.rowBits < 16)
    cached = cached * chip / std::min(blocks, chip);
  return std::max({shape.columns * shape.k * shape.weightBits / 8 / costs.getMemoryBytes(),
                   cached / costs.getCacheBytes(), steps * costs.getRoundTrip() / schedule.getStages(),
                   steps * neighbours * products / costs.getProducts()}) +
         costs.getClusterWait() * split;
}

tile::SwapAbAttr inlay::chooseSwapAb(const LinearShape &shape, tile::TargetAttr target,
                                     llvm::function_ref<InFlightDiagnostic()> emitError) {
  int64_t tileRows = tile::swapAbTileRows(shape.rows), stageBytes = 0;
  if (tileRows > kSwapAbRows) {
    emitError() << "has tiles of " << shape.rows << " rows, the family swap_ab takes up to " << kSwapAbRows;
    return {};
  }
  bool areCodes = shape.weightBits < 16;
  int64_t tileK = areCodes ? tile::kUnitColumns : kAtomColumns;
  tile::SwapAbAttr best;
  auto consider = [&](int64_t consumers, int64_t split, int64_t slots) {
    int64_t sharedBytes = target.slotSharedBytes(slots);
    auto withStages = [&](int64_t stages) {
      return tile::SwapAbAttr::get(target.getContext(), tileRows, /*tile_columns=*/64 * consumers, tileK, consumers,
                                   split, slots, stages, sharedBytes);
    };
    // Scales and zero points of groups of 32 at the least take two f32 for each 32 codes.
    stageBytes = swapAbStageBytes(withStages(kLeastStages), shape);
    int64_t stages = std::min<int64_t>((sharedBytes - kBarrierBytes) / stageBytes, 8);
    if (stages < kLeastStages)
      return;
    tile::SwapAbAttr schedule = withStages(stages);
    if (schedule.sumsBytes() + kBarrierBytes > sharedBytes || !schedule.givesEachBlockSteps(shape.k))
      return;
    if (!best || estimateSwapAb(schedule, shape, target) < estimateSwapAb(best, shape, target))
      best = schedule;
  };
  // A thread has half as many sums as there are rows; two blocks leave it 112 registers, as do four warpgroups.
  int64_t slots = tileRows <= 128 ? target.costs().getSlots() : 1;
  if (areCodes) {
    // Codes are few bytes beside the rows, which more warpgroups share; they need registers while they are unpacked.
    // Codes by codes have two tiles of sums, for which four warpgroups have no room with 64 rows.
    int64_t rowsOfFour = shape.rowBits == 16 ? 64 : 32;
    for (int64_t consumers : {4, 2, 1})
      // Clusters of other sizes leave parts of the chip empty, and the rest waits for a second round.
      for (int64_t split : {1, 2, 3, 4, 6})
        if ((tileRows <= rowsOfFour || consumers <= 2) && (split == 1 || shape.rowTiles == 1))
          consider(consumers, split, consumers == 4 || tileRows > 64 ? 1 : slots);
  } else {
    for (int64_t consumers : {2, 1}) {
      // Two warpgroups share the rows that they read. Few rows are little to read, and small tiles end sooner.
      if (shape.rows <= 32 && consumers > 1)
        continue;
      for (int64_t split : {1, 2, 3, 4})
        consider(consumers, split, slots);
    }
  }
  if (!best)
    refuseStages(emitError, "swap_ab", stageBytes);
  return best;
}

tile::Schedule inlay::chooseLinear(tile::Family family, const LinearShape &shape, tile::TargetAttr target,
                                   llvm::function_ref<InFlightDiagnostic()> emitError) {
  if (family == tile::Family::Gemm)
    return chooseGemm(shape, target, emitError);
  if (family == tile::Family::SwapAb)
    return chooseSwapAb(shape, target, emitError);
  return chooseStream(shape, target, emitError);
}
