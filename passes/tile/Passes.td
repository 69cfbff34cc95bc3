//===- Passes.td - on tile programs ----------------------------------------===//

#ifndef INLAY_PASSES_TILE_PASSES
#define INLAY_PASSES_TILE_PASSES

include "mlir/Pass/PassBase.td"

def SelectConfigPass : Pass<"tile-select-config", "::mlir::ModuleOp"> {
  let summary = "Writes onto each program how its family runs it on the chip.";
  let description = [{
    Programs of the families `matvec`, `gemm` and `swap_ab` get the attribute `config`: the
    grid, stages, tiles and shared memory that LinearConfig.h computes from the
    program's shape and the chip. A program that has one keeps it, so that a
    person or a tuning database may choose.
  }];
  let options = [Option<"multiprocessors", "multiprocessors", "int64_t", /*default=*/"0",
                        "streaming multiprocessors of the chip; 0: as many as an H100 or H200 has">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

#endif // INLAY_PASSES_TILE_PASSES
