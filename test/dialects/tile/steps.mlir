// RUN: inlay-opt %s | inlay-opt | FileCheck %s
// An entry point, its launches, and each kind of memory behind a view.

llm.weight @table : tensor<64x32xbf16> from ["table"]
tile.program @program(%ids: !tile.view<?xi32, meta, tokens>, %table: !tile.view<64x32xbf16, weight>,
                      %keys: !tile.view<?x32xbf16, kv, kv_rows>, %values: !tile.view<?x32xbf16, kv, kv_rows>,
                      %x: !tile.view<?x32xbf16, state, tokens>, %logits: !tile.view<?x64xf32, activation, logit_rows>,
                      %tokens: !tile.view<?xi32, output, logit_rows>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
}
// CHECK: tile.entry @step mixed attributes {max_sequences = 2 : i64, max_tokens = 4 : i64, query_tile_rows = 16 : i64, workspace_bytes = 512 : i64} {
// CHECK-NEXT: tile.launch model @program(metadata TokenIds, weight @table, key_cache 0, value_cache 1, workspace 256, logits, tokens) {origin = "layers.0"}
// CHECK-NEXT: }
tile.entry @step mixed attributes {max_sequences = 2 : i64, max_tokens = 4 : i64, query_tile_rows = 16 : i64, workspace_bytes = 512 : i64} {
  tile.launch model @program(metadata TokenIds, weight @table, key_cache 0, value_cache 1, workspace 256, logits, tokens) {origin = "layers.0"}
}
// CHECK: tile.entry @other decode {{.*}}memory = #tile.memory<workspace 256>
tile.entry @other decode attributes {max_sequences = 4 : i64, max_tokens = 4 : i64, query_tile_rows = 1 : i64, workspace_bytes = 0 : i64, memory = #tile.memory<workspace 256>} {
}
