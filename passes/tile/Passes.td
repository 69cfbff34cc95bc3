//===- Passes.td - on tile programs ----------------------------------------===//

#ifndef INLAY_PASSES_TILE_PASSES
#define INLAY_PASSES_TILE_PASSES

include "mlir/Pass/PassBase.td"

def SelectConfigPass : Pass<"tile-select-config", "::mlir::ModuleOp"> {
  let summary = "Selects the launch configuration of each program.";
  let description = [{
    Programs of the families `matvec`, `gemm` and `swap_ab` get the attribute `config`: the
    grid, stages, tiles and shared memory. The config comes from the file of
    measurements (tuning/TuningFile.h) if it has the shape, else from the cost model in
    LinearConfig.h, which uses the program's shape and the chip. A remark reports
    which of the two was used. A row of the file that the family cannot run is an error.
    A program that already has a config keeps it, so that it can be set by hand.
  }];
  let options = [Option<"tuning", "tuning", "std::string", /*default=*/"",
                        "file of measured configs; builtin: the compiler's own; empty: none">,
                 Option<"multiprocessors", "multiprocessors", "int64_t", /*default=*/"0",
                        "streaming multiprocessors of the chip; 0: as many as an H100 or H200 has">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

#endif // INLAY_PASSES_TILE_PASSES
