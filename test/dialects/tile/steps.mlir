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

// A sum that is early follows the launch that pushes its rows, to memory next to that of the residual.
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
// CHECK: tile.entry @early
tile.entry @early mixed attributes {max_sequences = 4 : i64, max_tokens = 4 : i64, query_tile_rows = 1 : i64, workspace_bytes = 1024 : i64} {
  tile.launch model @push(workspace 512, workspace 0) {origin = ""}
  // CHECK: tile.launch model @sum(workspace 0, workspace 128)
  tile.launch model @sum(workspace 0, workspace 128) {origin = ""}
}
