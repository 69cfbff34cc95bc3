//===- TileOps.td - the tile dialect: what one block computes --------------===//
//
// A tile program says what one block of the grid computes, in whole tiles, as
// if everything were synchronous and memory had no layout. It is what the cpu
// target compiles, and what a person reads first.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_OPS
#define INLAY_DIALECTS_TILE_OPS

include "mlir/IR/OpBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
// Tile_Extent: the sizes of a step, known when it is launched. Every kernel receives all of them, in this order, as
// 32-bit integers. Made from the list in runtime/bundle/plan.fbs.
include "dialects/tile/StepSizes.td"

def TileDialect : Dialect {
  let name = "tile";
  let summary = "Programs of one block, in whole tiles.";
  let description = [{
    Tiles are `tensor`s of static shape; elementwise work on them is `arith` and
    `math`, control is `scf`. The ops here are what those lack: memory views and
    their accesses, matrix products, reductions and movement of whole tiles.
  }];
  let cppNamespace = "::inlay::tile";
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
  let hasOperationAttrVerify = 1;
}

/// Who writes the memory behind a view: it decides which loads may start before
/// the launch before this one has ended, and how caches treat them.
def Tile_Provenance : I32EnumAttr<"Provenance", "who writes the memory of a view", [
    I32EnumAttrCase<"Weight", 0, "weight">,         // nobody on the device
    I32EnumAttrCase<"Activation", 1, "activation">, // a launch of this step before this one
    I32EnumAttrCase<"State", 2, "state">,           // the residual stream: read and written in place
    I32EnumAttrCase<"Kv", 3, "kv">,                 // steps before, and a launch of this step for the newest rows
    I32EnumAttrCase<"Meta", 4, "meta">,             // the host, before the step
    I32EnumAttrCase<"Output", 5, "output">]> {      // this launch
  let cppNamespace = "::inlay::tile";
  let genSpecializedAttr = 0;
}

def Tile_Reduction : I32EnumAttr<"Reduction", "how elements are combined", [
    I32EnumAttrCase<"Add", 0, "add">,
    I32EnumAttrCase<"Max", 1, "max">,
    I32EnumAttrCase<"Min", 2, "min">]> {
  let cppNamespace = "::inlay::tile";
  let genSpecializedAttr = 0;
}

def Tile_ExtentAttr : EnumAttr<TileDialect, Tile_Extent, "extent">;
def Tile_ReductionAttr : EnumAttr<TileDialect, Tile_Reduction, "reduction">;

def Tile_TargetAttr : AttrDef<TileDialect, "Target"> {
  let mnemonic = "target";
  let summary = "The GPU that programs are compiled for: all that passes know of a chip.";
  let description = [{
    Stands on the module as `tile.target`. Passes and lowerings ask `targetOf`; a module without it is compiled for
    the target that `knownTarget` gives for sm_90a. `multiprocessors` is their number, `shared_bytes` the shared memory
    of one, of which the system takes `reserved_shared_bytes` for each block, and `block_shared_bytes` the most that
    one block can have.

    ```mlir
    module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 132, shared_bytes = 233472,
                                                  reserved_shared_bytes = 1024, block_shared_bytes = 232448>} {}
    ```
  }];
  let parameters = (ins StringRefParameter<>:$arch, "int64_t":$multiprocessors, "int64_t":$shared_bytes,
                        "int64_t":$reserved_shared_bytes, "int64_t":$block_shared_bytes);
  let assemblyFormat = [{
    `<` custom<Arch>($arch) `,` struct($multiprocessors, $shared_bytes, $reserved_shared_bytes, $block_shared_bytes) `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Shared memory of a block where `slots` of them share a multiprocessor.
    int64_t slotSharedBytes(int64_t slots) const;
    /// Blocks that run at a time in clusters of so many, `slots` a multiprocessor.
    int64_t residentBlocks(int64_t cluster, int64_t slots) const;
  }];
}

class TileType<string name, string typeMnemonic> : TypeDef<TileDialect, name> {
  let mnemonic = typeMnemonic;
}

def Tile_ViewType : TileType<"View", "view"> {
  let summary = "A row-major array in memory that outlives the program.";
  let description = [{
    `!tile.view<?x4096xbf16, activation, tokens>`: shape, element type, who
    writes it, and for a leading `?` the size of the step that it stands for. A
    `?` without a size is never checked against an end.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType,
                        "::inlay::tile::Provenance":$provenance, "std::optional<::inlay::tile::Extent>":$extent);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getRank() const { return getShape().size(); }
  }];
}

def Tile_AnyTile : Type<And<[IsRankedTensorTypePred,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).hasStaticShape()">]>, "tile of static shape",
    "::mlir::RankedTensorType">;
def Tile_IndexTile : Type<And<[IsRankedTensorTypePred, CPred<
    "::llvm::cast<::mlir::RankedTensorType>($_self).getElementType().isSignlessInteger(32)">]>, "tile of i32",
    "::mlir::RankedTensorType">;

class TileOp<string mnemonic, list<Trait> traits = []> : Op<TileDialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// The program
//===----------------------------------------------------------------------===//

def Tile_ProgramOp : TileOp<"program", [FunctionOpInterface, IsolatedFromAbove, Symbol,
                                        SingleBlockImplicitTerminator<"ReturnOp">]> {
  let summary = "What one block of the grid computes.";
  let description = [{
    Arguments are views. `grid` maps the step's sizes, in the order of
    `Extent`, to at most three grid dimensions, each a constant or
    `c * (size ceildiv d)`. Blocks are independent: no block reads what another
    block of the same launch writes.

    ```mlir
    tile.program @copy(%x: !tile.view<?x64xf32, activation, tokens>, %y: !tile.view<?x64xf32, output, tokens>)
        grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
      %i = tile.program_id 0
      %c16 = arith.constant 16 : index
      %c0 = arith.constant 0 : index
      %r = arith.muli %i, %c16 : index
      %t = tile.load %x[%r, %c0] : !tile.view<?x64xf32, activation, tokens> -> tensor<16x64xf32>
      tile.store %t, %y[%r, %c0] : tensor<16x64xf32>, !tile.view<?x64xf32, output, tokens>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<FunctionType>:$function_type, AffineMapAttr:$grid,
                       OptionalAttr<DictArrayAttr>:$arg_attrs, OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::ArrayRef<::mlir::Type> getArgumentTypes() { return getFunctionType().getInputs(); }
    ::mlir::ArrayRef<::mlir::Type> getResultTypes() { return getFunctionType().getResults(); }
    ::mlir::Region *getCallableRegion() { return &getBody(); }
  }];
}

