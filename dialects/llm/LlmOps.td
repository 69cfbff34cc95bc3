//===- LlmOps.td - the llm dialect: a model as a value-semantic graph ------===//
//
// The computation of one step of a language model, independent of kernels. The
// leading dimension of every activation is the rows of the step: decode rows
// and prefill chunks, flattened.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_OPS
#define INLAY_DIALECTS_LLM_OPS

include "mlir/IR/OpBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "dialects/llm/LlmInterfaces.td"

def LlmDialect : Dialect {
  let name = "llm";
  let summary = "One step of a language model as a graph of values.";
  let description = [{
    Every activation is a `tensor<?xNxT>` whose leading dimension is the rows of
    a step: the tokens of all sequences, flattened and ragged. Weights are
    symbols (`llm.weight`), never values, so that the graph can be compiled
    without reading them. `!llm.batch` says which sequence and position each row
    belongs to; `!llm.kv_cache` is the state of the paged cache, threaded
    through the step as a value.
  }];
  let cppNamespace = "::inlay::llm";
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

include "dialects/llm/LlmQuantization.td"
include "dialects/llm/LlmSharding.td"

class LlmType<string name, string typeMnemonic> : TypeDef<LlmDialect, name> {
  let mnemonic = typeMnemonic;
}

def Llm_BatchType : LlmType<"Batch", "batch"> {
  let summary = "Which sequence and position each row of the step belongs to.";
}
def Llm_KvCacheType : LlmType<"KvCache", "kv_cache"> {
  let summary = "The paged key/value cache of all layers, as a value.";
  let description = [{
    Without a parameter, keys and values are stored as they are appended. `!llm.kv_cache<f8E4M3FN>` stores each element
    x as the nearest code to `x / scale` that is at most 448, ties to even, and reads `code * scale`. The scales of a
    layer are those of its ops, 1 where they name none.
  }];
  let parameters = (ins OptionalParameter<"::mlir::Type">:$codes);
  let assemblyFormat = "(`<` $codes^ `>`)?";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The type that keys and values of type `appended` are stored as.
    ::mlir::Type getStoredType(::mlir::Type appended) const { return getCodes() ? getCodes() : appended; }
  }];
}

/// How the rows of a weight are stored, relative to the logical order of its
/// concatenated sources. It changes the bytes of the weight, but not the
/// semantics of ops that read it.
def Llm_RowOrder : I32EnumAttr<"RowOrder", "storage order of a weight's rows", [
    I32EnumAttrCase<"Plain", 0, "plain">,
    // Stored row 2i is logical row i of a head, 2i+1 is row i + head_dim/2:
    // the two elements of each rotation of rope are adjacent.
    I32EnumAttrCase<"HalfPairs", 1, "half_pairs">,
    // Two sources of equal rows alternate: gate 0, up 0, gate 1, up 1, ...
    I32EnumAttrCase<"Alternate", 2, "alternate">]> {
  let cppNamespace = "::inlay::llm";
  let genSpecializedAttr = 0;
}
def Llm_RowOrderAttr : EnumAttr<LlmDialect, Llm_RowOrder, "row_order">;

/// The order of the elements of a packed weight in memory.
def Llm_Packing : I32EnumAttr<"Packing", "memory layout of a weight matrix", [
    I32EnumAttrCase<"RowMajor", 0, "row_major">,
    // [N/8][K/64] atoms of 8 rows x 64 elements (16-bit), each row of 128 bytes
    // with its 16-byte chunks at (chunk ^ (row % 8)): the 128-byte swizzle that
    // wgmma reads. N is padded to 8 and K to 64 with zeros.
    I32EnumAttrCase<"Atom8x64", 1, "atom_8x64">,
    // Codes of quantized weights: [N/16][K/128] units of 16 rows x 128 columns, in the order of docs/quantization.md.
    // N is padded to 16 and K to 128 with zeros.
    I32EnumAttrCase<"Codes16x128", 2, "codes_16x128">,
    // Scales and zero points beside such codes: [N/16][groups] runs of 16 rows. N is padded to 16 with zeros.
    I32EnumAttrCase<"Rows16", 3, "rows_16">]> {
  let cppNamespace = "::inlay::llm";
  let genSpecializedAttr = 0;
}
def Llm_PackingAttr : EnumAttr<LlmDialect, Llm_Packing, "packing">;

