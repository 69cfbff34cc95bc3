//===- Passes.td - on tile programs ----------------------------------------===//

#ifndef INLAY_PASSES_TILE_PASSES
#define INLAY_PASSES_TILE_PASSES

include "mlir/Pass/PassBase.td"

def SelectConfigPass : Pass<"tile-select-config", "::mlir::ModuleOp"> {
  let summary = "Selects the launch configuration of each program.";
  let description = [{
    Programs of the families `matvec`, `gemm` and `swap_ab` get the attribute `config`: the
    grid, stages, tiles and shared memory. A file of measurements is asked first
    (tuning/TuningFile.h), then the analytic model of LinearConfig.h, which computes
    them from the program's shape and the module's `tile.target`; a remark says which of the two chose.
    An entry that the family cannot run is an error. A program that has a config keeps
    it, so that a person may choose.
  }];
  let options = [Option<"tuning", "tuning", "std::string", /*default=*/"",
                        "file of measured configs; builtin: the compiler's own; empty: none">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

#endif // INLAY_PASSES_TILE_PASSES