def Tile_ReturnOp : TileOp<"return", [Pure, Terminator, HasParent<"ProgramOp">]> {
  let summary = "The end of a program.";
  let assemblyFormat = "attr-dict";
}

def Tile_ProgramIdOp : TileOp<"program_id", [Pure]> {
  let summary = "This block's index in a dimension of the grid.";
  let arguments = (ins ConfinedAttr<I32Attr, [IntMinValue<0>, IntMaxValue<2>]>:$dimension);
  let results = (outs Index:$result);
  let assemblyFormat = "$dimension attr-dict";
}

def Tile_ExtentOp : TileOp<"extent", [Pure]> {
  let summary = "A size of the step.";
  let arguments = (ins Tile_ExtentAttr:$which);
  let results = (outs Index:$result);
  let assemblyFormat = "$which attr-dict";
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

def Tile_LoadOp : TileOp<"load", [MemoryEffects<[MemRead]>]> {
  let summary = "A rectangular tile of a view.";
  let description = [{
    `offsets` has one index for each dimension of the view. The tile's
    dimensions are the view's last ones; leading ones have size 1. Elements past
    the end of the view are 0.
  }];
  let arguments = (ins Tile_ViewType:$view, Variadic<Index>:$offsets);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$view `[` $offsets `]` attr-dict `:` type($view) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_StoreOp : TileOp<"store", [MemoryEffects<[MemWrite]>]> {
  let summary = "Writes a rectangular tile; elements past the end are dropped.";
  let arguments = (ins Tile_AnyTile:$value, Tile_ViewType:$view, Variadic<Index>:$offsets);
  let assemblyFormat = "$value `,` $view `[` $offsets `]` attr-dict `:` type($value) `,` type($view)";
  let hasVerifier = 1;
}

def Tile_GatherOp : TileOp<"gather", [MemoryEffects<[MemRead]>]> {
  let summary = "Rows (of a rank-2 view) or elements (of a rank-1 view) at given indices.";
  let description = [{
    For a view of rank 2, row i of the result is `view[indices[i], column ..]`;
    for rank 1, element i is `view[indices[i]]`. An index that is negative or past
    the end gives zeros.
  }];
  let arguments = (ins Tile_ViewType:$view, Tile_IndexTile:$indices, Optional<Index>:$column);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = [{
    $view `[` $indices (`,` $column^)? `]` attr-dict `:` type($view) `,` type($indices) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Tile_ScatterOp : TileOp<"scatter", [MemoryEffects<[MemWrite]>]> {
  let summary = "Writes rows or elements at given indices; negative indices are dropped.";
  let description = "The inverse of `tile.gather`. Indices that are not dropped must differ from each other.";
  let arguments = (ins Tile_AnyTile:$value, Tile_ViewType:$view, Tile_IndexTile:$indices, Optional<Index>:$column);
  let assemblyFormat = [{
    $value `,` $view `[` $indices (`,` $column^)? `]` attr-dict `:` type($value) `,` type($view) `,` type($indices)
  }];
  let hasVerifier = 1;
}

def Tile_ReadOp : TileOp<"read", [MemoryEffects<[MemRead]>]> {
  let summary = "One element, as a scalar that all of the block sees.";
  let arguments = (ins Tile_ViewType:$view, Variadic<Index>:$offsets);
  let results = (outs AnyTypeOf<[AnySignlessInteger, AnyFloat]>:$result);
  let assemblyFormat = "$view `[` $offsets `]` attr-dict `:` type($view) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

def Tile_DotOp : TileOp<"dot", [Pure, AllTypesMatch<["accumulator", "result"]>]> {
  let summary = "accumulator + lhs x rhs, accumulated in f32.";
  let description = [{
    lhs is M x K. rhs is K x N, or N x K with `transpose_rhs` (a weight's tile, the
    keys). Operands may be bf16, f16 or f32, both the same.
  }];
  let arguments = (ins Tile_AnyTile:$lhs, Tile_AnyTile:$rhs, Tile_AnyTile:$accumulator, UnitAttr:$transpose_rhs);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `,` $accumulator (`transpose_rhs` $transpose_rhs^)? attr-dict
    `:` type($lhs) `,` type($rhs) `,` type($accumulator)
  }];
  let hasVerifier = 1;
}

def Tile_ReduceOp : TileOp<"reduce", [Pure]> {
  let summary = "Combines the elements along an axis; the axis disappears.";
  let description = "Order of combination is the target's, fixed for a given shape.";
  let arguments = (ins Tile_ReductionAttr:$kind, Tile_AnyTile:$value, I64Attr:$axis);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$kind $value `axis` $axis attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_ArgMaxOp : TileOp<"arg_max", [Pure]> {
  let summary = "The largest element along the last axis and its smallest index, of an M x N tile.";
  let arguments = (ins Tile_AnyTile:$value);
  let results = (outs Tile_AnyTile:$maximum, Tile_IndexTile:$index);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($maximum) `,` type($index)";
  let hasVerifier = 1;
}

def Tile_BroadcastOp : TileOp<"broadcast", [Pure]> {
  let summary = "Repeats a vector along a new axis of a rank-2 tile.";
  let description = "With `axis = 1`, result[i, j] = value[i]; with `axis = 0`, result[i, j] = value[j].";
  let arguments = (ins Tile_AnyTile:$value, I64Attr:$axis);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$value `axis` $axis attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_IotaOp : TileOp<"iota", [Pure]> {
  let summary = "Each element is its own index along an axis.";
  let arguments = (ins I64Attr:$axis);
  let results = (outs Tile_IndexTile:$result);
  let assemblyFormat = "`axis` $axis attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_TransposeOp : TileOp<"transpose", [Pure]> {
  let summary = "The transpose of a rank-2 tile.";
  let arguments = (ins Tile_AnyTile:$value);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_DeinterleaveOp : TileOp<"deinterleave", [Pure, AllTypesMatch<["even", "odd"]>]> {
  let summary = "The even and the odd columns of an M x N tile.";
  let description = [{
    Weights whose rows alternate (gate and up) or pair the halves that rope
    rotates give their two operands in one register pair of an accumulator.
  }];
  let arguments = (ins Tile_AnyTile:$value);
  let results = (outs Tile_AnyTile:$even, Tile_AnyTile:$odd);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($even)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Clusters
//===----------------------------------------------------------------------===//

def Tile_ClusterRankOp : TileOp<"cluster_rank", [Pure]> {
  let summary = "This block's index among the blocks that share a program id.";
  let description = [{
    A program with the attribute `cluster = N` runs N blocks for each point of its
    grid, all with the same program ids; the rank tells them apart.
  }];
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}

def Tile_ClusterReduceOp : TileOp<"cluster_reduce", [SameOperandsAndResultType]> {
  let summary = "Combines a tile over the blocks of the cluster; each gets the result.";
  let description = "All blocks of the cluster reach the op. The order of combination is that of the ranks.";
  let arguments = (ins Tile_ReductionAttr:$kind, Tile_AnyTile:$value);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$kind $value attr-dict `:` type($value)";
}

//===----------------------------------------------------------------------===//
// The step
//===----------------------------------------------------------------------===//

def Tile_EntryOp : TileOp<"entry", [Symbol, SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "The launches of one entry point of a bundle, in order.";
  let description = [{
    `kind` is "decode" (every sequence has one row) or "mixed". The sizes are the
    most that the entry takes.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$kind, I64Attr:$max_tokens, I64Attr:$max_sequences,
                       I64Attr:$query_tile_rows, I64Attr:$workspace_bytes);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
}

def Tile_LaunchOp : TileOp<"launch", [HasParent<"EntryOp">]> {
  let summary = "One launch of a program.";
  let description = [{
    `arguments` has a dictionary for each view of the program: `{workspace = offset}`,
    `{weight = @symbol}`, `{metadata = "Positions"}`, `{key_cache = layer}`,
    `{value_cache = layer}`, `{logits}` or `{tokens}`. `section` is "model", "penalties"
    or "sampling"; `origin` names the model's ops.
  }];
  let arguments = (ins FlatSymbolRefAttr:$program, ArrayAttr:$arguments, StrAttr:$section, StrAttr:$origin);
  let assemblyFormat = "$program $arguments attr-dict";
}

#endif // INLAY_DIALECTS_TILE_OPS
