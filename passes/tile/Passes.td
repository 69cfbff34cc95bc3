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
    `tile.target`; a remark says which of the two chose. An entry that the family cannot run is an error. Attention is
    chosen alike (SelectAttention.h), sampling by a model only (SelectSchedule.cpp); how many blocks share a query tile's
    keys or a row's vocabulary depends on the sequences of the `tile.entry` that launches the program. A program that has a
    schedule keeps it, so that a person may choose.

    Attention gets the family decode_attention, prefill_attention or generic, by what its program computes and by the
    steps that launch it, and the tile that tile-apply-schedule gives it. `query_tile_rows` of each mixed `tile.entry`
    becomes the number of rows that its attention takes, so that the host makes query tiles of that size.
  }];
  let options = [Option<"tuning", "tuning", "std::string", /*default=*/"",
                        "file of measured schedules; builtin: the compiler's own; empty: none">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

def ListSchedulesPass : Pass<"tile-list-schedules", "::mlir::ModuleOp"> {
  let summary = "Lists the schedules that compile-model --tune would measure.";
  let description = [{
    A remark for each schedule of each linear layer's program that has the schedule `#tile.family<...>`: those that the
    family can run (ScheduleSpace.h), with the time that the analytic model expects, the fastest first. The programs stay
    as they are.
  }];
  let options = [
    Option<"most", "most", "unsigned", /*default=*/"0", "schedules of a program that are listed; 0: all">,
    Option<"stepRows", "step-rows", "int64_t", /*default=*/"0", "rows of the step; 0: those of the program's tile">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

def ApplySchedulePass : Pass<"tile-apply-schedule", "::mlir::ModuleOp"> {
  let summary = "Rewrites each program into what a block of its schedule computes.";
  let description = [{
    A linear layer whose schedule has a pipeline gets the grid and the tiles of its schedule. Its loop over K becomes
    that of a block, with the weights on the left if the schedule swaps operands, over a part of K if blocks of a
    cluster share it. What follows the loop becomes pieces that the warps take (`tile.for_warps`). Where weights
    are streamed, each block gets a range of weight rows, its warps parts of K whose sums `tile.warp_reduce` adds, and what the epilogue reads is read before the loop.

    Attention gets the tile of its schedule, rows by keys. Its loop over keys, if the schedule has a cluster, is split
    over the cluster's blocks, which merge their maxima, sums and outputs; the first block stores. In the family
    decode_attention each warp has every n-th step of the block's keys, products compute their transposes, and a block
    stores the part of the results that it has.

    `tile.cluster_size` becomes the number of blocks, so that a program that divides its work by it (sampling) takes its
    share; in a cluster of one block, ranks and reductions over the cluster disappear.
  }];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect"];
}

def AssignStagesPass : Pass<"tile-assign-stages", "::inlay::tile::ProgramOp"> {
  let summary = "Brings the operands of products through a ring.";
  let description = [{
    In a program whose schedule has a pipeline, the loads in a loop that feed nothing but its product become fetches to
    the slots of a ring, with as many stages as the schedule says. Everything still happens in one place: acquire, fetch,
    wait, product, release. Where the schedule has no warps that fetch, each warp of `tile.for_warps` has a ring of its
    own, for the weights only.

    So do gathers whose indices follow each other in runs of 16: `tile.fetch_rows`. Rows without an index are cleared
    where the product sums over them (`tile.clear_rows`). Where they are rows of the result, what comes from them must be
    masked by the program. A left operand from outside of the loop is staged.

    Without producers, the warps of `tile.for_warps` have a ring each. Cached rows that the products of a loop take, as they
    are or transposed, come through it in turn.
  }];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

def SpecializeWarpsPass : Pass<"tile-specialize-warps", "::inlay::tile::ProgramOp"> {
  let summary = "Divides loops around a ring into warps that fetch and warps that multiply.";
  let description = [{
    The outermost op around a ring's uses, and what leads from its results to a `tile.stage`, moves into the consumers of
    a `tile.warp_roles`; the producers get a copy of its loops with nothing but the fetches. Each role waits for earlier
    launches (`tile.depend`) before it accesses memory that they write. The loop stands at the top of the program or in
    branches that all warps take alike. Stores of its results, and tiles that only the loop uses, go to the consumers.
  }];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::scf::SCFDialect"];
}

def PipelineLoopsPass : Pass<"tile-pipeline", "::inlay::tile::ProgramOp"> {
  let summary = "Starts products before those before them are done, and fetches weights before earlier launches end.";
  let description = [{
    Consumers: a product in a loop over a ring is started (`tile.dot_async`) and waited for one iteration later, when the
    slot that it read is released. Of two products in a loop, of which the second depends on the first and the first on
    no other iteration, the first runs an iteration ahead (SkewLoop.cpp), both in turn where the schedule says so, and
    masks that two columns decide get a variant without them (SplitMasks.cpp). Producers: where a loop is the first to
    fill its ring, the weights of the first pass are fetched before `tile.depend`, since no launch writes them. The ring
    of a warp is filled before `tile.depend`, and each later fetch moves to where the slot that it fills was released
    (PipelineWarps.cpp). So it is with cached rows, of which those that `tile.unwritten` speaks of come before
    `tile.depend`; where the rows of many iterations begin is looked up at a time (PipelineRows.cpp).
  }];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect"];
}

def RetilePass : Pass<"tile-retile", "::inlay::tile::ProgramOp"> {
  let summary = "Changes the size of a tile and of all tiles that depend on it.";
  let description = [{
    For tests of Retile.h, which the schedules use. The tile is the result of the op with the attribute `retile`; a
    program without one stays as it is.
  }];
  let options = [
    Option<"dimension", "dimension", "unsigned", /*default=*/"0", "dimension of the tile">,
    Option<"size", "size", "int64_t", /*default=*/"1", "its new size">,
    Option<"grid", "grid", "int64_t", /*default=*/"-1", "dimension of the grid along which tiles follow each other; -1: none">,
    Option<"loop", "loop", "bool", /*default=*/"false", "tiles follow each other in the loop around the op">];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect"];
}

def UnrollClusterPass : Pass<"tile-unroll-cluster", "::inlay::tile::ProgramOp"> {
  let summary = "Lets one block do the work of a cluster.";
  let description = [{
    For the cpu target, which has no clusters: a program whose schedule was applied runs there, and can be compared with
    the one that has no schedule. What depends on `tile.cluster_rank` is copied for each rank, and `tile.cluster_reduce`
    combines the copies in the order of the ranks; so does `tile.cluster_merge`. They stand in the program's block or in
    branches that all ranks take alike. The warps of a `tile.for_warps` with a `tile.warp_reduce` are unrolled in the same
    way, and a `tile.for_warps` with results becomes a loop that carries what the warps before have merged. The schedule
    is removed. A program without any of these stays as it is.
  }];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect"];
}

#endif // INLAY_PASSES_TILE_PASSES
