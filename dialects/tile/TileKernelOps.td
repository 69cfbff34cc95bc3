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

def Tile_YieldOp : TileOp<"yield", [Pure, Terminator, ParentOneOf<["ForWarpsOp", "IfAllOp", "InTurnOp", "WarpRolesOp"]>]> {
  let summary = "The end of a region, with its results.";
  let arguments = (ins Variadic<Tile_AnyTile>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, ::mlir::ValueRange()); }]>];
}

def Tile_StageOp : TileOp<"stage", [Pure]> {
  let summary = "The same tile, kept in shared memory.";
  let description = [{
    Slices of the result can start anywhere (`tensor.extract_slice`), also those that other warps take. Inside of
    tile.for_warps the memory belongs to one warp. Once layouts are assigned, the operand has a `#tile.layout` and the
    result a `#tile.shared`; the type of a result without one is that of the operand.
    A tile of 16 bits of which no slice is taken is staged as the left side of asynchronous products.
  }];
  let arguments = (ins Tile_AnyTile:$value);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) custom<StagedType>(ref(type($value)), type($result))";
  let builders = [OpBuilder<(ins "::mlir::Value":$value),
                            [{ build($_builder, $_state, value.getType(), value); }]>];
  let hasVerifier = 1;
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

    With results, each warp has computed a part of an online softmax: for each row a maximum, a sum, and sums of values.
    They are merged as by `tile.cluster_merge`, and are tiles of the block.

    ```mlir
    %merged:3 = tile.for_warps %warp in 8 {
      ...                                     // over every eighth step of keys
      tile.yield %top, %sum, %out : tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>
    } merge -> (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>)
    ```
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntPositive]>:$count, Variadic<Tile_AnyTile>:$divided);
  let results = (outs Variadic<Tile_AnyTile>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "int64_t":$count, CArg<"::mlir::ValueRange", "{}">:$divided,
                                 CArg<"::mlir::TypeRange", "{}">:$results)>];
  let extraClassDeclaration = [{
    /// The number of the warp that runs the body.
    ::mlir::BlockArgument getWarp() { return getBody().getArgument(0); }
    /// The warp's rows of the divided tiles.
    auto getParts() { return getBody().getArguments().drop_front(); }
    /// What a warp has of `tile`, one of `count`; null where the rows cannot be divided.
    /// Of a tile with a layout, these are the rows that the number of the warp chooses.
    static ::mlir::RankedTensorType partOf(::mlir::Type tile, int64_t count);
  }];
}

def Tile_ClusterMergeOp : TileOp<"cluster_merge"> {
  let summary = "Merges the parts of an online softmax that the blocks of the cluster have.";
  let description = [{
    A part has, for each row, a maximum `top`, a sum, and a row `out` of sums, relative to 2^top. Of parts i,

        top = max top_i    sum = the sum of sum_i * 2^(top_i - top)    out = the sum of out_i * 2^(top_i - top)

    All blocks of the cluster reach the op. With layouts, each block may have a part of the results (`block`).
  }];
  let arguments = (ins Variadic<Tile_AnyTile>:$parts);
  let results = (outs Variadic<Tile_AnyTile>:$results);
  let assemblyFormat = "$parts attr-dict `:` functional-type($parts, $results)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::ValueRange":$parts),
                            [{ build($_builder, $_state, parts.getTypes(), parts); }]>];
}

def Tile_UnwrittenOp : TileOp<"unwritten"> {
  let summary = "Says until where a loop reads rows of a cache that no launch of the step writes.";
  let description = [{
    Iterations of the next op, an scf.for, whose index is less than `limit` gather rows of views with the provenance `kv`
    that earlier steps wrote. They may be fetched before `tile.depend`.

    ```mlir
    tile.unwritten %limit
    scf.for %at = %from to %to step %c128 { ... }
    ```
  }];
  let arguments = (ins Index:$limit);
  let assemblyFormat = "$limit attr-dict";
  let hasVerifier = 1;
}

def Tile_IfAllOp : TileOp<"if_all", [NoRegionArguments, RecursiveMemoryEffects]> {
  let summary = "Runs the first region where all elements of a condition hold, else the second.";
  let description = [{
    Each warp may decide by the elements of its own rows, so both regions give the same where all of them hold. No warp
    waits for another in them.

    ```mlir
    %kept = tile.if_all %seen : tensor<128xi1> {
      tile.yield %scores : tensor<128x64xf32>
    } else {
      ...
      tile.yield %masked : tensor<128x64xf32>
    } -> tensor<128x64xf32>
    ```
  }];
  let arguments = (ins Tile_AnyTile:$condition);
  let results = (outs Variadic<Tile_AnyTile>:$results);
  let regions = (region SizedRegion<1>:$all, SizedRegion<1>:$some);
  let assemblyFormat = "$condition `:` type($condition) $all `else` $some attr-dict (`->` type($results)^)?";
  let hasVerifier = 1;
}

