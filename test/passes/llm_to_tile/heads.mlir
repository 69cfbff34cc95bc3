// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups,func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s
// Norms, rotations and the append of heads of 20 columns, of which 8 rotate: parts of 4 columns.

// CHECK-DAG: #[[HEADS:.*]] = affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0)>
// Blocks 0 to 3 are heads of queries, 4 and 5 of keys, 6 and 7 of values.
// CHECK-LABEL: tile.program @step_append
// CHECK-SAME: grid #[[HEADS]]
// CHECK: %[[HEAD:.*]] = tile.program_id 0
// CHECK: %[[ISQUERY:.*]] = arith.cmpi ult, %[[HEAD]], %c4
// CHECK: scf.if %[[ISQUERY]] {

// Queries: a layer norm of each head with the head's own weight, then rope.
// CHECK: %[[FIRST:.*]] = arith.muli %[[HEAD]], %c20
// CHECK: %[[START:.*]] = arith.addi %[[FIRST]], %c0
// CHECK-COUNT-5: tile.load {{.*}} -> tensor<1x4xbf16>
// CHECK-COUNT-5: tile.reduce add
// CHECK-COUNT-5: arith.subf
// CHECK-COUNT-5: tile.reduce add
// CHECK: math.rsqrt
// CHECK: tile.load %arg2[%[[START]]] : <80xbf16, weight> -> tensor<4xbf16>
// CHECK-COUNT-2: tile.gather {{.*}} : <64x8xf32, weight>, tensor<1xi32> -> tensor<1x4xf32>
// CHECK-COUNT-5: tile.store

// CHECK: } else {
// CHECK: %[[ISKEY:.*]] = arith.cmpi ult, %[[HEAD]], %c6
// CHECK: scf.if %[[ISKEY]] {
// CHECK: arith.subi %[[HEAD]], %c4
// CHECK-COUNT-2: tile.gather {{.*}} : <64x8xf32, weight>, tensor<1xi32> -> tensor<1x4xf32>
// CHECK-COUNT-5: tile.scatter {{.*}} <?x20xbf16, kv, kv_rows>
// CHECK: } else {
// CHECK: arith.subi %[[HEAD]], %c6
// CHECK-NOT: tile.gather {{.*}}64x8xf32
// CHECK-COUNT-5: tile.scatter {{.*}} <?x20xbf16, kv, kv_rows>
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x80xbf16> from ["embed"]
  llm.weight @small : tensor<100x40xbf16> from ["small"]
  llm.weight @q_norm : tensor<4x20xbf16> from ["q_norm"]
  llm.rope_table @rope : tensor<64x8xf32> {inv_freq = array<f64: 1.0, 0.3, 0.1, 0.03>}
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x80xbf16>, !llm.kv_cache)
      attributes {llm.entry = {kind = "decode", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %q = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x80xbf16> loc("q")
    %k = llm.embedding %tokens, @small : (tensor<?xi32>) -> tensor<?x40xbf16> loc("k")
    %qn = llm.layer_norm %q, @q_norm {eps = 1.0e-5 : f64, group = 20 : i64} : (tensor<?x80xbf16>) -> tensor<?x80xbf16> loc("q_norm")
    %qr = llm.rope %qn, %batch, @rope {head_dim = 20 : i64} : (tensor<?x80xbf16>, !llm.batch) -> tensor<?x80xbf16> loc("q_rope")
    %kr = llm.rope %k, %batch, @rope {head_dim = 20 : i64} : (tensor<?x40xbf16>, !llm.batch) -> tensor<?x40xbf16> loc("k_rope")
    %kv1 = llm.kv_append %kv, %kr, %k, %batch {layer = 0 : i64, head_dim = 20 : i64}
        : (!llm.kv_cache, tensor<?x40xbf16>, tensor<?x40xbf16>, !llm.batch) -> !llm.kv_cache loc("append")
    %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 20 : i64, scale = 0.5 : f64}
        : (tensor<?x80xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x80xbf16> loc("attention")
    return %a, %kv1 : tensor<?x80xbf16>, !llm.kv_cache
  }
}
