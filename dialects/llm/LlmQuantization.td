//===- LlmQuantization.td - how quantized weights are stored --------------===//
//
// Attributes of llm.weight and of its sources: what codes mean, where scales and
// zero points are, and how the tensors of a checkpoint hold them.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_QUANTIZATION
#define INLAY_DIALECTS_LLM_QUANTIZATION

include "mlir/IR/EnumAttr.td"
include "mlir/IR/AttrTypeBase.td"

/// What the elements of a quantized weight stand for, before zero point and scale.
def Llm_Codes : I32EnumAttr<"Codes", "meaning of stored codes", [
    I32EnumAttrCase<"U4", 0, "u4">,   // 0 to 15, of tensor<i4>
    I32EnumAttrCase<"Nf4", 1, "nf4">, // 16 quantiles of the normal distribution (Dettmers et al., 2023), of tensor<i4>
    I32EnumAttrCase<"U8", 2, "u8">,   // 0 to 255, of tensor<i8>
    I32EnumAttrCase<"I8", 3, "i8">,   // -128 to 127, of tensor<i8>
    I32EnumAttrCase<"F8E4M3", 4, "f8e4m3">]> {
  let cppNamespace = "::inlay::llm";
  let genSpecializedAttr = 0;
}

def Llm_CodesAttr : EnumAttr<LlmDialect, Llm_Codes, "codes">;

/// The order of the fields of a word. Field i of `plain` is in the bits from i * bits on.
def Llm_FieldOrder : I32EnumAttr<"FieldOrder", "order of the fields of a word", [
    I32EnumAttrCase<"Plain", 0, "plain">,
    I32EnumAttrCase<"Awq", 1, "awq">,               // 0, 2, 4, 6, 1, 3, 5, 7
    I32EnumAttrCase<"HighFirst", 2, "high_first">]> {
  let cppNamespace = "::inlay::llm";
  let genSpecializedAttr = 0;
}

class Llm_QuantizationAttr<string name, string attrMnemonic> : AttrDef<LlmDialect, name> {
  let mnemonic = attrMnemonic;
  let genVerifyDecl = 1;
}

def Llm_ActivationsAttr : Llm_QuantizationAttr<"Activations", "activations"> {
  let summary = "How the rows that a weight is multiplied by are quantized, in steps that do so.";
  let description = [{
    `codes` are i8 or f8e4m3. Each row has a scale that is found when it is computed (dynamic, per token), or `group`
    columns of a row have one. With `scale`, all rows have one scale that the checkpoint gives (static): the largest
    element of the f32 weight of this name, which has one for each matrix that was stacked.
    `llm-quantize-activations` carries it out.

    ```mlir
    {quantized = #llm.quantized<f8e4m3, scales = @s, group = 128, activations = <f8e4m3>>}
    ```
  }];
  let parameters = (ins EnumParameter<Llm_Codes>:$codes, DefaultValuedParameter<"int64_t", "0">:$group,
                        OptionalParameter<"::mlir::FlatSymbolRefAttr">:$scale);
  let assemblyFormat = "`<` $codes (`,` struct($group, $scale)^)? `>`";
}

def Llm_QuantizedAttr : Llm_QuantizationAttr<"Quantized", "quantized"> {
  let summary = "What the codes of a weight mean.";
  let description = [{
    Element (i, j) is `(code(i, j) - zero(i, j / group)) * scale(i, j / group)`. `scales` and `zero_points` name f32
    weights with the rows of this one, in its row order, and a column for each group; without `zero_points` the zero
    point is `zero_point` everywhere. Scales of a tensor, a row or a block are the same form with equal scales.
    `activations` says how the format quantizes what the weight is multiplied by. Where it does so in a way that is not
    supported, `activation_obstacle` says to people what that is.

    ```mlir
    llm.weight @w : tensor<256x128xi4> from [...] {quantized = #llm.quantized<u4, scales = @s, zero_point = 8, group = 128>}
    ```
  }];
  let parameters = (ins EnumParameter<Llm_Codes>:$codes, "::mlir::FlatSymbolRefAttr":$scales,
                        OptionalParameter<"::mlir::FlatSymbolRefAttr">:$zero_points,
                        DefaultValuedParameter<"int64_t", "0">:$zero_point, "int64_t":$group,
                        OptionalParameter<"::inlay::llm::ActivationsAttr">:$activations,
                        OptionalParameter<"::mlir::StringAttr">:$activation_obstacle);
  let assemblyFormat = [{
    `<` $codes `,` struct($scales, $zero_points, $zero_point, $group, $activations, $activation_obstacle) `>`
  }];
  let extraClassDeclaration = [{
    /// The name of the scale that all rows have; null where they have their own.
    ::mlir::FlatSymbolRefAttr getActivationScale();
    /// The same with other symbols; `activationScale` is null where there is none.
    QuantizedAttr withSymbols(::mlir::FlatSymbolRefAttr scales, ::mlir::FlatSymbolRefAttr zeroPoints,
                              ::mlir::FlatSymbolRefAttr activationScale);
    /// What a code of this many bits stands for.
    double decode(uint64_t bits);
  }];
}

