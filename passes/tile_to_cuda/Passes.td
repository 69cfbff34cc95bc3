//===- Passes.td - from tile programs to CUDA kernels ----------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_PASSES
#define INLAY_PASSES_TILE_TO_CUDA_PASSES

include "mlir/Pass/PassBase.td"

def ConvertTileToCudaPass : Pass<"convert-tile-to-cuda", "::mlir::ModuleOp"> {
  let summary = "Tile programs become kernels of the cuda dialect.";
  let description = [{
    Each `tile.program` becomes a `cuda.kernel` of the same name in its place, through the lowering of its schedule's
    kernel family, or the generic one without a schedule. Programs that a library computes stay. The kernel's attributes hold all that a launch must know:
    `threads`, `cluster`, `grid`, `tensor_maps` and `dependent_launch`. Its shared memory consists of
    `cuda.shared_buffer`s, which cuda-allocate-shared places, and most kernels get their `cuda.depend` from
    cuda-place-dependencies.

    Schedules have been selected (tile-select-schedule) and applied (tile-apply-schedule).
  }];
  let dependentDialects = ["::inlay::cuda::CudaDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect"];
}

#endif // INLAY_PASSES_TILE_TO_CUDA_PASSES
