//===- TileTarget.td - what passes know of a chip -------------------------===//
//
// Attributes of a module, as #tile.target: the sizes of a chip, and what was measured on a card.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_TARGET
#define INLAY_DIALECTS_TILE_TARGET

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

#endif // INLAY_DIALECTS_TILE_TARGET
