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
