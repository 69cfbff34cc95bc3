//===- Passes.td - from tile programs to CUDA kernels ----------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_PASSES
#define INLAY_PASSES_TILE_TO_CUDA_PASSES

include "mlir/Pass/PassBase.td"

def HoistLoadsPass : Pass<"tile-hoist-loads", "::inlay::tile::ProgramOp"> {
  let summary = "Loads move to where their addresses are known.";
  let description = [{
    Loads of memory that the program does not write are under way while other work is done. In tile.for_warps they also
    leave branches: a load that is not needed costs less than one that is waited for after another. Programs that have a
    lowering of their own are left alone.
  }];
}

def AssignLayoutsPass : Pass<"tile-assign-layouts", "::inlay::tile::ProgramOp"> {
  let summary = "Each tile gets a layout, as the encoding of its type.";
  let description = [{
    Products ask for the layouts of their accumulators (`#tile.layout`). What is computed from an accumulator follows it;
    everything else is spread so that neighbours in memory are neighbours in a thread. What is computed or loaded where
    it is used (constants, indices, broadcasts; loads of memory that the program does not write) is there once for each
    layout that a use needs. Where else a use needs another layout than the tile is kept in, a `tile.convert_layout`
    stands behind the tile; a remark counts those that go through shared memory. Tiles in slots of rings, staged tiles and
    right sides of products get a `#tile.shared`.

    The program's attribute `tile.warps` is the number of warps among which tiles are divided. Programs that have a
    lowering of their own are left alone.
  }];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

def ConvertTileToCudaPass : Pass<"convert-tile-to-cuda", "::mlir::ModuleOp"> {
  let summary = "Tile programs become kernels of the cuda dialect.";
  let description = [{
    Each `tile.program` becomes a `cuda.kernel` of the same name in its place, through the lowering of its schedule's
    kernel family, or the generic one without a schedule. Programs that a library computes stay. The kernel's attributes hold all that a launch must know:
    `threads`, `cluster`, `grid`, `tensor_maps` and `dependent_launch`. Its shared memory consists of
    `cuda.shared_buffer`s, which cuda-allocate-shared places, and most kernels get their `cuda.depend` from
    cuda-place-dependencies.

    Schedules have been selected (tile-select-schedule) and applied (tile-apply-schedule), and tiles have layouts
    (tile-assign-layouts).
  }];
  let dependentDialects = ["::inlay::cuda::CudaDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect"];
}

#endif // INLAY_PASSES_TILE_TO_CUDA_PASSES
