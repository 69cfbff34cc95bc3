//===- StreamSchedule.cpp - the analytic model of the family stream --------===//

#include "passes/tile/LinearSchedule.h"

#include "fmt/format.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;
using tile::kAtomColumns, tile::kGroupRows, tile::kUnitColumns;

int64_t inlay::streamStageBytes(tile::StreamAttr schedule, const LinearShape &shape) {
  if (shape.weightBits == 16)
    return schedule.stageBytes();
  int64_t columns = schedule.getTileK();
  return schedule.getTileColumns() *
         (columns * shape.weightBits / 8 + llvm::divideCeil(columns, kUnitColumns) * shape.groupBytes);
}

int64_t inlay::streamedColumns(const LinearShape &shape) {
  return llvm::alignTo(shape.k, shape.weightBits == 16 ? kAtomColumns : kUnitColumns);
}

std::string inlay::whyNotStreamed(int64_t bits, int64_t group, int64_t k) {
  // The four lanes of a row have a piece of 16 bytes each, and a product sums over all of them. A step has whole groups
  // or lies in one.
  constexpr int64_t mostOfStep = 1024;
  int64_t together = 4 * tile::codesOfPiece(bits);
  if (group > 0 && (group % together != 0 || (group < mostOfStep && !llvm::isPowerOf2_64(group))))
    return fmt::format("has groups of {} columns, expected a power of two from {} on", group, together);
  if (group > 0 && group < kUnitColumns && llvm::alignTo(k, group) < llvm::alignTo(k, kUnitColumns))
    return fmt::format("has groups of {} of {} columns, which end before the last unit of {}", group, k, kUnitColumns);
  return "";
}

/// With 16 bytes more for each row of the warps' sums. Rings start at multiples of an atom.
int64_t inlay::streamBytes(tile::StreamAttr schedule, const LinearShape &shape) {
  int64_t staged = schedule.getRows() == 1 ? 1 : shape.vectors;
  int64_t row = staged * (schedule.share(shape.k) * schedule.getTileK() * 2 + 16);
  int64_t sums = schedule.getRows() * (schedule.getTiles() * schedule.getTileColumns() + 4 + 1) * 4;
  int64_t ring = llvm::alignTo(schedule.getStages() * streamStageBytes(schedule, shape), tile::kAtomBytes);
  return schedule.getWarps() * (ring + schedule.getStages() * 8 + row + sums) + 1024;
}

int64_t inlay::rowRegisters(tile::StreamAttr schedule, const LinearShape &shape, int64_t vectors) {
  int64_t elements = schedule.share(shape.k) * schedule.getTileK() / 32;
  return elements + (1 + vectors) * elements / 2;
}

tile::StreamAttr inlay::chooseStream(const LinearShape &shape, tile::TargetAttr target,
                                     llvm::function_ref<InFlightDiagnostic()> emitError) {
  constexpr int64_t warps = 8, ringBytes = 8192;
  int64_t slots = target.costs().getSlots(), rows = shape.rows == 1 ? 1 : shape.rows <= 8 ? 8 : 16;
  bool areCodes = shape.weightBits < 16;
  int64_t atoms = streamedColumns(shape) / kAtomColumns, share = llvm::divideCeil(atoms, warps);
  auto blocksOf = [&](int64_t cols) {
    return std::min<int64_t>(slots * target.getMultiprocessors(), llvm::divideCeil(shape.columns, cols));
  };
  auto tilesOfBlock = [&](int64_t cols) -> int64_t {
    return llvm::divideCeil(llvm::divideCeil(shape.columns, cols), blocksOf(cols));
  };
  // 16 weight rows on the left take half the products and sums of 8 on the right. Where blocks would own more rows of
  // the weights, that costs more.
  constexpr int64_t left = 2 * kGroupRows;
  int64_t cols = areCodes || 50 * 2 * tilesOfBlock(left) <= 51 * tilesOfBlock(kGroupRows) ? left : kGroupRows;

  // Tiles of 4 KB; of 8 rows, 2 KB where activations of several rows stand in registers. A warp has at most a tenth
  // above its share of K.
  bool isTight = shape.isScaled() && rows > 1;
  int64_t tileAtoms = 1, largest = rows == 1 && cols == kGroupRows ? 4 : isTight && rows > 8 ? 1 : 2;
  // Of codes, one or two units: 1 to 4 KB.
  constexpr int64_t unit = kUnitColumns / kAtomColumns;
  if (areCodes) {
    tileAtoms = unit;
    largest = rows == 1 ? 2 * unit : unit;
  }
  for (int64_t many : {largest, std::max<int64_t>(largest / 2, tileAtoms)}) {
    int64_t most = llvm::divideCeil(llvm::divideCeil(atoms, many), warps) * many;
    if (atoms % many == 0 && 10 * most <= 11 * share) {
      tileAtoms = many;
      break;
    }
  }
  // Sums take 4 registers a tile, 8 on the left of 16 rows. What is left holds activations: a step of 8 rows takes 8
  // registers for each 64 columns.
  int64_t sums = rows > 8 && cols == left ? 8 : 4;
  int64_t fragments = std::max<int64_t>(rows / 8, 1) * 8 * tileAtoms;
  auto choose = [&](int64_t limit, int64_t stages) {
    int64_t own = tilesOfBlock(cols), tiles = llvm::divideCeil(own, llvm::divideCeil(own, limit));
    // Two steps of rows ahead, one where they are scaled: more were compiled with spills. The loop goes through as many
    // steps in a turn, which all warps have.
    int64_t depth = rows == 1 ? 1 : std::clamp<int64_t>((isTight ? 16 : 32) / fragments, 1, 2);
    // 3 tiles of weights on the right or 2 on the left beside two steps of rows were compiled with spills.
    if (atoms % (tileAtoms * warps * depth) != 0 || tiles > (cols == kGroupRows ? 2 : 1))
      depth = 1;
    return tile::StreamAttr::get(target.getContext(), blocksOf(cols), warps, cols, tileAtoms * kAtomColumns, stages,
                                 tiles, rows, depth, slots, target.slotSharedBytes(slots));
  };
  // Of one row, 256 columns take 32 registers: 7 tiles beside them were compiled with spills.
  int64_t room = isTight ? 28 : tileAtoms == 4 ? 16 : 32;
  for (int64_t limit = room / sums; limit >= 1; limit /= 2)
    for (int64_t stages = ringBytes * 8 / (cols * tileAtoms * kAtomColumns * shape.weightBits); stages >= 1;
         stages /= 2)
      if (tile::StreamAttr schedule = choose(limit, stages);
          streamBytes(schedule, shape) <= schedule.getSharedBytes() && (stages >= 2 || limit == 1))
        return schedule;
  emitError()
      << "has a target whose blocks have no shared memory for a tile and its sums, which the family stream needs";
  return {};
}
