//===- TileStepOps.td - the launches of a step ----------------------------===//
//
// The entry points of a bundle, their launches of programs, and the memory behind the views of each.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_STEP_OPS
#define INLAY_DIALECTS_TILE_STEP_OPS

/// What a step that an entry point takes looks like.
def Tile_EntryKind : I32EnumAttr<"EntryKind", "kind of an entry point", [
    I32EnumAttrCase<"Decode", 0, "decode">, // every sequence has one row
    I32EnumAttrCase<"Mixed", 1, "mixed">]> {
  let cppNamespace = "::inlay::tile";
  let genSpecializedAttr = 0;
}

/// When a launch runs. The model makes logits; of several ranks each makes a part of them. Logits of all ranks are
/// gathered, changed if a sequence has penalties, and sampled. Or tokens are sampled from the parts.
def Tile_Section : I32EnumAttr<"Section", "section of a step", [
    I32EnumAttrCase<"Model", 0, "model">,
    I32EnumAttrCase<"Penalties", 1, "penalties">,
    I32EnumAttrCase<"Sampling", 2, "sampling">,
    I32EnumAttrCase<"Gather", 3, "gather">,
    I32EnumAttrCase<"PartSampling", 4, "part_sampling">]> {
  let cppNamespace = "::inlay::tile";
  let genSpecializedAttr = 0;
}

def Tile_MemoryKind : I32EnumAttr<"MemoryKind", "kind of memory", [
    I32EnumAttrCase<"Workspace", 0, "workspace">,
    I32EnumAttrCase<"Weight", 1, "weight">,
    I32EnumAttrCase<"Metadata", 2, "metadata">,
    I32EnumAttrCase<"KeyCache", 3, "key_cache">,
    I32EnumAttrCase<"ValueCache", 4, "value_cache">,
    I32EnumAttrCase<"Logits", 5, "logits">,
    I32EnumAttrCase<"Tokens", 6, "tokens">,
    I32EnumAttrCase<"Rank", 7, "rank">]> {
  let cppNamespace = "::inlay::tile";
  let genSpecializedAttr = 0;
}

def Tile_EntryKindAttr : EnumAttr<TileDialect, Tile_EntryKind, "entry_kind">;
def Tile_SectionAttr : EnumAttr<TileDialect, Tile_Section, "section">;

def Tile_MemoryAttr : AttrDef<TileDialect, "Memory"> {
  let mnemonic = "memory";
  let summary = "The memory behind a view of a launch.";
  let description = [{
    `#tile.memory<workspace 256>` at an offset in bytes, `<weight @symbol>`, `<metadata Positions>`, `<key_cache 3>`
    and `<value_cache 3>` of a layer, `<logits>`, `<tokens>`, and `<rank>`: the rank's index among those that run the
    step together, an i32.
  }];
  let parameters = (ins "::inlay::tile::MemoryKind":$kind, "int64_t":$number,
                        OptionalParameter<"::mlir::FlatSymbolRefAttr">:$weight);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let builders = [
    AttrBuilder<(ins "MemoryKind":$kind, CArg<"int64_t", "0">:$number),
                [{ return $_get($_ctxt, kind, number, ::mlir::FlatSymbolRefAttr()); }]>,
    AttrBuilderWithInferredContext<(ins "::mlir::FlatSymbolRefAttr":$weight),
                [{ return $_get(weight.getContext(), MemoryKind::Weight, 0, weight); }]>,
    AttrBuilder<(ins "::inlay::tile::Metadata":$metadata),
                [{ return $_get($_ctxt, MemoryKind::Metadata, static_cast<int64_t>(metadata),
                                ::mlir::FlatSymbolRefAttr()); }]>];
  let extraClassDeclaration = [{
    /// Of the kind Metadata.
    ::inlay::tile::Metadata getMetadata() const { return static_cast<::inlay::tile::Metadata>(getNumber()); }
    /// What stands between the angle brackets.
    static ::mlir::FailureOr<MemoryAttr> parseBody(::mlir::AsmParser &parser);
    void printBody(::mlir::AsmPrinter &printer) const;
    /// Whether views of this provenance may lie there.
    bool holds(::inlay::tile::Provenance provenance) const;
  }];
}

def Tile_EntryOp : TileOp<"entry", [Symbol, SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "The launches of one entry point of a bundle, in order.";
  let description = [{
    A `decode` entry takes steps where every sequence has one row, a `mixed` one any. The sizes are the most that the
    entry takes. `query_tile_rows` is the number of rows into which the host cuts sequences for attention; the last rows
    of one may be fewer (TileEnds). tile-select-schedule sets it together with the tiles of attention.

    ```mlir
    tile.entry @decode_1 decode attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64,
                                            workspace_bytes = 4096 : i64} {
      tile.launch model @embed(metadata TokenIds, weight @table, workspace 0) {origin = "model.embed_tokens: embedding"}
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Tile_EntryKindAttr:$kind, I64Attr:$max_tokens, I64Attr:$max_sequences,
                       I64Attr:$query_tile_rows, I64Attr:$workspace_bytes);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name $kind attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Tile_LaunchOp : TileOp<"launch", [HasParent<"EntryOp">, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "One launch of a program.";
  let description = "`arguments` is the memory behind each view of the program; `origin` names the model's ops.";
  let arguments = (ins Tile_SectionAttr:$section, FlatSymbolRefAttr:$program,
                       TypedArrayAttrBase<Tile_MemoryAttr, "memory of each view">:$arguments, StrAttr:$origin);
  let assemblyFormat = "$section $program `(` custom<Memories>($arguments) `)` attr-dict";
}

#endif // INLAY_DIALECTS_TILE_STEP_OPS
