//===- TileKernelOps.td - what a scheduled program adds --------------------===//
//
// tile-apply-schedule divides a program's work over blocks and warps: tile.stage and
// tile.for_warps. Both run on the cpu target as well. The passes after it make copies
// and products asynchronous: rings, roles of warps, and products that are waited for.
// Only the cuda target takes those.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_KERNEL_OPS
#define INLAY_DIALECTS_TILE_KERNEL_OPS

//===----------------------------------------------------------------------===//
// Work of warps
//===----------------------------------------------------------------------===//

def Tile_YieldOp : TileOp<"yield", [Pure, Terminator, ParentOneOf<["ForWarpsOp", "WarpRolesOp"]>]> {
  let summary = "The end of a region, with its results.";
  let arguments = (ins Variadic<Tile_AnyTile>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, ::mlir::ValueRange()); }]>];
}

def Tile_StageOp : TileOp<"stage", [Pure, SameOperandsAndResultType]> {
  let summary = "The same tile, kept in shared memory.";
  let description = [{
    Slices of the result can start anywhere (`tensor.extract_slice`), also those that other warps take. Inside of
    tile.for_warps the memory belongs to one warp.
  }];
  let arguments = (ins Tile_AnyTile:$value);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

def Tile_ForWarpsOp : TileOp<"for_warps", [SingleBlockImplicitTerminator<"YieldOp">, RecursiveMemoryEffects]> {
  let summary = "Runs the body once for each of `count` warps.";
  let description = [{
    Tiles of the body are those of one warp; the warps don't wait for each other. The rows of the tiles in parentheses
    are divided among them.

    ```mlir
    tile.for_warps %warp in 8 (%own = %sums : tensor<128x256xf32>) {
      // %own : tensor<16x256xf32>
    }
    ```
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntPositive]>:$count, Variadic<Tile_AnyTile>:$divided);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "int64_t":$count, CArg<"::mlir::ValueRange", "{}">:$divided)>];
  let extraClassDeclaration = [{
    /// The number of the warp that runs the body.
    ::mlir::BlockArgument getWarp() { return getBody().getArgument(0); }
    /// The warp's rows of the divided tiles.
    auto getParts() { return getBody().getArguments().drop_front(); }
    /// What a warp has of `tile`, one of `count`; null where the rows cannot be divided.
    static ::mlir::RankedTensorType partOf(::mlir::Type tile, int64_t count);
  }];
}

def Tile_WarpReduceOp : TileOp<"warp_reduce", [
    RangedTypesMatchWith<"results are as the values", "values", "results", "::llvm::to_vector($_self)">]> {
  let summary = "Combines tiles over the warps of tile.for_warps; each warp gets the results.";
  let description = [{
    All warps reach the op, as often as each other. The order of combination is that of the warps. The results lie in
    shared memory; a warp combines no more than the slices that it takes of them.

    ```mlir
    tile.for_warps %warp in 8 {
      ...                                                        // %part: over this warp's part of K
      %sum = tile.warp_reduce add %part : tensor<8x64xf32>
      %own = tensor.extract_slice %sum[0, %first] [8, 8] [1, 1] : tensor<8x64xf32> to tensor<8x8xf32>
    }
    ```
  }];
  let arguments = (ins Tile_ReductionAttr:$kind, Variadic<Tile_AnyTile>:$values);
  let results = (outs Variadic<Tile_AnyTile>:$results);
  let assemblyFormat = "$kind $values attr-dict `:` type($values)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

def Tile_RingType : TileType<"Ring", "ring"> {
  let summary = "Slots in shared memory, each with room for one tile of each kind.";
  let description = [{
    `!tile.ring<4 x (tensor<128x64xbf16>, tensor<64x64xbf16>)>`: the slots are filled, read and filled again in turn.
    The n-th `tile.acquire` and the n-th `tile.wait` mean the same slot.
  }];
  let parameters = (ins "int64_t":$stages, ArrayRefParameter<"::mlir::Type">:$tiles);
  let assemblyFormat = "`<` $stages `x` `(` $tiles `)` `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The bytes of tile `i` in a slot, and of all of them.
    int64_t tileBytes(unsigned i) const;
    int64_t slotBytes() const;
  }];
}