def Tile_WarpReduceOp : TileOp<"warp_reduce"> {
  let summary = "Combines tiles over the warps of tile.for_warps; each warp gets the results.";
  let description = [{
    All warps reach the op, as often as each other. The order of combination is that of the warps. The results lie in
    shared memory; a warp combines no more than it reads of them. Once layouts are assigned, the operands have a
    `#tile.layout` and the results a `#tile.shared`.

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
  let assemblyFormat = "$kind $values attr-dict `:` type($values) custom<StagedTypes>(ref(type($values)), type($results))";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

def Tile_RingType : TileType<"Ring", "ring"> {
  let summary = "Slots in shared memory, each with room for one tile of each kind.";
  let description = [{
    `!tile.ring<4 x (tensor<128x64xbf16>, tensor<64x64xbf16>)>`: the slots are filled, read and filled again in turn.
    The n-th `tile.acquire` and the n-th `tile.wait` mean the same slot. In a slot, a tile is cut into slabs of 128 bytes
    a row.
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
  let extraClassDeclaration = [{
    /// Whether each warp of a tile.for_warps has such a ring.
    bool isOfWarp();
  }];
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
    packed, they are undefined. With `evict_first`, no other block reads the tile. With `unwritten`, no launch of the step
    writes it (tile.unwritten).
  }];
  let arguments = (ins Tile_ViewType:$view, Variadic<Index>:$offsets, Tile_RingType:$ring, Index:$slot,
                       ConfinedAttr<I64Attr, [IntNonNegative]>:$tile, UnitAttr:$evict_first, UnitAttr:$unwritten);
  let assemblyFormat = [{
    $view `[` $offsets `]` `to` $ring `[` $slot `]` $tile (`evict_first` $evict_first^)? (`unwritten` $unwritten^)?
    attr-dict `:` type($view) `,` type($ring)
  }];
  let hasVerifier = 1;
}

def Tile_FetchRowsOp : TileOp<"fetch_rows"> {
  let summary = "Starts the copies of rows of a view to a slot, in runs of neighbours.";
  let description = [{
    Row i of the tile is row `indices[i]` of the view, from column 0 on. The indices of each `run` rows of the tile follow
    each other as far as they are not negative, so that one copy brings a run. Rows of a run whose first index is negative
    are 0. In other runs, the rows without an index hold whatever lies there; `tile.clear_rows` makes them 0.

    Floats of the view may be narrower than those of the slot: they are widened on the way, by the warps that fetch.
  }];
  let arguments = (ins Tile_ViewType:$view, Tile_IndexTile:$indices, ConfinedAttr<I64Attr, [IntPositive]>:$run,
                       Tile_RingType:$ring, Index:$slot, ConfinedAttr<I64Attr, [IntNonNegative]>:$tile);
  let assemblyFormat = [{
    $view `[` $indices `]` `run` $run `to` $ring `[` $slot `]` $tile attr-dict
    `:` type($view) `,` type($indices) `,` type($ring)
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

def Tile_ClearRowsOp : TileOp<"clear_rows", [AllTypesMatch<["tile", "result"]>]> {
  let summary = "Makes those rows of a slot's tile 0 for which `held` is false.";
  let description = [{
    The tile was brought by `tile.fetch_rows` in runs of `run` rows, of which those whose first row is not held are 0
    already. In a run, no row is held after one that is not.
  }];
  let arguments = (ins Tile_AnyTile:$tile, Tile_AnyTile:$held, ConfinedAttr<I64Attr, [IntPositive]>:$run);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$tile `where` $held `run` $run attr-dict `:` type($tile) `,` type($held)";
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
  let summary = "Starts accumulator + lhs x rhs.";
  let description = [{
    lhs is M x K: a tile in shared memory, or any tile, which is then read from registers. rhs is a tile in shared memory,
    N x K, or K x N with `columns`. The result is used by nothing but other products and `tile.dot_wait`.
  }];
  let arguments = (ins Tile_AnyTile:$lhs, Tile_AnyTile:$rhs, Tile_AnyTile:$accumulator, UnitAttr:$columns);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `,` $accumulator (`columns` $columns^)? attr-dict `:` type($lhs) `,` type($rhs) `,` type($accumulator)
  }];
  let hasVerifier = 1;
}

def Tile_DotWaitOp : TileOp<"dot_wait", [
    TypesMatchWith<"results are the sums", "sums", "results", "$_self">]> {
  let summary = "Waits until at most `pending` of the products that were started are not done.";
  let description = "With 0, the results can be used.";
  let arguments = (ins Variadic<Tile_AnyTile>:$sums, ConfinedAttr<I64Attr, [IntNonNegative]>:$pending);
  let results = (outs Variadic<Tile_AnyTile>:$results);
  let assemblyFormat = "$sums `pending` $pending attr-dict `:` type($sums)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::ValueRange":$sums, "int64_t":$pending),
                            [{ build($_builder, $_state, sums.getTypes(), sums, pending); }]>];
}

def Tile_InTurnOp : TileOp<"in_turn", [NoRegionArguments]> {
  let summary = "Work that the warpgroups of the consumers do one after the other.";
  let description = [{
    The first warpgroup begins, and each lets the next one begin when it has ended, which lets the first one begin again.
    All of them reach the op equally often. Products that are started in it go on after it, so that the products of one
    warpgroup run beside what another one does in registers.

    ```mlir
    %sums = tile.in_turn {
      %started = tile.dot_async %weights, %values, %outputs columns : ...
      tile.yield %started : tensor<128x64xf32>
    } -> tensor<128x64xf32>
    ```
  }];
  let results = (outs Variadic<Tile_AnyTile>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$body attr-dict (`->` type($results)^)?";
  let hasVerifier = 1;
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
