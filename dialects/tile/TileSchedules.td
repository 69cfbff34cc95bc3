//===- TileSchedules.td - how programs are run on a GPU --------------------===//
//
// One attribute for each kernel family. `schedule` of a tile.program holds one:
// #tile.family until tile-select-schedule has chosen, then that family's own. Each
// verifier checks what the numbers must fulfil whatever the program; what depends on
// the program or the chip is checked where a schedule is chosen and lowered.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_SCHEDULES
#define INLAY_DIALECTS_TILE_SCHEDULES

include "dialects/tile/TileInterfaces.td"
include "mlir/IR/EnumAttr.td"

/// Families that have a choice to make.
def Tile_Family : I32EnumAttr<"Family", "a kernel family", [
    I32EnumAttrCase<"Matvec", 0, "matvec">,
    I32EnumAttrCase<"SwapAb", 1, "swap_ab">,
    I32EnumAttrCase<"Gemm", 2, "gemm">,
    I32EnumAttrCase<"Attention", 3, "attention">, // decode_attention, prefill_attention or generic
    I32EnumAttrCase<"Sample", 4, "sample">]> {    // generic
  let cppNamespace = "::inlay::tile";
  let genSpecializedAttr = 0;
}

class TileScheduleAttr<string cppName, string family, list<string> methods = []>
    : AttrDef<TileDialect, cppName, [DeclareAttrInterfaceMethods<Tile_Schedule, methods>]> {
  let mnemonic = family;
  let extraClassDefinition = "::llvm::StringRef $cppClass::getFamilyName() const { return getMnemonic(); }";
}

def Tile_FamilyAttr : TileScheduleAttr<"Family", "family", ["isPending"]> {
  let summary = "A program whose schedule is not chosen yet.";
  let description = "convert-llm-to-tile writes it, tile-select-schedule replaces it: `#tile.family<swap_ab>`.";
  let parameters = (ins EnumParameter<Tile_Family>:$value);
  let assemblyFormat = "`<` $value `>`";
  let extraClassDefinition = [{
    ::llvm::StringRef $cppClass::getFamilyName() const { return stringifyFamily(getValue()); }
    bool $cppClass::isPending() const { return true; }
  }];
}

def Tile_CublasLtAttr : TileScheduleAttr<"CublasLt", "cublaslt"> {
  let summary = "The program is a product that cuBLASLt computes.";
  let description = "It stays a tile.program, from which the plan reads what the library is told.";
}

/// A schedule of numbers, which a tuning file can name.
class TileNumbersAttr<string cppName, string family, dag fields, list<string> methods = [], code helpers = "">
    : TileScheduleAttr<cppName, family, methods> {
  let parameters = fields;
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  defvar numbers = !range(!size(fields));
  defvar names = !foreach(i, numbers, "\"" # !getdagname(fields, i) # "\"");
  defvar values = !foreach(i, numbers, "values[" # !cast<string>(i) # "]");
  let extraClassDeclaration = [{
    /// The numbers' names, in the order of their accessors.
    static constexpr ::llvm::StringLiteral kNames[] = {}] # !interleave(names, ", ") # [{};
    /// The schedule of `values`, one for each name; null, after a diagnostic, where they are refused.
    static }] # cppName # [{Attr ofNumbers(::llvm::function_ref<::mlir::InFlightDiagnostic()> emitError,
                               ::mlir::MLIRContext *context, ::llvm::ArrayRef<int64_t> values) {
      return getChecked(emitError, context, }] # !interleave(values, ", ") # [{);
    }
  }] # helpers;
}

def Tile_StreamAttr : TileNumbersAttr<"Stream", "stream",
    (ins "int64_t":$blocks, "int64_t":$warps, "int64_t":$tile_columns, "int64_t":$tile_k, "int64_t":$stages,
         "int64_t":$tiles, "int64_t":$rows, "int64_t":$depth, "int64_t":$slots, "int64_t":$shared_bytes),
    ["getPipeline"], [{
    /// Bytes of a stage in the ring of a warp.
    int64_t stageBytes() const { return getTileColumns() * getTileK() * 2; }
    /// The steps along K of a warp: all have as many, except that the last ones may have fewer or none.
    int64_t share(int64_t k) const;
  }]> {
  let summary = "A product of few rows: weights flow through a ring for each warp, which has a part of K.";
  let description = [{
    - `blocks` of the grid; each owns an equal part of the weight's rows
    - `warps` of a block, which share K
    - `tile_columns` x `tile_k`: a tile of weights in the ring. 8 weight rows are the right side of the product, 16 the
      left one; a multiple of 64 along K
    - `stages`: tiles of weights in a warp's ring
    - `tiles` that one pass over the activations serves
    - `rows` of activations: 1, 8 or 16
    - `depth`: steps along K whose activations are loaded ahead, with several rows
    - `slots`: blocks that share a multiprocessor
    - `shared_bytes` in all
  }];
}

