//===- TileOps.td - the tile dialect: what one block computes --------------===//
//
// A tile program says what one block of the grid computes, in whole tiles, as
// if everything were synchronous and memory had no layout. It is what the cpu
// target compiles, and what a person reads first. Here are views, programs, and
// the ops on memory and tiles. TileRankOps.td has what ranks do together,
// TileStepOps.td the launches of a step, TileKernelOps.td what a schedule adds.
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

def Tile_ExtentAttr : EnumAttr<TileDialect, Tile_Extent, "extent">;
def Tile_ReductionAttr : EnumAttr<TileDialect, Tile_Reduction, "reduction">;

include "dialects/tile/TileLayouts.td"
include "dialects/tile/TileSchedules.td"
include "dialects/tile/TileTarget.td"

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

include "dialects/tile/TileRankOps.td"

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

include "dialects/tile/TileStepOps.td"
include "dialects/tile/TileKernelOps.td"

#endif // INLAY_DIALECTS_TILE_OPS