def Tile_RingOp : TileOp<"ring", [MemoryEffects<[MemAlloc]>]> {
  let summary = "A ring of the block, whose slots are empty; inside of tile.for_warps, one of each warp.";
  let description = [{
    The warps of a ring of the block have roles (tile.warp_roles). A warp that has a ring of its own fills and reads it:
    a slot is empty as soon as the warp has released it, so that acquire waits for nothing.
  }];
  let results = (outs Tile_RingType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Tile_AcquireOp : TileOp<"acquire"> {
  let summary = "Waits until the next slot is empty, and announces what its tiles will bring.";
  let description = [{
    `first` names a slot that was never filled, so that nothing is waited for. All slots are filled so before an acquire
    that names none, which starts the second pass.
  }];
  let arguments = (ins Tile_RingType:$ring, Optional<Index>:$first);
  let results = (outs Index:$slot);
  let assemblyFormat = "$ring (`first` $first^)? attr-dict `:` type($ring)";
}

def Tile_FetchOp : TileOp<"fetch"> {
  let summary = "Starts the copy of a rectangular tile of a view to a slot.";
  let description = [{
    `tile` is its number in the slot. Elements past the end of the view are 0; in the ring of a warp, whose weights are
    packed, they are undefined. With `evict_first`, no other block reads the tile.
  }];
  let arguments = (ins Tile_ViewType:$view, Variadic<Index>:$offsets, Tile_RingType:$ring, Index:$slot,
                       ConfinedAttr<I64Attr, [IntNonNegative]>:$tile, UnitAttr:$evict_first);
  let assemblyFormat = [{
    $view `[` $offsets `]` `to` $ring `[` $slot `]` $tile (`evict_first` $evict_first^)? attr-dict
    `:` type($view) `,` type($ring)
  }];
  let hasVerifier = 1;
}

def Tile_WaitOp : TileOp<"wait"> {
  let summary = "Waits for the tiles of the next slot.";
  let description = "They are valid until the slot is released.";
  let arguments = (ins Tile_RingType:$ring);
  let results = (outs Variadic<Tile_AnyTile>:$tiles);
  let assemblyFormat = "$ring attr-dict `:` type($ring) `->` type($tiles)";
  let hasVerifier = 1;
}

def Tile_ReleaseOp : TileOp<"release"> {
  let summary = "Lets the oldest slot that was waited for be filled again.";
  let arguments = (ins Tile_RingType:$ring);
  let assemblyFormat = "$ring attr-dict `:` type($ring)";
}

//===----------------------------------------------------------------------===//
// Asynchronous products
//===----------------------------------------------------------------------===//

def Tile_DotAsyncOp : TileOp<"dot_async", [Pure, AllTypesMatch<["accumulator", "result"]>]> {
  let summary = "Starts accumulator + lhs x rhs of two tiles in shared memory.";
  let description = [{
    lhs is M x K, rhs is N x K. The result is used by nothing but other products and `tile.dot_wait`.
  }];
  let arguments = (ins Tile_AnyTile:$lhs, Tile_AnyTile:$rhs, Tile_AnyTile:$accumulator);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `,` $accumulator attr-dict `:` type($lhs) `,` type($rhs) `,` type($accumulator)
  }];
  let hasVerifier = 1;
}

def Tile_DotWaitOp : TileOp<"dot_wait", [SameOperandsAndResultType]> {
  let summary = "Waits until at most `pending` of the products that were started are not done.";
  let description = "With 0, the result can be used.";
  let arguments = (ins Tile_AnyTile:$sums, ConfinedAttr<I64Attr, [IntNonNegative]>:$pending);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$sums `pending` $pending attr-dict `:` type($sums)";
}

//===----------------------------------------------------------------------===//
// Roles
//===----------------------------------------------------------------------===//

def Tile_WarpRolesOp : TileOp<"warp_roles", [NoRegionArguments]> {
  let summary = "Warps that compute and, beside them, warps that fetch.";
  let description = [{
    Both regions run at the same time, `consumers` by the first warps of the block and `producers` by the next. They
    meet at rings. What the consumers yield is staged, and is there for all after the op. With registers, a thread of
    the region has so many.

    ```mlir
    %sums = tile.warp_roles produce 1 {
      ...
    } consume 8 {
      ...
      tile.yield %staged : tensor<64x128xf32>
    } -> tensor<64x128xf32>
    ```
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntPositive]>:$producers, ConfinedAttr<I64Attr, [IntPositive]>:$consumers,
                       OptionalAttr<I64Attr>:$producer_registers, OptionalAttr<I64Attr>:$consumer_registers);
  let results = (outs Variadic<Tile_AnyTile>:$results);
  let regions = (region SizedRegion<1>:$produce, SizedRegion<1>:$consume);
  let assemblyFormat = [{
    `produce` $producers (`registers` $producer_registers^)? $produce
    `consume` $consumers (`registers` $consumer_registers^)? $consume
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
}

def Tile_DependOp : TileOp<"depend"> {
  let summary = "Waits for the launches before this one.";
  let assemblyFormat = "attr-dict";
}

#endif // INLAY_DIALECTS_TILE_KERNEL_OPS