def Tile_GemmAttr : TileNumbersAttr<"Gemm", "gemm",
    (ins "int64_t":$blocks, "int64_t":$tile_rows, "int64_t":$tile_columns, "int64_t":$tile_k, "int64_t":$stages,
         "int64_t":$consumers, "int64_t":$producer_registers, "int64_t":$consumer_registers), ["getPipeline"], [{
    /// Sums that each consuming warp passes through shared memory to the epilogue: its 16 rows, padded to avoid bank
    /// conflicts of stores.
    static constexpr int64_t kStagedColumns = 64, kStagedPitch = 68, kStagedRows = 16;
    /// Both operands of one stage: 128 bytes of each row.
    int64_t stageBytes() const { return (getTileRows() + getTileColumns()) * 128; }
    int64_t stagedBytes() const { return getConsumers() * 4 * kStagedRows * kStagedPitch * 4; }
  }]> {
  let summary = "A matrix product on warpgroups: one produces, the rest consume.";
  let description = [{
    - `blocks` of the grid, each of which runs through tiles
    - `tile_rows` x `tile_columns` x `tile_k`: 64 rows for each consumer, 128 or 256 columns, 64 along K, or 128
      elements of 8 bits
    - `stages` of both operands in the ring
    - `consumers`: warpgroups that multiply
    - `producer_registers`, `consumer_registers` of a thread
  }];
}

def Tile_SwapAbAttr : TileNumbersAttr<"SwapAb", "swap_ab",
    (ins "int64_t":$tile_rows, "int64_t":$tile_columns, "int64_t":$tile_k, "int64_t":$consumers, "int64_t":$split,
         "int64_t":$slots, "int64_t":$stages, "int64_t":$shared_bytes), ["getClusterBlocks", "getPipeline"], [{
    /// Sums in shared memory: [row][column] in f32, padded so that the 8 columns x 4 pairs of rows of a warp's store lie
    /// in different banks.
    int64_t sumsPitch() const { return getTileColumns() + 4; }
    int64_t sumsBytes() const { return getTileRows() * sumsPitch() * 4; }
    /// The steps along K that each block of the cluster takes; the last block takes the rest.
    int64_t share(int64_t k) const;
    /// Whether the last block has at least one step.
    bool givesEachBlockSteps(int64_t k) const;
  }]> {
  let summary = "A matrix product of few rows on warpgroups: weights on wgmma's M, the step's rows on its N.";
  let description = [{
    - `tile_rows` of activations: 16, or a multiple of 32 up to 256
    - `tile_columns`: 64 for each consumer
    - `tile_k`: 64 for weights of 16 bits, 128 for codes
    - `consumers`: warpgroups that multiply: 1, 2, or in one slot and for up to 64 rows up to 7 (4 of codes)
    - `split`: blocks of a cluster that share K
    - `slots`: blocks that share a multiprocessor
    - `stages` of both operands in the ring
    - `shared_bytes` in all
  }];
}

def Tile_DecodeAttentionAttr : TileNumbersAttr<"DecodeAttention", "decode_attention",
    (ins "int64_t":$query_rows, "int64_t":$tile_rows, "int64_t":$tile_keys, "int64_t":$warps, "int64_t":$stages,
         "int64_t":$slots, "int64_t":$cluster), ["getAttentionTile", "getClusterBlocks", "getPipeline"]> {
  let summary = "Attention of few query rows: keys and values stream through a ring for each warp.";
  let description = [{
    - `query_rows`, `tile_rows` x `tile_keys`: see AttentionTile in Tile.h; up to 16 rows, 16 keys
    - `warps` of a block; each takes every `warps`-th step of keys
    - `stages`: steps of keys or of values in a warp's ring
    - `slots`: blocks that share a multiprocessor
    - `cluster`: blocks that share the keys of a query tile
  }];
}

def Tile_PrefillAttentionAttr : TileNumbersAttr<"PrefillAttention", "prefill_attention",
    (ins "int64_t":$query_rows, "int64_t":$tile_rows, "int64_t":$tile_keys, "int64_t":$consumers, "int64_t":$stages,
         "int64_t":$producer_registers, "int64_t":$consumer_registers), ["getAttentionTile", "getPipeline"]> {
  let summary = "Attention of many query rows: tiles of keys and values stream past them.";
  let description = [{
    - `query_rows`, `tile_rows` x `tile_keys`: see AttentionTile in Tile.h; 64 rows for each consumer, up to 256 keys
    - `consumers`: warpgroups with 64 query rows each; one more fetches
    - `stages`: tiles of keys, and as many of values, in the rings
    - `producer_registers`, `consumer_registers` of a thread
  }];
}

def Tile_GenericAttr : TileNumbersAttr<"Generic", "generic",
    (ins DefaultValuedParameter<"int64_t", "1">:$cluster, DefaultValuedParameter<"int64_t", "1">:$slots,
         DefaultValuedParameter<"int64_t", "0">:$query_rows, DefaultValuedParameter<"int64_t", "0">:$tile_rows,
         DefaultValuedParameter<"int64_t", "0">:$tile_keys),
    ["getAttentionTile", "getClusterBlocks"]> {
  let summary = "Any program, lowered op by op.";
  let description = [{
    - `cluster`: blocks that share a program id
    - `slots`: blocks that must fit a multiprocessor
    - `query_rows`, `tile_rows` x `tile_keys` of attention: see AttentionTile in Tile.h; 0: the program keeps its tiles
  }];
}

#endif // INLAY_DIALECTS_TILE_SCHEDULES
