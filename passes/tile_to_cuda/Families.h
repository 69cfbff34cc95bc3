//===- Families.h - which lowering a tile program goes to ------------------===//
//
// A program's schedule decides which of the lowerings below takes it. Each gets the
// program and a builder that stands before it; it builds one cuda.kernel, whose
// attributes say how it is launched. To add a family, define the attribute of its
// schedule (TileSchedules.td), declare its lowering here and give it a row in
// `families` (Families.cpp).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_FAMILIES_H
#define INLAY_PASSES_TILE_TO_CUDA_FAMILIES_H

#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "mlir/IR/Builders.h"

namespace inlay {
using FamilyLowering = mlir::LogicalResult (*)(tile::ProgramOp program, mlir::OpBuilder &builder);

/// Op by op: linear layers and attention after tile-pipeline, row-wise programs, sampling, and whatever has no schedule.
mlir::LogicalResult lowerGeneric(tile::ProgramOp program, mlir::OpBuilder &builder);

/// The lowering of a program's schedule; lowerGeneric without one, null (with a diagnostic) where none is selected yet.
FamilyLowering familyLowering(tile::ProgramOp program);

/// Whether that is lowerGeneric.
bool isLoweredOpByOp(tile::ProgramOp program);

/// `c`, `s ceildiv d` or `c * (s ceildiv d)` as the plan says it; none for any other expression.
std::optional<cuda::Count> countOf(mlir::AffineExpr expr);

/// The program's own grid, with dimension 0 times the schedule's cluster. Fails with a diagnostic for a map that the
/// plan cannot say (each dimension is a constant or `c * (size ceildiv d)`).
mlir::FailureOr<cuda::GridAttr> gridOf(tile::ProgramOp program);

/// Adds the kernel's parameters as contract and plan know them: a pointer for each view, named after the argument,
/// `maps` tensor maps, the step's sizes; and an empty body. Weights and metadata are readonly; each pointer has the
/// view's provenance. The grid is the program's (gridOf, which may fail), until the lowering replaces it.
mlir::FailureOr<cuda::KernelOp> createKernel(tile::ProgramOp program, mlir::OpBuilder &builder, int64_t threads,
                                             unsigned maps = 0);

/// Describes the kernel's tensor maps. Each is of the provenance of the pointer whose memory it describes.
void setTensorMaps(cuda::KernelOp kernel, mlir::ArrayRef<cuda::TensorMapAttr> maps);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_FAMILIES_H
