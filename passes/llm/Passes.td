//===- Passes.td - passes on the llm dialect -------------------------------===//

#ifndef INLAY_PASSES_LLM_PASSES
#define INLAY_PASSES_LLM_PASSES

include "mlir/Pass/PassBase.td"

def EvaluatePass : Pass<"llm-evaluate", "::mlir::ModuleOp"> {
  let summary = "Prints what each function computes, in double precision.";
  let description = [{
    Runs the reference evaluator (dialects/llm/Evaluator.h). Used to test the semantics of ops
    and of passes that must preserve them. The value of each parameter is its attribute
    `llm.value`: a dense constant for a tensor, a dictionary of arrays for a batch
    (`sequences` and `positions` of each row, `logit_rows`, `temperatures`). A cache starts
    empty. Weights need a `value`. Of several ranks (`llm.ranks`), all have these values, and the results of the first
    one are printed. Results are printed to standard output, one row per line:

    ```mlir
    func.func @rows(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0]]> : tensor<1x2xf32>},
                    %batch: !llm.batch {llm.value = {sequences = array<i64: 0>, positions = array<i64: 0>,
                                                     logit_rows = array<i64: 0>}}, %kv: !llm.kv_cache)
    ```
  }];
}

def ShardPass : Pass<"llm-shard", "::mlir::ModuleOp"> {
  let summary = "Divides a model among the ranks of tensor parallelism.";
  let description = [{
    The result is the program of each of `tensor-parallel-size` ranks: they differ in the parts of weights that they
    have (`#llm.shard`) alone. Ops say what is divided (`ShardInterface`): heads of attention, columns of an MLP, rows of
    the vocabulary. A matrix product that makes it has some of the rows of its weight on each rank, one that reads it
    some of the columns; its results are summed over the ranks (`all_reduce`) where they are first read, with the
    bias and the residual after the sum. So attention and an MLP beside it share one sum. Norms over all heads sum
    their squares. Logits are gathered. Runs before `llm-fuse-projections`.

    Fails, with the numbers of ranks that work, where the ranks cannot divide heads, columns or groups of a quantized
    weight evenly. Several ranks have the same kv heads where these are fewer. A vocabulary that is not a multiple of
    the ranks is padded with zero rows, `vocabulary-padding` of them and multiples on each rank.
  }];
  let options = [
    Option<"tensorParallelSize", "tensor-parallel-size", "int64_t", "1", "ranks that run the program together">,
    Option<"vocabularyPadding", "vocabulary-padding", "int64_t", "64", "rows of a padded vocabulary on each rank are a multiple of it">];
}

def SplitStagesPass : Pass<"llm-split-stages", "::mlir::ModuleOp"> {
  let summary = "Cuts a model into the stages of a pipeline.";
  let description = [{
    Each function becomes `pipeline-parallel-size` functions, of which each has some of the layers: `llm.stage` is its
    number. The first one has what comes before the layers, the last one what comes after them. A stage takes the rows
    that the one before it returns, and the parameters of the function that it uses. Each stage has weights of its own:
    one that several stages read is there several times. The module gets the number of layers of each stage
    (`llm.stage_layers`).

    A model is cut between two layers, where the fewest bytes of a row are needed later: usually after the last sum of a
    layer. A layer that reads the keys and values of another one stays with it. The stages are chosen so that the one
    with the most bytes of weights has as few as possible. Runs before `llm-shard`.
  }];
  let options = [Option<"pipelineParallelSize", "pipeline-parallel-size", "int64_t", "1", "stages of the pipeline">];
}

def FuseProjectionsPass : Pass<"llm-fuse-projections", "::mlir::ModuleOp"> {
  let summary = "Merges projections of the same value into one matrix product.";
  let description = [{
    The projections of queries, keys and values of a layer become one linear with a
    concatenated weight. If rope of whole heads follows directly, and a head has a multiple
    of `tile-columns` elements, its rows are stored as
    `half_pairs`, so that the two elements of each rotation are adjacent. Gate and up become one linear with
    row order `alternate`. Biases are merged in the same way. A remark reports what was
    merged, or why not.
  }];
  let options = [Option<"tileColumns", "tile-columns", "int64_t", "1", "columns of the narrowest tile of a product, in which rope rotates pairs of one head">];
}

