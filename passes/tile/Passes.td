//===- Passes.td - on tile programs ----------------------------------------===//

#ifndef INLAY_PASSES_TILE_PASSES
#define INLAY_PASSES_TILE_PASSES

include "mlir/Pass/PassBase.td"

def SelectSchedulePass : Pass<"tile-select-schedule", "::mlir::ModuleOp"> {
  let summary = "Selects the schedule of each program.";
  let description = [{
    A program with the schedule `#tile.family<...>` gets one of that family: grid, tiles, stages, warps and shared
    memory. No other pass chooses these. For linear layers a file of measurements is asked first (tuning/TuningFile.h),
    then the analytic model (LinearSchedule.h), which computes them from the program's shape and the module's
    `tile.target`; a remark says which of the two chose. An entry that the family cannot run is an error. Attention and
    sampling have a model only (AttentionSchedule.h, SelectSchedule.cpp); how many blocks share a query tile's keys or a
    row's vocabulary depends on the sequences of the `tile.entry` that launches the program. A program that has a
    schedule keeps it, so that a person may choose.
  }];
  let options = [Option<"tuning", "tuning", "std::string", /*default=*/"",
                        "file of measured schedules; builtin: the compiler's own; empty: none">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

def ApplySchedulePass : Pass<"tile-apply-schedule", "::mlir::ModuleOp"> {
  let summary = "Rewrites each program into what a block of its schedule computes.";
  let description = [{
    The loop over keys of an attention whose schedule has a cluster is split over the cluster's blocks, which merge
    their maxima, sums and outputs; the first block stores. `tile.cluster_size` becomes the number of blocks, so that a
    program that divides its work by it (sampling) takes its share; in a cluster of one block, ranks and reductions over
    the cluster disappear. Splits of linear layers are still made by their lowerings.
  }];
  let options = [Option<"linears", "linears", "bool", /*default=*/"false",
                        "apply the schedules of the families gemm and swap_ab as well">];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect"];
}

def AssignStagesPass : Pass<"tile-assign-stages", "::inlay::tile::ProgramOp"> {
  let summary = "Brings the operands of products through a ring.";
  let description = [{
    In a program whose schedule has a pipeline, the loads in a loop that feed nothing but its product become fetches to
    the slots of a ring, with as many stages as the schedule says. Everything still happens in one place: acquire, fetch,
    wait, product, release.
  }];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

def SpecializeWarpsPass : Pass<"tile-specialize-warps", "::inlay::tile::ProgramOp"> {
  let summary = "Divides loops around a ring into warps that fetch and warps that multiply.";
  let description = [{
    The outermost op around a ring's uses, and what leads from its results to a `tile.stage`, moves into the consumers of
    a `tile.warp_roles`; the producers get a copy of its loops with nothing but the fetches. Each role waits for earlier
    launches (`tile.depend`) before it accesses memory that they write.
  }];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::scf::SCFDialect"];
}

def PipelineLoopsPass : Pass<"tile-pipeline", "::inlay::tile::ProgramOp"> {
  let summary = "Starts products before those before them are done, and fetches weights before earlier launches end.";
  let description = [{
    Consumers: a product in a loop over a ring is started (`tile.dot_async`) and waited for one iteration later, when the
    slot that it read is released. Producers: where a loop is the first to fill its ring, the weights of the first pass are
    fetched before `tile.depend`, since no launch writes them.
  }];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect"];
}

#endif // INLAY_PASSES_TILE_PASSES