def Llm_SourceAttr : AttrDef<LlmDialect, "Source"> {
  let mnemonic = "source";
  let summary = "Rows of a tensor of the checkpoint.";
  let description = [{
    The tensor is `[rows, columns]`, or `[columns, rows]` where it is `transposed` (GPT-2's Conv1D). With `block`, the
    source is the `count` rows from `offset` on of each `block` rows, and the tensor has whole blocks. Then
    `deinterleave = [head_dim, rotary_dim]` puts rows of interleaved rope into the order of `llm.rope`: of each
    `head_dim` rows of the source, row i of the first `rotary_dim / 2` is the former row 2i, row i + rotary_dim / 2
    the former row 2i + 1; rows from `rotary_dim` on stay. The parameters are applied in this order.
    `storage` says how a quantized checkpoint stores the elements; it comes before all but `transposed`. `shard` is
    the part that a rank has of all this.

    | layout of a fused tensor | a part of it |
    |---|---|
    | concatenated q, k, v | `block` = all rows, `offset` and `count` = where the part is |
    | `[heads, 3, d]` (GPT-NeoX, BLOOM) | `block = 3d, offset = d, count = d` for k |
    | `[kv_heads, q/kv + 2, d]` (Falcon, InternLM2) | `block = (q/kv + 2)d, offset = 0, count = (q/kv)d` for q |
    | alternating gate, up | `block = 2, offset = 1, count = 1` for up |

    ```mlir
    #llm.source<"h.0.attn.c_attn.weight", transposed, block = 192, offset = 64, count = 64>
    #llm.source<"layers.0.self_attn.q_proj.weight", deinterleave = [128, 64]>
    ```
  }];
  let parameters = (ins "::mlir::StringAttr":$name, "bool":$transposed, "int64_t":$block, "int64_t":$offset,
                        "int64_t":$count, "int64_t":$headDim, "int64_t":$rotaryDim,
                        OptionalParameter<"::inlay::llm::StorageAttr">:$storage,
                        OptionalParameter<"::inlay::llm::ShardAttr">:$shard);
  // `block` of 0 takes all rows, `headDim` of 0 keeps their order.
  let builders = [AttrBuilder<(ins "::llvm::StringRef":$name, CArg<"bool", "false">:$transposed,
                                   CArg<"int64_t", "0">:$block, CArg<"int64_t", "0">:$offset, CArg<"int64_t", "0">:$count,
                                   CArg<"int64_t", "0">:$headDim, CArg<"int64_t", "0">:$rotaryDim,
                                   CArg<"::inlay::llm::StorageAttr", "{}">:$storage,
                                   CArg<"::inlay::llm::ShardAttr", "{}">:$shard), [{
    return $_get($_ctxt, ::mlir::StringAttr::get($_ctxt, name), transposed, block, offset, count, headDim, rotaryDim,
                 storage, shard);
  }]>];
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// A source of a weight; a string is the name of a whole tensor.
    static SourceAttr of(::mlir::Attribute source);
    /// The rows of the source if its tensor, after its storage, has so many, or nothing if they are not whole blocks
    /// and heads.
    std::optional<int64_t> getRows(int64_t tensorRows) const;
    /// The row of the tensor, after its storage, that is row `row` of the source.
    int64_t getTensorRow(int64_t row) const;
    /// The same source, of which each rank has a part.
    SourceAttr withShard(::inlay::llm::ShardAttr shard) const;
    /// Columns of the matrix that a tensor stores if those of the weight are `columns`.
    int64_t getWholeColumns(int64_t columns) const;
  }];
}
def Llm_SourcesAttr : TypedArrayAttrBase<AnyAttrOf<[StrAttr, Llm_SourceAttr]>, "array of tensor names and #llm.source">;

