//===- Passes.td - passes on the llm dialect -------------------------------===//

#ifndef INLAY_PASSES_LLM_PASSES
#define INLAY_PASSES_LLM_PASSES

include "mlir/Pass/PassBase.td"

def EvaluatePass : Pass<"llm-evaluate", "::mlir::ModuleOp"> {
  let summary = "Prints what each function computes, in double precision.";
  let description = [{
    Runs the reference evaluator (dialects/llm/Evaluator.h), for tests of what ops mean
    and of passes that must not change it. Arguments stand beside the parameters as the
    attribute `llm.value`: a dense constant for a tensor, a dictionary of arrays for a
    batch (`sequences` and `positions` of each row, `logit_rows`, `temperatures`); a cache
    begins empty. Weights need a `value`. Results go to the standard output, a row a line:

    ```mlir
    func.func @rows(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0]]> : tensor<1x2xf32>},
                    %batch: !llm.batch {llm.value = {sequences = array<i64: 0>, positions = array<i64: 0>,
                                                     logit_rows = array<i64: 0>}}, %kv: !llm.kv_cache)
    ```
  }];
}

def FuseProjectionsPass : Pass<"llm-fuse-projections", "::mlir::ModuleOp"> {
  let summary = "Projections of one value become one matrix product.";
  let description = [{
    Queries, keys and values of a layer become one linear whose weight concatenates
    theirs; where rope follows directly the rows are stored as `half_pairs`, so that
    what it rotates stands side by side. Gate and up become one linear whose rows
    `alternate`. Biases follow their matrices. A remark says what was fused, or why not.
  }];
}

def SelectLibraryPass : Pass<"llm-select-library", "::mlir::ModuleOp"> {
  let summary = "Gives products to cuBLASLt where it was measured to be faster.";
  let description = [{
    A linear whose rows are plain, with one result and no bias, gets the attribute
    `library` if the file of measurements (passes/tile/tuning) has, for its shape
    and at no more rows than the step may have, a time of the library at least 3 %
    below that of the generated kernel; or, with `always`, in any case. The generated kernels read
    packed weights and the library does not, so it gets a second weight, in
    `row_major`. A remark says what was measured, or why the library cannot take a
    product.
  }];
  let options = [
    Option<"tuning", "tuning", "std::string", "\"\"", "file of measurements; builtin: the compiler's own; empty: none">,
    Option<"always", "always", "bool", "false", "All products that the library can compute, to measure it">,
    Option<"maxRows", "max-rows", "int64_t", "16", "Rows that the step may have">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

def FormGroupsPass : Pass<"llm-form-groups", "::mlir::ModuleOp"> {
  let summary = "Decides which ops become one kernel.";
  let description = [{
    Anchors (matrix products, attention) take in their neighbours as ops declare it
    through `FusionInterface`. What is left works on rows and forms groups of its own.
    Each decision is a remark with the model's names and what it saves or why it was
    refused.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "cpu or sm_90a">,
    Option<"maxRows", "max-rows", "int64_t", "16", "Rows that the step may have">,
    Option<"separateNorms", "separate-norms", "bool", "false", "Norms become kernels of their own, to see what that costs">];
  let dependentDialects = ["::inlay::tile::TileDialect"];
}

#endif // INLAY_PASSES_LLM_PASSES
