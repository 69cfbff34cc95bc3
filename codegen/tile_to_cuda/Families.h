//===- Families.h - which lowering a tile program goes to ------------------===//
//
// A program's attribute `family` names one of the lowerings below. Each gets the
// program and a builder that stands in the module of kernels; it builds one
// cuda.kernel and says how it is launched. To add a family, declare its
// lowering here and give it a row in `families` (Families.cpp).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_TILE_TO_CUDA_FAMILIES_H
#define INLAY_CODEGEN_TILE_TO_CUDA_FAMILIES_H

#include "codegen/tile_to_cuda/Compile.h"
#include "mlir/IR/Builders.h"
#include "passes/tile/Chip.h"

namespace inlay {
/// What a lowering made: the kernel, and what the plan must know to launch it. Threads, cluster and dynamic shared
/// memory stand on the kernel. `grid` is what the hardware launches: a lowering may replace the program's.
struct LoweredKernel {
  cuda::KernelOp kernel;
  std::vector<GridCount> grid;
  std::vector<CudaTensorMap> tensorMaps;
  bool dependentLaunch = true;
};

using FamilyLowering = mlir::LogicalResult (*)(tile::ProgramOp program, mlir::OpBuilder &builder,
                                               const CudaOptions &options, LoweredKernel &result);

/// The chip that is compiled for, with as many multiprocessors as the options say.
Chip chipOf(const CudaOptions &options);

/// Everything that no other family takes: row-wise programs, attention, and any other as a fallback.
mlir::LogicalResult lowerGeneric(tile::ProgramOp program, mlir::OpBuilder &builder, const CudaOptions &options,
                                 LoweredKernel &result);

/// Attention of steps where each sequence has one row: keys and values stream through rings of TMA copies.
mlir::LogicalResult lowerDecodeAttention(tile::ProgramOp program, mlir::OpBuilder &builder, const CudaOptions &options,
                                         LoweredKernel &result);

/// Linear layers of few rows: weights stream through rings of bulk copies.
mlir::LogicalResult lowerMatvec(tile::ProgramOp program, mlir::OpBuilder &builder, const CudaOptions &options,
                                LoweredKernel &result);

/// Linear layers of many rows: warpgroup products fed by a producer through TMA.
mlir::LogicalResult lowerGemm(tile::ProgramOp program, mlir::OpBuilder &builder, const CudaOptions &options,
                              LoweredKernel &result);

/// Attention of prompts: warpgroup products over tiles of keys and values that a producer warp copies with TMA.
mlir::LogicalResult lowerPrefillAttention(tile::ProgramOp program, mlir::OpBuilder &builder, const CudaOptions &options,
                                          LoweredKernel &lowered);

/// Linear layers of a batch of sequences: weights on the M side of warpgroup products, K split over a cluster.
mlir::LogicalResult lowerSwapAb(tile::ProgramOp program, mlir::OpBuilder &builder, const CudaOptions &options,
                                LoweredKernel &result);

/// The lowering that a program's `family` names; lowerGeneric without one, null (with a diagnostic) if unknown.
FamilyLowering familyLowering(tile::ProgramOp program);

/// `c`, `s ceildiv d` or `c * (s ceildiv d)` as the plan says it; none for any other expression.
std::optional<GridCount> countOf(mlir::AffineExpr expr);

/// The program's own grid, with dimension 0 times the cluster. Fails with a diagnostic for a map that the plan cannot
/// say (each dimension is a constant or `c * (size ceildiv d)`).
mlir::LogicalResult gridOf(tile::ProgramOp program, std::vector<GridCount> &grid);

/// Adds the kernel's parameters as contract and plan know them: a pointer for each view, named after the argument,
/// `maps` tensor maps, the step's sizes; and an empty body. Weights and metadata are readonly; each pointer has the
/// view's provenance.
cuda::KernelOp createKernel(tile::ProgramOp program, mlir::OpBuilder &builder, int64_t threads, unsigned maps = 0);
} // namespace inlay

#endif // INLAY_CODEGEN_TILE_TO_CUDA_FAMILIES_H
