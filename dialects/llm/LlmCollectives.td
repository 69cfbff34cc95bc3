//===- LlmCollectives.td - ops of a step that several ranks run ------------===//
//
// What llm-shard puts into a graph: ops that combine values of all ranks, and the
// parts of ops that are divided by them.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_COLLECTIVES
#define INLAY_DIALECTS_LLM_COLLECTIVES

def Llm_AllReduceOp : LlmOp<"all_reduce", [Pure, SameOperandsAndResultType, Llm_CollectiveInterface,
                                           DeclareOpInterfaceMethods<Llm_FusionInterface>]> {
  let summary = "The sum of the ranks' values of x, in the order of the ranks.";
  let description = [{
    With `pushed`, the kernel that computes x pushes it to the other ranks (`llm-push-sums`). With `early` as well, the
    kernel of the sum is the next one, and receives before that of x has ended (`early` of `tile.receive_sum`).
  }];
  let arguments = (ins Llm_Rows:$input, UnitAttr:$pushed, UnitAttr:$early);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input (`pushed` $pushed^)? (`early` $early^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Llm_AllGatherOp : LlmOp<"all_gather", [Pure, Llm_CollectiveInterface, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                           DeclareOpInterfaceMethods<Llm_FusionInterface>]> {
  let summary = "The columns of all ranks' x side by side, in the order of the ranks.";
  let description = [{
    The result may have fewer columns than all ranks together: the last ones are dropped. These are the rows with which
    the vocabulary was padded.
  }];
  let arguments = (ins Llm_Rows:$input);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input attr-dict `:` functional-type(operands, results)";
}

def Llm_AddBiasOp : LlmOp<"add_bias", [Pure, Elementwise, SameOperandsAndResultType,
                                       DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                       DeclareOpInterfaceMethods<Llm_FusionInterface, ["getWeightBytes"]>]> {
  let summary = "x plus a bias: that of a product whose parts were summed over ranks.";
  let arguments = (ins Llm_Rows:$input, FlatSymbolRefAttr:$bias);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input `,` $bias attr-dict `:` type($result)";
}

def Llm_SumOfSquaresOp : LlmOp<"sum_of_squares", [Pure, DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBeEpilogueOf"]>]> {
  let summary = "The sums of the squares of each row, in f32: the statistics of `rms_norm` over parts of a row.";
  let description = [{
    The result has a column for each part of a row; parts are adjacent and equally long.
  }];
  let arguments = (ins Llm_Rows:$input);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_ScaleColumnsOp : LlmOp<"scale_columns", [Pure, Elementwise, SameOperandsAndResultType,
                                       DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                       DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBeEpilogueOf", "getWeightBytes"]>]> {
  let summary = "x * (weight + weight_offset), an element of the weight for each column: an `rms_norm` without its 1/rms.";
  let arguments = (ins Llm_Rows:$input, FlatSymbolRefAttr:$weight, DefaultValuedAttr<F64Attr, "0.0">:$weight_offset);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($result)";
}

def Llm_RmsScaleOp : LlmOp<"rms_scale", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                         DeclareOpInterfaceMethods<Llm_FusionInterface, ["getWeightBytes"]>]> {
  let summary = "x * rsqrt(squares / columns + eps) * (weight + weight_offset).";
  let description = [{
    The part of an `rms_norm` that a rank computes where a row lies on several: `squares` is the sum of the squares of
    all its columns (`sum_of_squares`, summed over ranks), `columns` their number.
  }];
  let arguments = (ins Llm_Rows:$input, Llm_Rows:$squares, OptionalAttr<FlatSymbolRefAttr>:$weight, F64Attr:$eps,
                       I64Attr:$columns, DefaultValuedAttr<F64Attr, "0.0">:$weight_offset);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input `,` $squares (`,` $weight^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_SampleCandidateOp : LlmOp<"sample_candidate", [Pure, DeclareOpInterfaceMethods<Llm_FusionInterface>]> {
  let summary = "The best token of each logits row among those that the rank has.";
  let description = [{
    Rank r has `columns` of a row, those of the tokens from r * `columns` on. Those from `vocabulary` on are padding.
    The result has two columns for each row: the score that `sample` compares, and the first token id with the largest
    one. The lowest f32 is the score of a rank that has padding only. An f32 holds the ids of at most 2^24 tokens.

    The row's top-k, top-p and min-p are not applied: they depend on the tokens of all ranks.
  }];
  let arguments = (ins Llm_Rows:$logits, Llm_BatchType:$batch, I64Attr:$vocabulary);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$logits `,` $batch attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_SampleMergeOp : LlmOp<"sample_merge", [Pure, DeclareOpInterfaceMethods<Llm_FusionInterface>]> {
  let summary = "The token with the largest score among the `sample_candidate` of all ranks, the first one if there are several.";
  let description = [{
    The candidates of the ranks stand side by side, as `all_gather` makes them. The result is what `sample` selects
    from the logits of all ranks, where no filter is on.
  }];
  let arguments = (ins Llm_Rows:$candidates);
  let results = (outs Llm_Ids:$result);
  let assemblyFormat = "$candidates attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

#endif // INLAY_DIALECTS_LLM_COLLECTIVES