def Llm_Activation : I32EnumAttr<"Activation", "activation function", [
    I32EnumAttrCase<"Silu", 0, "silu">,
    I32EnumAttrCase<"GeluTanh", 1, "gelu_tanh">,
    I32EnumAttrCase<"Gelu", 2, "gelu">,
    I32EnumAttrCase<"Relu", 3, "relu">,
    // relu(x)^2: So et al., 2021.
    I32EnumAttrCase<"Relu2", 4, "relu2">]> {
  let cppNamespace = "::inlay::llm";
  let genSpecializedAttr = 0;
}
def Llm_ActivationAttr : EnumAttr<LlmDialect, Llm_Activation, "activation">;

def Llm_Rows : Type<
    And<[IsRankedTensorTypePred,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 2 && "
               "::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0) && "
               "!::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1) && "
               "::llvm::isa<::mlir::FloatType>("
               "::llvm::cast<::mlir::RankedTensorType>($_self).getElementType())">]>,
    "rows of floats, tensor<?xNxT>", "::mlir::RankedTensorType">;
def Llm_Ids : Type<
    And<[IsRankedTensorTypePred,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 1 && "
               "::llvm::cast<::mlir::RankedTensorType>($_self).getElementType().isSignlessInteger(32)">]>,
    "token ids, tensor<?xi32>", "::mlir::RankedTensorType">;

class LlmOp<string mnemonic, list<Trait> traits = []> : Op<LlmDialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

