// RUN: inlay-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{'tile.entry' op has max_tokens of 0, expected at least 1}}
tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 0 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
}

// -----

// expected-error @+1 {{'tile.entry' op has workspace_bytes of -1, expected at least 0}}
tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = -1 : i64} {
}

// -----

// expected-error @+1 {{'tile.entry' op takes 4 sequences in steps of 2 rows; a sequence has at least one}}
tile.entry @step mixed attributes {max_sequences = 4 : i64, max_tokens = 2 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
}

// -----

// expected-error @+1 {{'tile.entry' op of the kind decode has a row for each sequence, found 4 rows for 2 sequences in query tiles of 1}}
tile.entry @step decode attributes {max_sequences = 2 : i64, max_tokens = 4 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
}

// -----

// expected-error @+2 {{failed to parse Tile_EntryKindAttr parameter 'value'}}
// expected-error @+1 {{expected ::inlay::tile::EntryKind to be one of: decode, mixed}}
tile.entry @step prefill attributes {max_sequences = 2 : i64, max_tokens = 4 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
}

// -----

tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+1 {{'arith.constant' op stands in a tile.entry, which holds tile.launch only}}
  %c0 = arith.constant 0 : index
}

// -----

tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+1 {{'tile.launch' op launches 'program', which is no symbol of the module}}
  tile.launch model @program(workspace 0) {origin = ""}
}

// -----

llm.weight @program : tensor<64x32xbf16> from ["table"]
tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+1 {{'tile.launch' op launches 'program', which is no program but a 'llm.weight'}}
  tile.launch model @program(workspace 0) {origin = ""}
}

// -----

tile.program @program(%x: !tile.view<?xi32, state, tokens>, %y: !tile.view<?xi32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
}
tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+1 {{'tile.launch' op gives 1 arguments to 'program', which has 2}}
  tile.launch model @program(workspace 0) {origin = ""}
}

// -----

tile.program @program(%x: !tile.view<?xi32, meta, tokens>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
}
tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+1 {{'tile.launch' op gives #tile.memory<workspace 0> to argument 0 of 'program', a '!tile.view<?xi32, meta, tokens>'}}
  tile.launch model @program(workspace 0) {origin = ""}
}

// -----

tile.program @program(%x: !tile.view<4xi32, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
}
tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+1 {{'tile.launch' op gives the weight @w, which is no symbol of the module}}
  tile.launch model @program(weight @w) {origin = ""}
}

// -----

tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+1 {{'heap' is no kind of memory, expected workspace, weight, metadata, key_cache, value_cache, logits, tokens or rank}}
  tile.launch model @program(heap 0) {origin = ""}
}

// -----

tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+1 {{'Names' is no array of metadata (enum Metadata of plan.fbs)}}
  tile.launch model @program(metadata Names) {origin = ""}
}

// -----

tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+1 {{an offset into the workspace is at least 0, found -4}}
  tile.launch model @program(workspace -4) {origin = ""}
}

// -----

// expected-error @+1 {{a layer is at least 0, found -1}}
#memory = #tile.memory<key_cache -1>

// -----

tile.entry @step mixed attributes {max_sequences = 1 : i64, max_tokens = 1 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64} {
  // expected-error @+2 {{failed to parse Tile_SectionAttr parameter 'value'}}
  // expected-error @+1 {{expected ::inlay::tile::Section to be one of: model, penalties, sampling, gather, part_sampling}}
  tile.launch prefill @program() {origin = ""}
}

// -----

!x = !tile.view<?x8xf32, activation, tokens>
!r = !tile.view<?x8xf32, state, tokens>
!y = !tile.view<?x8xf32, output, tokens>
tile.program @push(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !x -> tensor<4x8xf32>
  tile.store %t, %y[%c0, %c0] through <ranks = 2, rows = 4> : tensor<4x8xf32>, !y
}
tile.program @sum(%x: !x, %r: !r) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %old = tile.load %r[%c0, %c0] : !r -> tensor<4x8xf32>
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> pushed early : !x -> tensor<4x8xf32>
  %new = arith.addf %old, %s : tensor<4x8xf32>
  tile.store %new, %r[%c0, %c0] : tensor<4x8xf32>, !r
}
tile.entry @step mixed attributes {max_sequences = 4 : i64, max_tokens = 4 : i64, query_tile_rows = 1 : i64, workspace_bytes = 1024 : i64} {
  // expected-error @+1 {{of 'sum' receives a sum early, but is the first launch of its section; expected one before it that pushes the rows}}
  tile.launch model @sum(workspace 0, workspace 256) {origin = ""}
}

