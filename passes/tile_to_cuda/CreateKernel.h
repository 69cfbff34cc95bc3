//===- CreateKernel.h - the kernel of a tile program -----------------------===//
//
// A kernel's parameters, grid and tensor maps, as contract and plan know them, and the lowering that fills its body.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_CREATEKERNEL_H
#define INLAY_PASSES_TILE_TO_CUDA_CREATEKERNEL_H

#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "mlir/IR/Builders.h"

namespace inlay {
/// Builds the cuda.kernel of `program`, op by op, where `builder` stands. Fails with a diagnostic.
mlir::LogicalResult lowerGeneric(tile::ProgramOp program, mlir::OpBuilder &builder);

/// Attribute of the kernel that follows a sum which a communicator has computed in place: the name of the kernel that
/// computes the sum as well (tile.receive_sum). Its own name is that one and the suffix.
constexpr llvm::StringLiteral kEpilogueOfAttr = "cuda.epilogue_of", kEpilogueSuffix = "_epilogue";

/// Builds the cuda.kernel of a collective that ranks run through memory of each other. Fails with a diagnostic.
mlir::LogicalResult lowerCollective(tile::CollectiveOp collective, mlir::OpBuilder &builder);

/// Whether the program has the schedule that it is compiled with, or needs none.
inline bool isScheduled(tile::ProgramOp program) {
  tile::Schedule schedule = program.getScheduleAttr();
  return !schedule || !schedule.isPending();
}

/// `c`, `s ceildiv d` or `c * (s ceildiv d)` as the plan says it; none for any other expression.
std::optional<cuda::Count> countOf(mlir::AffineExpr expr);

/// The program's own grid, with dimension 0 times the schedule's cluster. Fails with a diagnostic for a map that the
/// plan cannot say (each dimension is a constant or `c * (size ceildiv d)`).
mlir::FailureOr<cuda::GridAttr> gridOf(tile::ProgramOp program);

/// Adds the kernel's parameters as contract and plan know them: a pointer for each view, named after the argument,
/// `maps` tensor maps, the step's sizes, and where ranks exchange rows the rank's PeerTable; and an empty body. Weights
/// and metadata are readonly; each pointer has the view's provenance. The grid is the program's (gridOf, which may
/// fail), until the lowering replaces it.
mlir::FailureOr<cuda::KernelOp> createKernel(tile::ProgramOp program, mlir::OpBuilder &builder, int64_t threads,
                                             unsigned maps = 0);

/// Describes the kernel's tensor maps. Each is of the provenance of the pointer whose memory it describes.
void setTensorMaps(cuda::KernelOp kernel, mlir::ArrayRef<cuda::TensorMapAttr> maps);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_CREATEKERNEL_H
