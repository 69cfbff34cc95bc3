//===- LlmCodeRows.td - activations that are quantized ---------------------===//

#ifndef INLAY_DIALECTS_LLM_CODEROWS
#define INLAY_DIALECTS_LLM_CODEROWS

def Llm_CodeRows : Type<
    And<[IsRankedTensorTypePred,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 2 && "
               "::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0) && "
               "!::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1) && "
               "(::llvm::isa<::mlir::Float8E4M3FNType>("
               "::llvm::cast<::mlir::RankedTensorType>($_self).getElementType()) || "
               "::llvm::cast<::mlir::RankedTensorType>($_self).getElementType().isSignlessInteger(8))">]>,
    "rows of codes, tensor<?xNxf8E4M3FN> or tensor<?xNxi8>", "::mlir::RankedTensorType">;

def Llm_QuantizeOp : LlmOp<"quantize", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>, Llm_FusionInterface]> {
  let summary = "Codes of rows, and their scales.";
  let description = [{
    Code (i, k) is the nearest to x(i, k) / scale(i, k / group), ties to even, after the quotient was clamped to the
    largest code: 448 (e4m3) or 127 (i8). Without `group`, a row has one scale. It is the largest magnitude of its
    columns divided by the largest code, and at least `1 / (448 * 512)` for codes of e4m3 with one scale a row (as in
    vLLM), or 1e-10 divided by the largest code. With `scale`, it is the largest element of that f32 weight for all rows.

    `packing` is the order of the codes in memory, that of the weights which they are multiplied by: `row_major`, or
    `codes_16x128`, in which each 16 neighbours lie as those weights' codes do. It changes no value.

    ```mlir
    %codes, %scales = llm.quantize f8e4m3 %x {group = 128} : tensor<?x256xbf16> -> tensor<?x256xf8E4M3FN>, tensor<?x2xf32>
    %codes, %scales = llm.quantize i8 %x scale @input_scale : tensor<?x256xbf16> -> tensor<?x256xi8>, tensor<?x1xf32>
    ```
  }];
  let arguments = (ins Llm_CodesAttr:$codes, Llm_Rows:$input, OptionalAttr<FlatSymbolRefAttr>:$scale,
                       OptionalAttr<I64Attr>:$group,
                       DefaultValuedAttr<Llm_PackingAttr, "::inlay::llm::Packing::RowMajor">:$packing);
  let results = (outs Llm_CodeRows:$result, Llm_Rows:$scales);
  let assemblyFormat = [{
    $codes $input (`scale` $scale^)? attr-dict `:` type($input) `->` type($result) `,` type($scales)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The largest code as a number, and the smallest scale.
    double getLargestCode();
    double getLeastScale();
    /// Columns that share a scale.
    int64_t getGroupSize();
  }];
}

#endif // INLAY_DIALECTS_LLM_CODEROWS
