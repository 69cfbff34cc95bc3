//===- LinearSchedule.h - how a linear layer's program is run on a chip ----===//
//
// The analytic model of the families of linear layers: from the shape of a program
// and a chip to a schedule.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_LINEARSCHEDULE_H
#define INLAY_PASSES_TILE_LINEARSCHEDULE_H

#include "dialects/tile/Tile.h"

#include <string>

namespace inlay {
/// Room for the barriers of a ring.
inline constexpr int64_t kBarrierBytes = 512;

/// The most rows of a tile of the family swap_ab: what wgmma has on the side of its N.
inline constexpr int64_t kSwapAbRows = 256;

/// What the choice depends on.
struct LinearShape {
  int64_t columns = 0;  // N
  int64_t k = 0;        // K
  int64_t rows = 0;     // of a step: 1 or a tile of them
  int64_t vectors = 0;  // along k, that rows are scaled or shifted by: those of a norm
  int64_t rowTiles = 1; // of `rows`, that a step has
  int64_t weightBits = 16, rowBits = 16;
  bool hasStatistics = false; // of rows, which must be known before the product: a mean
  int64_t groupBytes = 0;     // of scales and zero points, for each row and unit of codes along K
  int64_t group = 0;          // columns of a scale or zero point; 0 where there are none
  int64_t rowScaleBytes = 0;  // of a row in a stage, where products of steps are scaled by groups of the rows' columns

  bool isScaled() const { return vectors > 0 || hasStatistics; }
};

/// Null, after a diagnostic, where the family has no schedule for the shape or the chip.
tile::GemmAttr chooseGemm(const LinearShape &shape, tile::TargetAttr target,
                          llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
tile::SwapAbAttr chooseSwapAb(const LinearShape &shape, tile::TargetAttr target,
                              llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// Bytes of a stage in the ring: rows, weights, and what codes are dequantized or their products scaled with.
int64_t swapAbStageBytes(tile::SwapAbAttr schedule, const LinearShape &shape);
int64_t gemmStageBytes(tile::GemmAttr schedule, const LinearShape &shape);
/// The time in ns that the analytic model expects of one launch.
int64_t estimateSwapAb(tile::SwapAbAttr schedule, const LinearShape &shape, tile::TargetAttr target);
/// Of programs of the family matvec: their weights are streamed.
tile::StreamAttr chooseStream(const LinearShape &shape, tile::TargetAttr target,
                              llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// Bytes of a stage in the ring of a warp.
int64_t streamStageBytes(tile::StreamAttr schedule, const LinearShape &shape);
/// Bytes of shared memory of a block: rings, the one row or the vectors that scale several, the warps' sums.
int64_t streamBytes(tile::StreamAttr schedule, const LinearShape &shape);
/// The columns of packed weights that a program of the family matvec can take in steps of.
int64_t streamedColumns(const LinearShape &shape);

/// Why programs of the family matvec cannot read codes of `bits` with scales or zero points of `group` columns (0 where
/// there are none) of `k`; empty where they can.
std::string whyNotStreamed(int64_t bits, int64_t group, int64_t k);

/// What the analytic model says for a program of the families matvec, gemm or swap_ab; null after a diagnostic.
tile::Schedule chooseLinear(tile::Family family, const LinearShape &shape, tile::TargetAttr target,
                            llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// Registers of a thread that one row takes while `vectors` along k scale it: its part of them in 16 bits, and of the
/// row in 32. May be up to kMostRowRegisters of the 128 that two blocks of 256 threads leave.
int64_t rowRegisters(tile::StreamAttr schedule, const LinearShape &shape, int64_t vectors);
inline constexpr int64_t kMostRowRegisters = 96;
} // namespace inlay

#endif // INLAY_PASSES_TILE_LINEARSCHEDULE_H
