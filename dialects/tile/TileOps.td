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
// Tile_Extent, the sizes of a step: known when it is launched, and passed to every kernel, all of them in this order, as
// 32-bit integers. Tile_Metadata, the arrays that the host writes before a step. Both lists stand in plan.fbs.
include "dialects/tile/PlanEnums.td"

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

/// What ranks do together; the numbers are those of CollectiveOp in plan.fbs.
def Tile_CollectiveKind : I32EnumAttr<"CollectiveKind", "how values of ranks are combined", [
    I32EnumAttrCase<"AllReduce", 0, "all_reduce">,
    I32EnumAttrCase<"AllGather", 1, "all_gather">]> {
  let cppNamespace = "::inlay::tile";
  let genSpecializedAttr = 0;
}
def Tile_CollectiveKindAttr : EnumAttr<TileDialect, Tile_CollectiveKind, "collective_kind">;

def Tile_ExtentAttr : EnumAttr<TileDialect, Tile_Extent, "extent">;
def Tile_ReductionAttr : EnumAttr<TileDialect, Tile_Reduction, "reduction">;

include "dialects/tile/TileLayouts.td"
include "dialects/tile/TileSchedules.td"

def Tile_CostModelAttr : AttrDef<TileDialect, "CostModel"> {
  let mnemonic = "cost_model";
  let summary = "What was measured on a card of a target, for passes that choose.";
  let description = [{
    Of the linear layers' analytic model: `slots`, the blocks that share a multiprocessor in a step of few rows;
    `clustered_percent` of the slots have room for clusters of more than 2 blocks at a time; `memory_bytes` a ns from
    memory and `cache_bytes` from the cache of all multiprocessors; `products` a ns of one multiprocessor; `round_trip` ns to memory under load; `cluster_wait` ns for each
    block that shares K.

    Of llm-form-groups: up to `streaming_rows` rows weights are streamed (matvec); not so where a norm scales several
    rows of up to `scaled_columns` columns. In steps of more rows, up to `split_norm_rows`, a norm between two products is
    split into parts of their kernels.

    Of attention: steps of many rows have tiles of `prefill_rows` rows by `prefill_keys` keys; up to
    `spread_sequences` sequences a block has a multiprocessor alone.

    Of the sum over ranks: up to `one_shot_pair_bytes` with two ranks and up to `one_shot_bytes` with more, each rank
    pushes all it has to all others. With the option sum-prologues of llm-form-groups, in steps of up to
    `prologue_sum_rows` rows, the kernel of the product behind the sum receives it, unless all its blocks read the rows
    of the ranks for longer than the `sum_kernel` ns that a kernel of the sum takes.

    Of the gather of columns: a round of the exchange has as many rows as fit `gather_bytes` of the buffer of each rank.
  }];
  let parameters = (ins "int64_t":$slots, "int64_t":$clustered_percent, "int64_t":$memory_bytes, "int64_t":$cache_bytes,
                        "int64_t":$products, "int64_t":$round_trip, "int64_t":$cluster_wait, "int64_t":$streaming_rows,
                        "int64_t":$scaled_columns, "int64_t":$split_norm_rows, "int64_t":$prefill_rows, "int64_t":$prefill_keys,
                        "int64_t":$spread_sequences, "int64_t":$one_shot_pair_bytes, "int64_t":$one_shot_bytes,
                        "int64_t":$gather_bytes, "int64_t":$prologue_sum_rows, "int64_t":$sum_kernel);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Tile_TargetAttr : AttrDef<TileDialect, "Target"> {
  let mnemonic = "target";
  let summary = "The GPU that programs are compiled for: all that passes know of a chip.";
  let description = [{
    Stands on the module as `tile.target`. Passes and lowerings ask `targetOf`; a module without it is compiled for
    the target that `knownTarget` gives for sm_90a. `multiprocessors` is their number, `shared_bytes` the shared memory
    of one, of which the system takes `reserved_shared_bytes` for each block, and `block_shared_bytes` the most that
    one block can have. `cost_model` is what was measured; without it, that of the known target of this architecture
    counts.

    ```mlir
    module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 132, shared_bytes = 233472,
                                                  reserved_shared_bytes = 1024, block_shared_bytes = 232448>} {}
    ```
  }];
  let parameters = (ins StringRefParameter<>:$arch, "int64_t":$multiprocessors, "int64_t":$shared_bytes,
                        "int64_t":$reserved_shared_bytes, "int64_t":$block_shared_bytes,
                        OptionalParameter<"::inlay::tile::CostModelAttr">:$cost_model);
  let assemblyFormat = [{
    `<` custom<Arch>($arch) `,` struct($multiprocessors, $shared_bytes, $reserved_shared_bytes, $block_shared_bytes,
                                       $cost_model) `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Shared memory of a block where `slots` of them share a multiprocessor.
    int64_t slotSharedBytes(int64_t slots) const;
    /// Its `cost_model`, or else that of the known target of its architecture.
    CostModelAttr costs() const;
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
    block of the same launch writes. `schedule` says how a GPU runs the program, and
    changes nothing of what it computes; without one the generic lowering takes it.

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
                       OptionalAttr<Tile_Schedule>:$schedule, OptionalAttr<DictArrayAttr>:$arg_attrs, OptionalAttr<DictArrayAttr>:$res_attrs);
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

def Tile_ExchangeAttr : AttrDef<TileDialect, "Exchange"> {
  let mnemonic = "exchange";
  let summary = "How ranks exchange rows by a kernel: their number, and the most rows of a step.";
  let parameters = (ins "int64_t":$ranks, "int64_t":$rows);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Tile_CollectiveOp : TileOp<"collective", [MemoryEffects<[MemRead, MemWrite]>, HasParent<"ProgramOp">]> {
  let summary = "What all ranks do together with rows of the step; alone in its program.";
  let description = [{
    `all_reduce` writes the sum of the ranks' rows. `all_gather` writes their columns side by side, in the order of the
    ranks, as far as rows of the output go.

    Without `exchange` no kernel is compiled for such a program: the runtime of each rank runs it. With it, a kernel
    pushes rows to memory of the other ranks and reads there what they have pushed (codegen/device/peers.h). A sum of up
    to `getOneShotRows()` rows takes one hop, a larger one two. A gather takes a round for each `getRoundRows()` rows.

    ```mlir
    tile.program @sum(%x: !tile.view<?x64xbf16, activation, tokens>, %y: !tile.view<?x64xbf16, output, tokens>)
        grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
      tile.collective all_reduce %x, %y through <ranks = 2, rows = 512>
          : !tile.view<?x64xbf16, activation, tokens>, !tile.view<?x64xbf16, output, tokens>
    }
    ```
  }];
  let arguments = (ins Tile_CollectiveKindAttr:$kind, Tile_ViewType:$input, Tile_ViewType:$output,
                       OptionalAttr<Tile_ExchangeAttr>:$exchange);
  let assemblyFormat = "$kind $input `,` $output (`through` $exchange^)? attr-dict `:` type($input) `,` type($output)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The collective that `program` is; null if it is none.
    static CollectiveOp of(ProgramOp program);

    // Of the kernel, where there is an `exchange`; `target` says how large is what goes in one shot.
    /// The most rows that are summed in one shot.
    int64_t getOneShotRows(TargetAttr target);
    /// The most rows that are exchanged in a round: at least one of a gather, all rows of a sum.
    int64_t getRoundRows(TargetAttr target);
    /// Bytes of one round's buffer that a rank needs for the largest step.
    int64_t getExchangeBytes(TargetAttr target);
    int64_t getThreads(TargetAttr target);
    /// At most one a multiprocessor, so that all of them run at the same time.
    int64_t getBlocks(TargetAttr target);
  }];
}

def Tile_ReceiveSumOp : TileOp<"receive_sum", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "A tile of the sum over ranks of their rows.";
  let description = [{
    Pushes this rank's tile of the view to memory of all ranks, waits for their tiles at the same place, and adds them in
    f32 in the order of the ranks, rounded once to the type of the rows. Elements past the end of the view are 0. The
    ops that follow it are what `all_reduce` would be followed by in kernels of their own.

    A program has one such op, and all ranks run it with the same grid and the same rows. Each element of the view is in
    the tile of one block only: a word that is pushed twice could arrive in a later round (codegen/device/peers.h).

    With `pushed`, the launch that computes this rank's rows pushes them (`tile.store ... through`), and this op only
    receives those of all ranks. No other exchange may stand between the two launches. It sends nothing, so it may
    stand in a loop or in the work of warps, and several blocks may receive the same elements.

    At the top level of a program, a sum that is pushed is received before the launch that pushes has ended. So no launch
    at all may stand between the two, and the one that pushes must not write what the program loads. The view is not read.
    In the work of warps, the op waits for earlier launches and reads this rank's rows from the view.

    Where ranks do not reach each other's memory, a communicator sums the rows in place, and the epilogue of the program
    follows: the same program with a `tile.load` instead of this op. So the view is the first argument.

    ```mlir
    tile.program @residual(%x: !tile.view<?x64xbf16, activation, tokens>, %r: !tile.view<?x64xbf16, state, tokens>)
        grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 8)> {
      %i = tile.program_id 0
      %c8 = arith.constant 8 : index
      %c0 = arith.constant 0 : index
      %row = arith.muli %i, %c8 : index
      %old = tile.load %r[%row, %c0] : !tile.view<?x64xbf16, state, tokens> -> tensor<8x64xbf16>
      %sum = tile.receive_sum %x[%row, %c0] through <ranks = 2, rows = 64>
          : !tile.view<?x64xbf16, activation, tokens> -> tensor<8x64xbf16>
      %new = arith.addf %old, %sum : tensor<8x64xbf16>
      tile.store %new, %r[%row, %c0] : tensor<8x64xbf16>, !tile.view<?x64xbf16, state, tokens>
    }
    ```
  }];
  let arguments = (ins Tile_ViewType:$view, Variadic<Index>:$offsets, Tile_ExchangeAttr:$exchange, UnitAttr:$pushed);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = [{
    $view `[` $offsets `]` `through` $exchange (`pushed` $pushed^)? attr-dict `:` type($view) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The one of `program`; null if it has none.
    static ReceiveSumOp of(ProgramOp program);
    /// Bytes of one round's buffer that a rank needs for the largest step.
    int64_t getExchangeBytes();
  }];
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
  let description = [{
    With `through`, the elements are also pushed to the exchange memory of all ranks, this one's as well, to the same place
    of the rows that this rank has there. The next launch adds them with `tile.receive_sum ... pushed`, and may start
    before this one has ended. Each element of the view is in the tile of one block only. Without peer memory nothing is
    pushed, and a communicator sums the rows of the view.

    ```mlir
    tile.store %sums, %y[%row, %column] through <ranks = 2, rows = 64>
        : tensor<8x64xbf16>, !tile.view<?x64xbf16, output, tokens>
    ```
  }];
  let arguments = (ins Tile_AnyTile:$value, Tile_ViewType:$view, Variadic<Index>:$offsets,
                       OptionalAttr<Tile_ExchangeAttr>:$exchange);
  let assemblyFormat = [{
    $value `,` $view `[` $offsets `]` (`through` $exchange^)? attr-dict `:` type($value) `,` type($view)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The one of `program` that pushes what it stores; null if none does.
    static StoreOp pushOf(ProgramOp program);
  }];
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
  let summary = "accumulator + lhs x rhs, accumulated in f32, or in i32 for operands of i8.";
  let description = [{
    lhs is M x K. rhs is K x N, or N x K with `transpose_rhs` (a weight's tile, the
    keys). Operands may be bf16, f16, f32, f8E4M3FN or i8, both the same. Hardware may keep fewer bits than f32 while it
    adds products of f8E4M3FN, so a program adds up the results of short ones itself.
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

def Tile_ConvertLayoutOp : TileOp<"convert_layout", [Pure]> {
  let summary = "The same tile in other registers.";
  let description = [{
    tile-assign-layouts puts it where a use needs another `#tile.layout` than the tile is kept in. Where a thread has all
    elements that it needs, registers get other numbers; otherwise the tile goes through shared memory. A result of
    tile.warp_reduce, which has a `#tile.shared`, is read from there.
  }];
  let arguments = (ins Tile_AnyTile:$value);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Quantized weights