def Llm_QuantizerAttr : Llm_QuantizationAttr<"Quantizer", "quantizer"> {
  let summary = "How elements of a tensor of floats become codes, or the scales of these codes.";
  let description = [{
    `group` columns share a scale and divide the columns of the tensor. Codes are the nearest; u4 has the zero point 8.
    With `makes_scales` the result is the scale of each row and group instead. formats/quantization/quantize.h is what
    carries it out.

    ```mlir
    llm.weight @w : tensor<256x128xi8> from [#llm.source<"w", storage = #llm.storage<quantizer = <i8, group = 128>>>]
        {quantized = #llm.quantized<i8, scales = @s, group = 128>}
    ```
  }];
  let parameters = (ins EnumParameter<Llm_Codes>:$codes, "int64_t":$group,
                        DefaultValuedParameter<"bool", "false">:$makes_scales);
  let assemblyFormat = "`<` $codes `,` struct($group, $makes_scales) `>`";
}

def Llm_NestedAttr : Llm_QuantizationAttr<"Nested", "nested"> {
  let summary = "How the codes of scales become scales.";
  let description = [{
    Scales that were quantized themselves (Dettmers et al., 2023: double quantization) are stored as bytes. Element i of
    the tensor is `table[code(i)] * scales[i / block] + offset`; `table` and `scales` name tensors of floats.
  }];
  let parameters = (ins "::mlir::StringAttr":$table, "::mlir::StringAttr":$scales, "int64_t":$block,
                        "::mlir::FloatAttr":$offset);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Llm_ColumnOrderAttr : Llm_QuantizationAttr<"ColumnOrder", "column_order"> {
  let summary = "Columns in the order of their groups.";
  let description = [{
    A format that sorts columns before it quantizes them (GPTQ's desc_act) stores which group each one is in. `groups`
    names that tensor, an i32 for each column of the matrix; each group has `size` columns. Column j of the source is
    column `order[j]` of the matrix, where `order` has the columns of group 0, then those of group 1 and so on, in each
    group in their own order. Without `groups`, the source's tensor is the one with the groups, and the source is
    `order`, for `llm.gather_columns`.

    ```mlir
    llm.weight @order : tensor<1x256xi32> from [#llm.source<"w.g_idx", storage = #llm.storage<flat = true, column_order = <size = 64>>>]
    llm.weight @w : tensor<128x256xi4>
        from [#llm.source<"w.qweight", transposed, storage = #llm.storage<bits = 4, column_order = <groups = "w.g_idx", size = 64>>>]
        {quantized = #llm.quantized<u4, scales = @s, zero_points = @z, group = 64>}
    ```
  }];
  let parameters = (ins OptionalParameter<"::mlir::StringAttr">:$groups, "int64_t":$size);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Llm_StorageAttr : Llm_QuantizationAttr<"Storage", "storage"> {
  let summary = "How the elements of a source are stored in its tensor, if not one by one.";
  let description = [{
    `flat`: the tensor's elements are rows of the weight's columns, whatever its shape. `bits`: the tensor holds words of
    `word` bits with fields of so many in `order`, which follow each other along a row, or along a column with
    `along_rows`; `addend` is added to each. `repeat`: row r is row r / repeat of the tensor. `rows`: the matrix has so
    many rows, where words and `repeat` may give more. `scale`: elements are scales, which are finite and, without
    `allows_zero`, not 0; each is multiplied by it. `floats`: fields of 4 bits are e2m1 (OCP Microscaling Formats, 2023) and
    become the f8e4m3 that stand for the same numbers. `exponents`: a scale is stored as the byte e and is 2^(e - 127).
    `nested`: the scales are stored as codes. `quantizer`: the tensor holds floats, which become codes or scales.
    `column_order`: the columns of all this come in the order of their groups.

    The rows that these parameters make of the tensor are those that the other parameters of a source choose from.

    ```mlir
    #llm.source<"q_proj.qzeros", transposed, storage = #llm.storage<bits = 4, along_rows = true, addend = 1, rows = 4096>>
    ```
  }];
  let parameters = (ins DefaultValuedParameter<"bool", "false">:$flat, DefaultValuedParameter<"int64_t", "0">:$bits,
                        DefaultValuedParameter<"int64_t", "32">:$word,
                        DefaultValuedParameter<"bool", "false">:$along_rows,
                        DefaultValuedParameter<"FieldOrder", "FieldOrder::Plain">:$order,
                        DefaultValuedParameter<"int64_t", "0">:$addend, DefaultValuedParameter<"int64_t", "0">:$repeat,
                        DefaultValuedParameter<"int64_t", "0">:$rows, OptionalParameter<"::mlir::FloatAttr">:$scale,
                        DefaultValuedParameter<"bool", "false">:$allows_zero,
                        OptionalParameter<"::inlay::llm::NestedAttr">:$nested,
                        OptionalParameter<"::inlay::llm::QuantizerAttr">:$quantizer,
                        DefaultValuedParameter<"bool", "false">:$floats,
                        DefaultValuedParameter<"bool", "false">:$exponents,
                        OptionalParameter<"::inlay::llm::ColumnOrderAttr">:$column_order);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    /// Fields of a word; 1 where elements are stored one by one.
    int64_t getFieldsPerWord() const { return getBits() ? getWord() / getBits() : 1; }
    /// The first bit of field `index` of a word.
    int64_t getShift(int64_t index) const;
    /// Rows of the matrix that `words` words of a tensor hold, `columns` elements each.
    int64_t getMatrixRows(int64_t words, int64_t columns) const;
    /// Words, or elements that a quantizer reads, of a row of them.
    int64_t getWordColumns(int64_t columns) const;
  }];
}

#endif // INLAY_DIALECTS_LLM_QUANTIZATION
