//===- Passes.td - from groups of the llm dialect to tile programs ---------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_PASSES
#define INLAY_PASSES_LLM_TO_TILE_PASSES

include "mlir/Pass/PassBase.td"

def PlanBuffersPass : Pass<"llm-plan-buffers", "::mlir::func::FuncOp"> {
  let summary = "Assigns workspace offsets to the results of groups.";
  let description = [{
    Each result of an `llm.group` gets an offset in the workspace, by liveness in the
    order of the groups. A result may also reuse the buffer of the residual, if the
    group is the last that reads it. Results of one linear are stored in the columns
    of one buffer. The attribute `llm.workspace_bytes` of the function is the total
    size in bytes. Sizes are computed for the function's `llm.entry`.
  }];
  let options = [Option<"alignment", "alignment", "int64_t", "256", "alignment of each buffer in bytes">];
}

def PushSumsPass : Pass<"llm-push-sums", "::mlir::func::FuncOp"> {
  let summary = "Lets linear layers push the rows that ranks sum.";
  let description = [{
    Marks an `llm.all_reduce` with `pushed` where the kernel that computes its rows can push each piece to the other ranks
    when it stores it, so that the kernel of the sum only receives. These are sums that other ops follow in their kernel,
    of a linear layer that no library computes and that nothing else reads, in the group just before that of the sum. Such
    a sum is `early`: its kernel receives, and reads its other operands, while that of the rows runs, and relies on it that
    no other kernel runs then (`late_dependents` of `cuda.kernel`). A sum in front of a product, which waits, is not early.
    Other groups may stand between it and its rows unless they exchange rows. A remark says so, or why not. For GPU
    targets, after `llm-plan-buffers`.
  }];
}

def ConvertLlmToTilePass : Pass<"convert-llm-to-tile", "::mlir::ModuleOp"> {
  let summary = "Lowers each group to a tile program and each step to a list of launches.";
  let description = [{
    Groups that differ only in their weights, layer or buffers share a program.
    Each function with an attribute `llm.entry = {kind, max_tokens, max_sequences}`
    becomes a `tile.entry`; kind is "decode" (one row per sequence) or "mixed".
    Attention has the same program for all targets, in the tiles of the cpu;
    tile-select-schedule chooses those of a GPU.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "cpu or sm_90a">,
    Option<"pageSize", "page-size", "int64_t", "16", "positions per page of the KV cache">];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::scf::SCFDialect", "::mlir::math::MathDialect"];
}

def PackWeightsPass : Pass<"llm-pack-weights", "::mlir::ModuleOp"> {
  let summary = "Chooses the memory layout of each matrix for a GPU.";
  let description = [{
    Matrices of linears are stored in atoms (`atom_8x64`) that both the matvec family and
    the wgmma families read, so that all entry points share one copy. A tied embedding
    is gathered from the same atoms. Codes of quantized weights are stored in
    units of 16 x 128 (`codes_16x128`), their scales and zero points in groups of 16 rows
    (`rows_16`). Where groups of columns cut pieces of 16 bytes, they stay rows, and a
    remark says so.
  }];
}

def PackToTilePass : Pass<"llm-pack-to-tile", "::mlir::ModuleOp"> {
  let summary = "Creates a tile program for each packing of weights.";
  let description = [{
    A weight with `packing` gets the attribute `tile.pack`, the program that packs
    `tokens` rows of its sources. The sources have elements of `source-type`. The rows
    must be whole heads for `half_pairs` and equally many rows of both sources for
    `alternate`. Weights that differ only in their number of rows share a program.
    Weights that cannot be packed in parts get no program; the host packs them.
  }];
  let options = [Option<"sourceType", "source-type", "std::string", "\"bf16\"", "element type of the sources: f32, bf16 or f16">];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

#endif // INLAY_PASSES_LLM_TO_TILE_PASSES
