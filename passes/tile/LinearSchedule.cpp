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

tile::GemmAttr inlay::chooseGemm(tile::TargetAttr target, llvm::function_ref<InFlightDiagnostic()> emitError) {
  auto withStages = [&](int64_t stages) {
    return tile::GemmAttr::get(target.getContext(), /*blocks=*/target.getMultiprocessors(), /*tile_rows=*/128,
                               /*tile_columns=*/256, /*tile_k=*/kAtomColumns, stages, /*consumers=*/2,
                               /*producer_registers=*/40, /*consumer_registers=*/232);
  };
  tile::GemmAttr schedule = withStages(4);
  int64_t room = target.getBlockSharedBytes() - schedule.stagedBytes() - kBarrierBytes;
  int64_t stages = std::min(schedule.getStages(), room / schedule.stageBytes());
  if (stages >= kLeastStages)
    return withStages(stages);
  refuseStages(emitError, "gemm", schedule.stageBytes());
  return {};
}

/// An estimate in ns. A ring is filled anew in each round trip to memory under load; the products and what memory
/// gives bound it; blocks that share K wait for each other.
static int64_t estimate(tile::SwapAbAttr schedule, const LinearShape &shape, tile::TargetAttr target) {
  tile::CostModelAttr costs = target.costs();
  int64_t split = schedule.getSplit(), slots = schedule.getSlots();
  int64_t blocks = llvm::divideCeil(shape.columns, schedule.getTileColumns()) * split;
  int64_t waves = llvm::divideCeil(blocks, target.residentBlocks(split, slots));
  int64_t steps = waves * schedule.share(shape.k);
  int64_t neighbours = std::min<int64_t>(slots, llvm::divideCeil(blocks, target.getMultiprocessors()));
  int64_t products = schedule.getTileRows() * schedule.getTileColumns() * schedule.getTileK();
  return std::max({shape.columns * shape.k * 2 / costs.getMemoryBytes(),
                   steps * costs.getRoundTrip() / schedule.getStages(),
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
  // A thread has half as many sums as there are rows; two blocks leave it 112 registers.
  int64_t slots = tileRows <= 128 ? target.costs().getSlots() : 1;
  int64_t sharedBytes = target.slotSharedBytes(slots);
  tile::SwapAbAttr best;
  for (int64_t consumers : {2, 1}) {
    // Two warpgroups share the rows that they read. Few rows are little to read, and small tiles end sooner.
    if (shape.rows <= 32 && consumers > 1)
      continue;
    int64_t tileColumns = 64 * consumers;
    stageBytes = (tileRows + tileColumns) * kAtomColumns * 2;
    int64_t stages = std::min<int64_t>((sharedBytes - kBarrierBytes) / stageBytes, 8);
    if (stages < kLeastStages)
      continue;
    for (int64_t split : {1, 2, 3, 4}) {
      auto schedule = tile::SwapAbAttr::get(target.getContext(), tileRows, tileColumns, /*tile_k=*/kAtomColumns,
                                            consumers, split, slots, stages, sharedBytes);
      if (schedule.givesEachBlockSteps(shape.k) &&
          (!best || estimate(schedule, shape, target) < estimate(best, shape, target)))
        best = schedule;
    }
  }
  if (!best)
    refuseStages(emitError, "swap_ab", stageBytes);
  return best;
}

tile::Schedule inlay::chooseLinear(tile::Family family, const LinearShape &shape, tile::TargetAttr target,
                                   llvm::function_ref<InFlightDiagnostic()> emitError) {
  if (family == tile::Family::Gemm)
    return chooseGemm(target, emitError);
  if (family == tile::Family::SwapAb)
    return chooseSwapAb(shape, target, emitError);
  return chooseStream(shape, target, emitError);
}