//===----------------------------------------------------------------------===//

/// What the bytes of a tile of codes hold. The first of two codes of a byte is in its lower half.
def Tile_Codes : I32EnumAttr<"Codes", "meaning of stored codes", [
    I32EnumAttrCase<"U4", 0, "u4">,   // two of 0 to 15
    I32EnumAttrCase<"Nf4", 1, "nf4">, // two quantiles of the normal distribution (Dettmers et al., 2023)
    I32EnumAttrCase<"U8", 2, "u8">,
    I32EnumAttrCase<"I8", 3, "i8">,
    I32EnumAttrCase<"F8E4M3", 4, "f8e4m3">]> {
  let cppNamespace = "::inlay::tile";
  let genSpecializedAttr = 0;
}
def Tile_CodesAttr : EnumAttr<TileDialect, Tile_Codes, "codes">;

def Tile_DequantizeOp : TileOp<"dequantize", [Pure, AttrSizedOperandSegments]> {
  let summary = "(code - zero) * scale, with a scale for each row and group of columns.";
  let description = [{
    `bytes` is N x K codes: tiles of i8, a byte for each code of 8 bits or for two
    neighbouring codes of 4 bits, or of i4. Each scale is for `group` columns of its
    row, as is each zero point; without `zeros`, the zero point is `zero_point`
    everywhere, and without `scales` nothing is multiplied.

    Computed in f32 and rounded to the type of the result. For a result of bf16, scales
    are rounded to bf16 first. A product that reads codes from a ring applies scales of
    groups to its sums of f32 instead, which are not rounded.

    ```mlir
    %w = tile.dequantize u4 %b scales %s {group = 128 : i64, zero_point = 8 : i64}
         : tensor<16x512xi8>, tensor<16x8xf32> -> tensor<16x1024xf32>
    ```
  }];
  let arguments = (ins Tile_CodesAttr:$codes, Tile_AnyTile:$bytes, Optional<Tile_AnyTile>:$scales,
                       Optional<Tile_AnyTile>:$zeros, DefaultValuedAttr<I64Attr, "0">:$group,
                       DefaultValuedAttr<I64Attr, "0">:$zero_point);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = [{
    $codes $bytes (`scales` $scales^)? (`zeros` $zeros^ `:` type($zeros))? attr-dict `:` type($bytes)
    (`,` type($scales)^)? `->` type($result)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Clusters
//===----------------------------------------------------------------------===//

def Tile_ClusterRankOp : TileOp<"cluster_rank", [Pure]> {
  let summary = "This block's index among the blocks that share a program id.";
  let description = [{
    A program whose schedule has clusters of N blocks runs N of them for each point of
    its grid, all with the same program ids; the rank tells them apart.
  }];
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}

def Tile_ClusterSizeOp : TileOp<"cluster_size", [Pure]> {
  let summary = "The number of blocks that share a program id.";
  let description = [{
    What a program divides among them before its schedule is known; tile-apply-schedule puts the number in its place.
  }];
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}

def Tile_ClusterReduceOp : TileOp<"cluster_reduce", [SameOperandsAndResultType]> {
  let summary = "Combines a tile over the blocks of the cluster; each gets the result.";
  let description = [{
    All blocks of the cluster reach the op. The order of combination is that of the ranks. Of a staged tile, a block
    combines no more than the slices that it takes of the result.
  }];
  let arguments = (ins Tile_ReductionAttr:$kind, Tile_AnyTile:$value);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$kind $value attr-dict `:` type($value)";
}

//===----------------------------------------------------------------------===//
// The step
//===----------------------------------------------------------------------===//

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

include "dialects/tile/TileKernelOps.td"

#endif // INLAY_DIALECTS_TILE_OPS