def Llm_WeightOp : LlmOp<"weight", [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A weight and the recipe to make it from the checkpoint.";
  let description = [{
    The rows of `sources` are concatenated in order and then stored in
    `row_order` and `packing`. A source is the name of a tensor of the
    checkpoint, or some of its rows (`#llm.source`); the compiler does not read
    it. Tests give the contents inline with `value` instead. The elements of a
    weight with `quantized` are codes, which only `llm.linear` reads.

    ```mlir
    llm.weight @l0.qkv : tensor<6144x4096xbf16> from ["q_proj.weight", "k_proj.weight", "v_proj.weight"]
        {row_order = #llm<row_order half_pairs>, head_dim = 128 : i64}
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, OptionalAttr<Llm_SourcesAttr>:$sources,
      DefaultValuedAttr<Llm_RowOrderAttr, "::inlay::llm::RowOrder::Plain">:$row_order,
      DefaultValuedAttr<Llm_PackingAttr, "::inlay::llm::Packing::RowMajor">:$packing,
      OptionalAttr<I64Attr>:$head_dim, OptionalAttr<ElementsAttr>:$value, OptionalAttr<Llm_QuantizedAttr>:$quantized);
  let assemblyFormat = "$sym_name `:` $type (`from` $sources^)? (`=` $value^)? attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() {
      return ::llvm::cast<::mlir::RankedTensorType>(getType());
    }
  }];
}

def Llm_RopeTableOp : LlmOp<"rope_table", [Symbol]> {
  let summary = "Cosines and sines of the rotary embedding for every position.";
  let description = [{
    Row p of the table holds `attention_factor * cos(p * inv_freq[i])` for i in
    [0, head_dim/2) and then the sines. The frontend expresses every kind of rope
    scaling by `inv_freq` (radians per position) and `attention_factor`. The
    runtime computes the table when it loads the bundle.

    Dynamic scaling uses separate frequencies for late positions: `inv_freq` then
    has k sets of head_dim/2 values. The last k - 1 rows use sets 2 to k, one
    each, and all earlier rows use set 1.

    Longrope (Ding et al., 2024) uses one set for short sequences and another one
    for all positions of longer sequences. The table then has two parts: the first
    `short_rows` rows are positions 0, 1, ... with set 1, for sequences of at most
    `short_rows` tokens; the rows after them are positions 0, 1, ... with set 2. The
    batch says which row each token reads.

    With `temperature_beta` and `temperature_length`, row p is also multiplied by
    `1 + beta * ln(1 + floor(p / length))`: the attention temperature of Llama 4 and
    Ministral 3, for a table of the queries alone.

    ```mlir
    llm.rope_table @rope : tensor<4096x64xf32> {inv_freq = array<f64: 1.0, 0.5, ...>, attention_factor = 1.0 : f64}
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, DenseF64ArrayAttr:$inv_freq,
      DefaultValuedAttr<F64Attr, "1.0">:$attention_factor, DefaultValuedAttr<I64Attr, "0">:$short_rows,
      DefaultValuedAttr<F64Attr, "0.0">:$temperature_beta, DefaultValuedAttr<I64Attr, "1">:$temperature_length);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let extraClassDeclaration = [{
    /// Whether short and long sequences read different parts of the table.
    bool hasTwoParts() { return static_cast<int64_t>(getShortRows()) > 0; }
    /// The position that row `row` is for.
    int64_t getPositionOf(int64_t row);
    /// The frequencies of row `row`.
    ::llvm::ArrayRef<double> getFrequenciesOf(int64_t row);
    /// What the cosines and sines of row `row` are multiplied by.
    double getFactorOf(int64_t row);
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Rows in, rows out
//===----------------------------------------------------------------------===//

def Llm_EmbeddingOp : LlmOp<"embedding", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                        DeclareOpInterfaceMethods<Llm_FusionInterface, ["getWeightBytes"]>]> {
  let summary = "Rows of the embedding table.";
  let arguments = (ins Llm_Ids:$tokens, FlatSymbolRefAttr:$table,
                       DefaultValuedAttr<F64Attr, "1.0">:$scale);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$tokens `,` $table attr-dict `:` functional-type(operands, results)";
}

def Llm_PositionEmbeddingOp : LlmOp<"position_embedding", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                                DeclareOpInterfaceMethods<Llm_FusionInterface, ["getWeightBytes"]>]> {
  let summary = "Rows of a table of learned positions.";
  let description = [{
    The row of a token at position p is row `p + offset` of the table. OPT has an offset of 2.
  }];
  let arguments = (ins Llm_BatchType:$batch, FlatSymbolRefAttr:$table, DefaultValuedAttr<I64Attr, "0">:$offset);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$batch `,` $table attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

include "dialects/llm/LlmCodeRows.td"

def Llm_LinearOp : LlmOp<"linear", [Pure, AttrSizedOperandSegments, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                  DeclareOpInterfaceMethods<Llm_FusionInterface, ["isAnchor", "getWeightBytes"]>]> {
  let summary = "x times the transpose of a weight, plus a bias.";
  let description = [{
    y = x W^T + b with W of shape [N, K]. With several results (after
    `llm-fuse-projections`), result i holds the next columns of y in the
    *logical* order of the weight's sources, whatever its row order in memory.

    With `norm %squares`, y is multiplied by rsqrt(s / K + eps) before the bias is added, where s is the sum of a row of
    `squares`: the norm of rows that `scale_columns` and `sum_of_squares` have split (`llm-form-groups`).

    `library` names a library that computes the product instead of a generated
    kernel: `cublaslt`. It requires a weight that is `plain` and `row_major` and
    one result, and supports only the addition of a residual as an epilogue
    (`llm-select-library`).

    With `scales`, the input is the codes that `llm.quantize` makes: element (i, k) of x is the code (i, k) times the
    scale (i, k / group), where the scales divide the columns into groups. The weight has codes of the same kind.

    ```mlir
    %y = llm.linear %codes scales %scales, @w : (tensor<?x256xf8E4M3FN>, tensor<?x1xf32>) -> tensor<?x128xbf16>
    ```
  }];
  let arguments = (ins AnyTypeOf<[Llm_Rows, Llm_CodeRows]>:$input, Optional<Llm_Rows>:$scales,
                       Optional<Llm_Rows>:$squares, FlatSymbolRefAttr:$weight, OptionalAttr<FlatSymbolRefAttr>:$bias,
                       OptionalAttr<StrAttr>:$library, OptionalAttr<F64Attr>:$eps);
  let results = (outs Variadic<Llm_Rows>:$outputs);
  let assemblyFormat = [{
    $input (`scales` $scales^)? `,` $weight (`bias` $bias^)? (`norm` $squares^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

class Llm_Norm<string mnemonic> : LlmOp<mnemonic, [Pure, Llm_NormInterface, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                     DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBePrologueOf", "getStagedVectors", "getWeightBytes"]>,
                                     DeclareOpInterfaceMethods<Llm_ShardInterface, ["keepsColumns", "getWeightsOfColumns"]>]> {
  let results = (outs Llm_Rows:$result);
  let hasVerifier = 1;
}

def Llm_RmsNormOp : Llm_Norm<"rms_norm"> {
  let summary = "x * rsqrt(mean(x^2) + eps) * (weight + weight_offset), over `group` columns.";
  let description = [{
    Zhang and Sennrich, 2019. Without `group` the mean is over the whole row; with
    `group = head_dim` it is over each head (the q and k norms of Qwen3). The weight
    has one element for each column of a row, or `group` elements that all groups
    share; without a weight there is no such factor. `weight_offset = 1.0` is the norm
    of Gemma. All is computed in f32 and rounded once.

    ```mlir
    %y = llm.rms_norm %x, @norm {eps = 1.0e-6 : f64, weight_offset = 1.0 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
    ```
  }];
  let arguments = (ins Llm_Rows:$input, OptionalAttr<FlatSymbolRefAttr>:$weight, F64Attr:$eps,
                       OptionalAttr<I64Attr>:$group, DefaultValuedAttr<F64Attr, "0.0">:$weight_offset);
  let assemblyFormat = "$input (`,` $weight^)? attr-dict `:` functional-type(operands, results)";
}

def Llm_LayerNormOp : Llm_Norm<"layer_norm"> {
  let summary = "(x - mean(x)) * rsqrt(variance(x) + eps) * (weight + weight_offset) + bias, over `group` columns.";
  let description = [{
    Ba et al., 2016. The variance is the mean of the squares of x - mean(x). `group`,
    the weight and `weight_offset` are those of `rms_norm`; the bias has as many
    elements as a weight may have.

    ```mlir
    %y = llm.layer_norm %x, @norm.weight bias @norm.bias {eps = 1.0e-5 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
    ```
  }];
  let arguments = (ins Llm_Rows:$input, OptionalAttr<FlatSymbolRefAttr>:$weight, OptionalAttr<FlatSymbolRefAttr>:$bias,
                       F64Attr:$eps, OptionalAttr<I64Attr>:$group, DefaultValuedAttr<F64Attr, "0.0">:$weight_offset);
  let assemblyFormat = "$input (`,` $weight^)? (`bias` $bias^)? attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = "bool subtractsMean() { return true; }";
}

def Llm_RopeOp : LlmOp<"rope", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                              DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBeEpilogueOf"]>, DeclareOpInterfaceMethods<Llm_ShardInterface>]> {
  let summary = "Rotary position embedding of every head (halves rotated).";
  let description = [{
    Su et al., 2021, in the form of transformers' `rotate_half`: with R the columns of
    the table, c and s the cosine and sine of the row's position, element i < R/2 of a
    head becomes `x[i] c[i] - x[i+R/2] s[i]` and element i+R/2 becomes
    `x[i+R/2] c[i] + x[i] s[i]`. Elements from R on stay as they are: a table of fewer
    columns than `head_dim` rotates a part of each head.
  }];
  let arguments = (ins Llm_Rows:$input, Llm_BatchType:$batch, FlatSymbolRefAttr:$table, I64Attr:$head_dim);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input `,` $batch `,` $table attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::inlay::llm::RopeTableOp getTableOp();
    /// Elements of a head that are rotated: the columns of the table.
    int64_t getRotaryDim();
  }];
}

def Llm_KvAppendOp : LlmOp<"kv_append", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                       DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBeEpilogueOf", "getWeightBytes"]>,
                                       DeclareOpInterfaceMethods<Llm_ShardInterface, ["getSplitUnits"]>]> {
  let summary = "Writes the rows' keys and values at their positions.";
  let description = [{
    `key_scale` and `value_scale` name f32 weights with the scale of each kv head of a cache of codes.

    ```mlir
    %1 = llm.kv_append %0, %k, %v, %batch {layer = 0 : i64, head_dim = 64 : i64, key_scale = @k_scale, value_scale = @v_scale}
        : (!llm.kv_cache<f8E4M3FN>, tensor<?x512xbf16>, tensor<?x512xbf16>, !llm.batch) -> !llm.kv_cache<f8E4M3FN>
    ```
  }];
  let arguments = (ins Llm_KvCacheType:$cache, Llm_Rows:$key, Llm_Rows:$value, Llm_BatchType:$batch,
                       I64Attr:$layer, I64Attr:$head_dim, OptionalAttr<FlatSymbolRefAttr>:$key_scale,
                       OptionalAttr<FlatSymbolRefAttr>:$value_scale);
  let results = (outs Llm_KvCacheType:$result);
  let assemblyFormat = "$cache `,` $key `,` $value `,` $batch attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_PagedAttentionOp : LlmOp<"paged_attention", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                         DeclareOpInterfaceMethods<Llm_FusionInterface, ["isAnchor", "getWeightBytes"]>,
                                         DeclareOpInterfaceMethods<Llm_ShardInterface, ["getSplitUnits", "getWeightsOfColumns", "makePart"]>]> {
  let summary = "Causal attention of each row over its sequence's cache.";
  let description = [{
    A row at position p attends to positions max(0, p - window + 1) .. p of its
    sequence (without `window`, 0 .. p). Query head h reads kv head
    h / (heads / kv_heads). Scores are `scale * q.k`, capped as
    `softcap * tanh(s / softcap)` where `softcap` is given.

    `alibi` has a slope for each head (Press et al., 2022), of the heads of all ranks in
    their order: `slope * (j - p)` is added to the score of the key at position j. `sinks` names a weight with one logit for
    each head. It takes part in the softmax like the score of one more key, whose value
    is zero. `key_scale` and `value_scale` are those that the layer's keys and values were
    appended with.
  }];
  let arguments = (ins Llm_Rows:$query, Llm_KvCacheType:$cache, Llm_BatchType:$batch,
                       I64Attr:$layer, I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$head_dim, F64Attr:$scale,
                       OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap,
                       OptionalAttr<DenseF64ArrayAttr>:$alibi, OptionalAttr<FlatSymbolRefAttr>:$sinks,
                       OptionalAttr<FlatSymbolRefAttr>:$key_scale, OptionalAttr<FlatSymbolRefAttr>:$value_scale);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$query `,` $cache `,` $batch attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_GatedActivationOp : LlmOp<"gated_activation", [Pure, Elementwise, SameOperandsAndResultType,
                                                        DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBeEpilogueOf"]>,
                    DeclareOpInterfaceMethods<Llm_ShardInterface, ["getSplitUnits"]>]> {
  let summary = "activation(gate) * up.";
  let arguments = (ins Llm_Rows:$gate, Llm_Rows:$up, Llm_ActivationAttr:$kind);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$kind $gate `,` $up attr-dict `:` type($result)";
}

def Llm_ActivationOp : LlmOp<"activation", [Pure, Elementwise, SameOperandsAndResultType,
                                             DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBeEpilogueOf"]>,
                    DeclareOpInterfaceMethods<Llm_ShardInterface, ["getSplitUnits"]>]> {
  let summary = "activation(x), the activation of an MLP without a gate.";
  let arguments = (ins Llm_Rows:$input, Llm_ActivationAttr:$kind);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($result)";
}

def Llm_ScaleOp : LlmOp<"scale", [Pure, Elementwise, SameOperandsAndResultType,
                                  DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBeEpilogueOf"]>, DeclareOpInterfaceMethods<Llm_ShardInterface>]> {
  let summary = "factor * x.";
  let arguments = (ins Llm_Rows:$input, F64Attr:$factor);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Llm_SoftcapOp : LlmOp<"softcap", [Pure, Elementwise, SameOperandsAndResultType,
                                      DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBeEpilogueOf"]>, DeclareOpInterfaceMethods<Llm_ShardInterface>]> {
  let summary = "cap * tanh(x / cap), which bounds the logits of Gemma 2.";
  let arguments = (ins Llm_Rows:$input, F64Attr:$cap);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Llm_AddOp : LlmOp<"add", [Pure, Elementwise, Commutative, SameOperandsAndResultType,
                              DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBeEpilogueOf"]>,
                              DeclareOpInterfaceMethods<Llm_ShardInterface, ["isSum"]>]> {
  let summary = "Residual addition.";
  let arguments = (ins Llm_Rows:$lhs, Llm_Rows:$rhs);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

def Llm_GatherRowsOp : LlmOp<"gather_rows", [Pure, DeclareOpInterfaceMethods<Llm_FusionInterface, ["canBePrologueOf"]>]> {
  let summary = "Selects the rows for which the step computes logits, in their order.";
  let arguments = (ins Llm_Rows:$input, Llm_BatchType:$batch);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input `,` $batch attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_GatherColumnsOp : LlmOp<"gather_columns", [Pure, SameOperandsAndResultType,
                                       DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                       DeclareOpInterfaceMethods<Llm_FusionInterface, ["getWeightBytes"]>]> {
  let summary = "The columns of x in the order in which a weight stores its own.";
  let description = [{
    Column j of the result is column `order[j]` of x, where `order` is a weight `tensor<1xKxi32>` (`#llm.column_order`).

    ```mlir
    %y = llm.gather_columns %x, @order : tensor<?x256xbf16>
    ```
  }];
  let arguments = (ins Llm_Rows:$input, FlatSymbolRefAttr:$order);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$input `,` $order attr-dict `:` type($result)";
}

def Llm_SampleOp : LlmOp<"sample", [Pure, DeclareOpInterfaceMethods<Llm_FusionInterface>,
                                    DeclareOpInterfaceMethods<Llm_ShardInterface, ["getSplitUnits", "keepsColumns"]>]> {
  let summary = "Samples one token per logits row with the row's sampling parameters.";
  let description = [{
    The batch holds temperature, top-k, top-p and min-p of each row. A temperature
    of 0 selects the largest logit, the first one if there are several. Otherwise
    the op selects the largest score of the logits that pass the filters:
    logit / temperature plus Gumbel noise. The noise comes from a counter-based
    generator keyed by the row's seed and position, and counts token ids.
  }];
  let arguments = (ins Llm_Rows:$logits, Llm_BatchType:$batch);
  let results = (outs Llm_Ids:$result);
  let assemblyFormat = "$logits `,` $batch attr-dict `:` functional-type(operands, results)";
}

include "dialects/llm/LlmCollectives.td"

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

def Llm_GroupOp : LlmOp<"group", [SingleBlock, NoRegionArguments,
                                  SingleBlockImplicitTerminator<"YieldOp">, RecursiveMemoryEffects]> {
  let summary = "Ops that become one kernel.";
  let description = [{
    Created by `llm-form-groups`. The body may use values defined outside. The
    kernel writes the yielded values to memory. `family` is the kernel family
    chosen by the cost model.
  }];
  let arguments = (ins StrAttr:$name, StrAttr:$family);
  let results = (outs Variadic<AnyType>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$name `family` `(` $family `)` attr-dict-with-keyword (`->` type($outputs)^)? $body";
  let hasVerifier = 1;
}

def Llm_YieldOp : LlmOp<"yield", [Pure, ReturnLike, Terminator, HasParent<"GroupOp">]> {
  let summary = "The values that a group writes.";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let builders = [OpBuilder<(ins), "">];
}

#endif // INLAY_DIALECTS_LLM_OPS
