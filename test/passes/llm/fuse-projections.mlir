// RUN: inlay-opt %s --split-input-file --llm-fuse-projections | FileCheck %s
// RUN: inlay-opt %s --split-input-file --llm-fuse-projections=tile-columns=16 | FileCheck %s --check-prefix=TILES

// No tile of 16 columns lies in one head of 4.
// TILES: llm.weight @l0.qkv_proj.weight : tensor<16x8xbf16> from ["q", "k", "v"]
// TILES-NOT: half_pairs

// Rope follows the product of queries and keys, so rows of their heads are half_pairs. Biases have the same order.
// CHECK-NOT: @l0.q_proj
// CHECK: llm.weight @l0.qkv_proj.weight : tensor<16x8xbf16> from ["q", "k", "v"] {head_dim = 4 : i64, row_order = #llm<row_order half_pairs>}
// CHECK: llm.weight @l0.qkv_proj.bias : tensor<16xbf16> from ["q_bias", "k_bias", "v_bias"] {head_dim = 4 : i64, row_order = #llm<row_order half_pairs>}
// CHECK-LABEL: @rotated
// CHECK: %[[QKV:.*]]:3 = llm.linear %arg0, @l0.qkv_proj.weight bias @l0.qkv_proj.bias : (tensor<?x8xbf16>) -> (tensor<?x8xbf16>, tensor<?x4xbf16>, tensor<?x4xbf16>)
// CHECK: %[[Q:.*]] = llm.rope %[[QKV]]#0
// CHECK: %[[K:.*]] = llm.rope %[[QKV]]#1
// CHECK: llm.kv_append %arg2, %[[K]], %[[QKV]]#2
// CHECK: llm.paged_attention %[[Q]]
llm.weight @l0.q_proj.weight : tensor<8x8xbf16> from ["q"]
llm.weight @l0.k_proj.weight : tensor<4x8xbf16> from ["k"]
llm.weight @l0.v_proj.weight : tensor<4x8xbf16> from ["v"]
llm.weight @l0.q_proj.bias : tensor<8xbf16> from ["q_bias"]
llm.weight @l0.k_proj.bias : tensor<4xbf16> from ["k_bias"]
llm.weight @l0.v_proj.bias : tensor<4xbf16> from ["v_bias"]
llm.rope_table @rope : tensor<16x4xf32> {inv_freq = array<f64: 1.0, 0.1>}
func.func @rotated(%x: tensor<?x8xbf16>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xbf16> {
  %q = llm.linear %x, @l0.q_proj.weight bias @l0.q_proj.bias : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.q_proj")
  %k = llm.linear %x, @l0.k_proj.weight bias @l0.k_proj.bias : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("l0.k_proj")
  %v = llm.linear %x, @l0.v_proj.weight bias @l0.v_proj.bias : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("l0.v_proj")
  %qr = llm.rope %q, %batch, @rope {head_dim = 4 : i64} : (tensor<?x8xbf16>, !llm.batch) -> tensor<?x8xbf16>
  %kr = llm.rope %k, %batch, @rope {head_dim = 4 : i64} : (tensor<?x4xbf16>, !llm.batch) -> tensor<?x4xbf16>
  %kv1 = llm.kv_append %kv, %kr, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x4xbf16>, tensor<?x4xbf16>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x8xbf16>
  return %y : tensor<?x8xbf16>
}

// -----

// A norm of heads reads whole heads, so the order of rows is unchanged.
// CHECK: llm.weight @l0.qkv_proj.weight : tensor<16x8xbf16> from ["q", "k", "v"]{{$}}
// CHECK-LABEL: @normed
// CHECK: llm.linear %arg0, @l0.qkv_proj.weight :
llm.weight @l0.q_proj.weight : tensor<8x8xbf16> from ["q"]
llm.weight @l0.k_proj.weight : tensor<4x8xbf16> from ["k"]
llm.weight @l0.v_proj.weight : tensor<4x8xbf16> from ["v"]
llm.weight @l0.q_norm.weight : tensor<4xbf16> from ["q_norm"]
llm.weight @l0.k_norm.weight : tensor<4xbf16> from ["k_norm"]
llm.rope_table @rope : tensor<16x4xf32> {inv_freq = array<f64: 1.0, 0.1>}
func.func @normed(%x: tensor<?x8xbf16>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xbf16> {
  %q = llm.linear %x, @l0.q_proj.weight : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.q_proj")
  %k = llm.linear %x, @l0.k_proj.weight : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("l0.k_proj")
  %v = llm.linear %x, @l0.v_proj.weight : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("l0.v_proj")
  %qn = llm.rms_norm %q, @l0.q_norm.weight {eps = 1.0e-6 : f64, group = 4 : i64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
  %kn = llm.rms_norm %k, @l0.k_norm.weight {eps = 1.0e-6 : f64, group = 4 : i64} : (tensor<?x4xbf16>) -> tensor<?x4xbf16>
  %qr = llm.rope %qn, %batch, @rope {head_dim = 4 : i64} : (tensor<?x8xbf16>, !llm.batch) -> tensor<?x8xbf16>
  %kr = llm.rope %kn, %batch, @rope {head_dim = 4 : i64} : (tensor<?x4xbf16>, !llm.batch) -> tensor<?x4xbf16>
  %kv1 = llm.kv_append %kv, %kr, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x4xbf16>, tensor<?x4xbf16>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x8xbf16>
  return %y : tensor<?x8xbf16>
}

// -----

// Gate and up alternate, whatever their order in the graph.
// CHECK: llm.weight @mlp.gate_up_proj.weight : tensor<8x8xbf16> from ["gate", "up"] {row_order = #llm<row_order alternate>}
// CHECK-LABEL: @gated
// CHECK: %[[GATE_UP:.*]]:2 = llm.linear %arg0, @mlp.gate_up_proj.weight
// CHECK: llm.gated_activation silu %[[GATE_UP]]#0, %[[GATE_UP]]#1
llm.weight @mlp.gate_proj.weight : tensor<4x8xbf16> from ["gate"]
llm.weight @mlp.up_proj.weight : tensor<4x8xbf16> from ["up"]
func.func @gated(%x: tensor<?x8xbf16>) -> tensor<?x4xbf16> {
  %u = llm.linear %x, @mlp.up_proj.weight : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.up_proj")
  %g = llm.linear %x, @mlp.gate_proj.weight : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.gate_proj")
  %y = llm.gated_activation silu %g, %u : tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}
