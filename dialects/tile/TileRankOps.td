//===- TileRankOps.td - what ranks do together ----------------------------===//
//
// Ops that exchange rows of the step with other ranks. Rows that a kernel pushes ahead of them are those of
// tile.store ... through (TileOps.td).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_RANK_OPS
#define INLAY_DIALECTS_TILE_RANK_OPS

/// What ranks do together; the numbers are those of CollectiveOp in plan.fbs.
def Tile_CollectiveKind : I32EnumAttr<"CollectiveKind", "how values of ranks are combined", [
    I32EnumAttrCase<"AllReduce", 0, "all_reduce">,
    I32EnumAttrCase<"AllGather", 1, "all_gather">]> {
  let cppNamespace = "::inlay::tile";
  let genSpecializedAttr = 0;
}
def Tile_CollectiveKindAttr : EnumAttr<TileDialect, Tile_CollectiveKind, "collective_kind">;

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

    With `early` as well, the sum is received before the launch that pushes has ended: ahead of `griddepcontrol.wait`. So no
    launch at all may stand between the two, and the one that pushes must not write what the program loads. The view is
    not read, and the op stands at the top level of its program. A pushed sum that stands elsewhere, in front of a product, is
    not early: it waits for earlier launches and reads this rank's rows from the view. `llm-push-sums` decides which sums are
    early.

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
  let arguments = (ins Tile_ViewType:$view, Variadic<Index>:$offsets, Tile_ExchangeAttr:$exchange, UnitAttr:$pushed,
                       UnitAttr:$early);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = [{
    $view `[` $offsets `]` `through` $exchange (`pushed` $pushed^)? (`early` $early^)? attr-dict `:` type($view)
    `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The one of `program`; null if it has none.
    static ReceiveSumOp of(ProgramOp program);
    /// Bytes of one round's buffer that a rank needs for the largest step.
    int64_t getExchangeBytes();
  }];
}

#endif // INLAY_DIALECTS_TILE_RANK_OPS
