//===- LinearConfig.h - how a linear layer's program is run on a chip ------===//
//
// From the shape of a program and a chip to the numbers of its pipeline. They are
// written onto the program as its attribute `config`, where tests and people can
// read and change them.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_LINEARCONFIG_H
#define INLAY_PASSES_TILE_LINEARCONFIG_H

#include "dialects/tile/Tile.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/Support/MathExtras.h"

namespace inlay {
/// Name of the attribute of a program, a dictionary of integers.
constexpr llvm::StringLiteral kConfigAttr = "config";

/// Weights packed as `atom_8x64`: groups of 8 rows, each a run of atoms of 64 columns of 16 bits, swizzled by 128
/// bytes.
inline constexpr int64_t kGroupRows = 8, kAtomColumns = 64, kAtomBytes = 1024;

/// Room for the barriers of a ring.
inline constexpr int64_t kBarrierBytes = 512;

/// What the choice depends on.
struct LinearShape {
  int64_t columns = 0;   // N
  int64_t k = 0;         // K
  int64_t rows = 0;      // of a step: 1 or a tile of them
  bool isScaled = false; // by vectors along k: a norm
};

/// A streaming matrix-vector product: weights flow through a ring for each warp, in chunks of 8 rows.
struct MatvecConfig {
  int64_t blocks = 0;       // of the grid: slots * multiprocessors, so that each slot takes one
  int64_t warps = 8;        // share K
  int64_t chunkAtoms = 4;   // of 64 along k, in one copy
  int64_t stages = 2;       // chunks in a warp's ring
  int64_t groups = 4;       // of 8 weight rows that one pass over the activations serves
  int64_t rows = 1;         // of activations: 1, 8 or 16
  int64_t chains = 2;       // sums of a group that do not wait for each other
  int64_t depth = 1;        // chunks of several rows on their way to registers
  int64_t partialBytes = 0; // shared memory for the warps' sums; 0: where the rings were
  int64_t sharedBytes = 0;  // in all

  mlir::DictionaryAttr toAttribute(mlir::MLIRContext *context) const;
  static MatvecConfig from(mlir::DictionaryAttr attribute);

  /// Registers that one row takes in a thread while it is scaled, and each vector along k that scales it.
  int64_t rowRegisters(const LinearShape &shape) const;
  static constexpr int64_t kMostRowRegisters = 96; // of 128, which two blocks of 256 threads leave
};

/// A matrix product on warpgroups: one producer, the rest consume.
struct GemmConfig {
  int64_t blocks = 0; // of the grid, each runs through tiles
  int64_t tileRows = 128, tileColumns = 256, tileK = 64;
  int64_t stages = 4;
  int64_t consumers = 2;                                   // warpgroups
  int64_t producerRegisters = 40, consumerRegisters = 232; // a thread

  mlir::DictionaryAttr toAttribute(mlir::MLIRContext *context) const;
  static GemmConfig from(mlir::DictionaryAttr attribute);

  /// Sums that each consuming warp passes through shared memory to the epilogue: its 16 rows, so padded that few of a
  /// store's fall into one bank.
  static constexpr int64_t kStagedColumns = 64, kStagedPitch = 68, kStagedRows = 16;
  /// Both operands of one stage.
  int64_t stageBytes() const { return (tileRows + tileColumns) * tileK * 2; }
  int64_t stagedBytes() const { return consumers * 4 * kStagedRows * kStagedPitch * 4; }
};

/// A matrix product of few rows on warpgroups: weights on wgmma's M, the step's rows on its N.
struct SwapAbConfig {
  int64_t tileRows = 32; // of activations: 16 or a multiple of 32, at most 256
  int64_t tileColumns = 128, tileK = 64;
  int64_t consumers = 2;   // warpgroups
  int64_t split = 1;       // blocks of a cluster that share K
  int64_t slots = 2;       // blocks that share a multiprocessor
  int64_t stages = 4;      // of both operands in the ring
  int64_t sharedBytes = 0; // in all

  mlir::DictionaryAttr toAttribute(mlir::MLIRContext *context) const;
  static SwapAbConfig from(mlir::DictionaryAttr attribute);
  /// Both operands of one stage.
  int64_t stageBytes() const { return (tileRows + tileColumns) * tileK * 2; }
  /// Sums in shared memory: [row][column] in f32, so padded that the 8 columns x 4 pairs of rows of a warp's store lie
  /// in different banks.
  int64_t sumsPitch() const { return tileColumns + 4; }
  int64_t sumsBytes() const { return tileRows * sumsPitch() * 4; }
  /// Of K's steps, those of each block but the last that share it.
  int64_t share(int64_t k) const { return llvm::divideCeil(llvm::divideCeil(k, tileK), split); }
  /// Whether the last block has any.
  bool givesEachBlockSteps(int64_t k) const {
    return (split - 1) * share(k) < static_cast<int64_t>(llvm::divideCeil(k, tileK));
  }
  int64_t time(const LinearShape &shape, tile::TargetAttr target) const;
};

MatvecConfig chooseMatvec(const LinearShape &shape, tile::TargetAttr target);
/// The rows of a tile of the family swap_ab for steps of at most `rows`.
int64_t swapAbTileRows(int64_t rows);
GemmConfig chooseGemm(const LinearShape &shape, tile::TargetAttr target);
SwapAbConfig chooseSwapAb(const LinearShape &shape, tile::TargetAttr target);

/// What the analytic model says for a program of the families matvec, gemm or swap_ab.
mlir::DictionaryAttr chooseLinear(llvm::StringRef family, const LinearShape &shape, tile::TargetAttr target,
                                  mlir::MLIRContext *context);

/// The config that a program of these families has, or else the analytic model's.
mlir::FailureOr<mlir::DictionaryAttr> selectConfig(tile::ProgramOp program, tile::TargetAttr target);
} // namespace inlay

#endif // INLAY_PASSES_TILE_LINEARCONFIG_H