def OverlapCollectivesPass : Pass<"llm-overlap-collectives", "::mlir::func::FuncOp"> {
  let summary = "Lets sums over ranks run beside products of the other half of the rows.";
  let description = [{
    In steps of at least `least-rows` rows, groups run once for each half of the rows (`llm.halves`), where each of their
    rows depends on the same row of other values: "side" for an `llm.all_reduce` alone, which runs beside "main" groups
    of the other half. These are the groups between two that run for all rows, if there is a sum among them. Attention
    runs for all rows, because rows of the second half read keys of the first one; so do groups of rows whose logits are
    wanted, and sums that other ops follow in their kernel. The function says which steps run in halves
    (`llm.halves_of_steps`). Remarks say which groups do. For GPU targets, after `llm-form-groups` with `sums-in-halves`.
  }];
  let options = [Option<"leastRows", "least-rows", "int64_t", "1024", "rows of the smallest step that runs in halves">];
}

def SelectLibraryPass : Pass<"llm-select-library", "::mlir::ModuleOp"> {
  let summary = "Selects cuBLASLt for matrix products where it was measured to be faster.";
  let description = [{
    Sets the attribute `library` of a linear that has row order `plain`, one result
    and no bias. The condition is that the file of measurements (passes/tile/tuning) has
    a measurement for its shape, at no more than `max-rows` rows, in which the library
    is at least 3 % faster than the generated kernel. With `always` there is no condition.
    The generated kernels read packed weights and the library does not, so the linear
    gets a second weight in `row_major`. A remark reports the measurement, or why the
    library cannot compute the product.
  }];
  let options = [
    Option<"tuning", "tuning", "std::string", "\"\"", "file of measurements; builtin: the compiler's own; empty: none">,
    Option<"always", "always", "bool", "false", "select the library for all products that it can compute, for measurements">,
    Option<"maxRows", "max-rows", "int64_t", "16", "Rows that the step may have">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

def QuantizeActivationsPass : Pass<"llm-quantize-activations", "::mlir::ModuleOp"> {
  let summary = "Quantizes what products with quantized weights read.";
  let description = [{
    Puts `llm.quantize` in front of each linear whose weight says how its activations are quantized
    (`#llm.activations`), and gives the linear codes and scales. Linears that read the same value share them. On a GPU
    it does so in steps of more rows than the family matvec takes, whose kernels unpack codes in time. Products whose
    format quantizes activations and that stay as they are get a remark.

    ```mlir
    %y = llm.linear %x, @w : (tensor<?x64xbf16>) -> tensor<?x32xbf16>
    // becomes
    %codes, %scales = llm.quantize f8e4m3 %x : tensor<?x64xbf16> -> tensor<?x64xf8E4M3FN>, tensor<?x1xf32>
    %y = llm.linear %codes scales %scales, @w : (tensor<?x64xf8E4M3FN>, tensor<?x1xf32>) -> tensor<?x32xbf16>
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "cpu or sm_90a">,
    Option<"maxRows", "max-rows", "int64_t", "16", "maximum rows of the step">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

def FormGroupsPass : Pass<"llm-form-groups", "::mlir::ModuleOp"> {
  let summary = "Decides which ops become one kernel.";
  let description = [{
    Each anchor (matrix product, attention) starts a group. Neighbouring ops join it if
    they allow it through `FusionInterface`. The remaining ops work on single rows and
    form their own groups: the append of a layer with the norms and rotations of its
    heads; lookups and gathered rows with a norm and the elementwise ops that follow; on a GPU a sum over ranks in one hop
    with the ops that change its tiles. With `sum-prologues`, in steps of up to `prologue_sum_rows` rows
    (`#tile.cost_model`), such a sum, with its residual and a norm, joins the matrix product behind it. A remark reports
    each decision, with the model's names and the traffic it saves or the reason against it.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "cpu or sm_90a">,
    Option<"maxRows", "max-rows", "int64_t", "16", "maximum rows of the step">,
    Option<"separateNorms", "separate-norms", "bool", "false", "Norms become kernels of their own, to see what that costs">,
    Option<"sumPrologues", "sum-prologues", "bool", "false", "A sum over ranks joins the product of one row behind it">,
    Option<"sumsInHalves", "sums-in-halves", "bool", "false", "Sums over ranks join no product, and no ops join them, so that they can run beside the other half of the rows">,
    Option<"separateAll", "separate-all", "bool", "false", "Each op becomes a kernel of its own">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

#endif // INLAY_PASSES_LLM_PASSES
