//===- Passes.td - from groups of the llm dialect to tile programs ---------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_PASSES
#define INLAY_PASSES_LLM_TO_TILE_PASSES

include "mlir/Pass/PassBase.td"

def PlanBuffersPass : Pass<"llm-plan-buffers", "::mlir::func::FuncOp"> {
  let summary = "Places what groups write in one workspace.";
  let description = [{
    Gives each result of an `llm.group` a place: an offset in the workspace, by
    liveness in the order of the groups, or the buffer of the residual that the
    group reads last and may overwrite. Results of one linear that stay in
    memory share rows, side by side. The peak is the attribute
    `llm.workspace_bytes` of the function. Sizes are those of the function's
    `llm.entry`.
  }];
  let options = [Option<"alignment", "alignment", "int64_t", "256", "Bytes to align each buffer to">];
}

def ConvertLlmToTilePass : Pass<"convert-llm-to-tile", "::mlir::ModuleOp"> {
  let summary = "Each group becomes a tile program, each step a list of launches.";
  let description = [{
    Groups that differ only in their weights, layer or buffers share a program.
    Each function with an attribute `llm.entry = {kind, max_tokens, max_sequences}`
    becomes a `tile.entry`; kind is "decode" (one row a sequence) or "mixed".
  }];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "cpu or sm_90a">,
    Option<"pageSize", "page-size", "int64_t", "16", "Positions in a page of the cache">];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::scf::SCFDialect", "::mlir::math::MathDialect"];
}

def PackWeightsPass : Pass<"llm-pack-weights", "::mlir::ModuleOp"> {
  let summary = "Chooses the memory layout of each matrix for a GPU.";
  let description = [{
    Matrices of linears are stored in the atoms that both the streaming and the
    wgmma family read (`atom_8x64`), so that one copy serves every entry point. A
    tied embedding is gathered from the same atoms.
  }];
}

def PackToTilePass : Pass<"llm-pack-to-tile", "::mlir::ModuleOp"> {
  let summary = "A tile program for each way in which weights are packed.";
  let description = [{
    A weight with `packing` gets an attribute `tile.pack`, the program that packs
    `tokens` rows of its sources, of `source-type`: whole heads of `half_pairs`,
    as many rows of the one source as of the other of `alternate`, any rows of
    others. Weights that differ only in their rows share a program. Those that
    cannot be packed in parts get none and are left to the host.
  }];
  let options = [Option<"sourceType", "source-type", "std::string", "\"bf16\"", "Elements of the sources: f32, bf16 or f16">];
  let dependentDialects = ["::inlay::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

#endif // INLAY_PASSES_LLM_TO_TILE_PASSES