// -----

!x = !tile.view<?x8xf32, activation, tokens>
!r = !tile.view<?x8xf32, state, tokens>
!y = !tile.view<?x8xf32, output, tokens>
tile.program @push(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !x -> tensor<4x8xf32>
  tile.store %t, %y[%c0, %c0] through <ranks = 2, rows = 4> : tensor<4x8xf32>, !y
}
tile.program @sum(%x: !x, %r: !r) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %old = tile.load %r[%c0, %c0] : !r -> tensor<4x8xf32>
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> pushed early : !x -> tensor<4x8xf32>
  %new = arith.addf %old, %s : tensor<4x8xf32>
  tile.store %new, %r[%c0, %c0] : tensor<4x8xf32>, !r
}
tile.entry @step mixed attributes {max_sequences = 4 : i64, max_tokens = 4 : i64, query_tile_rows = 1 : i64, workspace_bytes = 1024 : i64} {
  tile.launch model @push(workspace 512, workspace 0) {origin = ""}
  tile.launch model @sum(workspace 0, workspace 256) {origin = ""}
  // expected-error @+1 {{of 'sum' receives #tile.memory<workspace 0> early, but the launch before it, of 'sum', does not push these rows; expected the one that does}}
  tile.launch model @sum(workspace 0, workspace 256) {origin = ""}
}

// -----

!x = !tile.view<?x8xf32, activation, tokens>
!r = !tile.view<?x8xf32, state, tokens>
!y = !tile.view<?x8xf32, output, tokens>
tile.program @push(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !x -> tensor<4x8xf32>
  tile.store %t, %y[%c0, %c0] through <ranks = 2, rows = 4> : tensor<4x8xf32>, !y
}
tile.program @sum(%x: !x, %r: !r) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %old = tile.load %r[%c0, %c0] : !r -> tensor<4x8xf32>
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> pushed early : !x -> tensor<4x8xf32>
  %new = arith.addf %old, %s : tensor<4x8xf32>
  tile.store %new, %r[%c0, %c0] : tensor<4x8xf32>, !r
}
tile.entry @step mixed attributes {max_sequences = 4 : i64, max_tokens = 4 : i64, query_tile_rows = 1 : i64, workspace_bytes = 1024 : i64} {
  tile.launch model @push(workspace 512, workspace 128) {origin = ""}
  // expected-error @+1 {{of 'sum' receives #tile.memory<workspace 0> early, but the launch before it, of 'push', does not push these rows; expected the one that does}}
  tile.launch model @sum(workspace 0, workspace 256) {origin = ""}
}

// -----

// The second half of the pushed rows lies where the first half of the residual does.
!x = !tile.view<?x8xf32, activation, tokens>
!r = !tile.view<?x8xf32, state, tokens>
!y = !tile.view<?x8xf32, output, tokens>
tile.program @push(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !x -> tensor<4x8xf32>
  tile.store %t, %y[%c0, %c0] through <ranks = 2, rows = 4> : tensor<4x8xf32>, !y
}
tile.program @sum(%x: !x, %r: !r) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %old = tile.load %r[%c0, %c0] : !r -> tensor<4x8xf32>
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> pushed early : !x -> tensor<4x8xf32>
  %new = arith.addf %old, %s : tensor<4x8xf32>
  tile.store %new, %r[%c0, %c0] : tensor<4x8xf32>, !r
}
tile.entry @step mixed attributes {max_sequences = 4 : i64, max_tokens = 4 : i64, query_tile_rows = 1 : i64, workspace_bytes = 1024 : i64} {
  tile.launch model @push(workspace 512, workspace 0) {origin = ""}
  // expected-error @+1 {{of 'sum' may read argument 1 while the launch before it, of 'push', writes there; expected memory that only launches before that one write}}
  tile.launch model @sum(workspace 0, workspace 64) {origin = ""}
}
