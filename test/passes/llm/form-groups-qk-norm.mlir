// RUN: inlay-opt %s --llm-fuse-projections --llm-form-groups="target=sm_90a max-rows=1" | FileCheck %s
// With norms of heads (Qwen3), the product is stored, and a second kernel normalizes, rotates and appends.

// CHECK: %[[QKV:.*]]:3 = llm.group "l0.self_attn.qkv_proj" family("matvec") -> tensor<?x8xbf16>, tensor<?x4xbf16>, tensor<?x4xbf16> {
// CHECK-NEXT: llm.rms_norm
// CHECK-NEXT: llm.linear
// CHECK-NEXT: llm.yield
// CHECK: %[[APPEND:.*]]:2 = llm.group "l0.self_attn.append" family("rows") -> tensor<?x8xbf16>, !llm.kv_cache {
// CHECK-NEXT: %[[QN:.*]] = llm.rms_norm %[[QKV]]#0
// CHECK-NEXT: %[[KN:.*]] = llm.rms_norm %[[QKV]]#1
// CHECK-NEXT: %[[Q:.*]] = llm.rope %[[QN]]
// CHECK-NEXT: %[[K:.*]] = llm.rope %[[KN]]
// CHECK-NEXT: %[[KV:.*]] = llm.kv_append %arg2, %[[K]], %[[QKV]]#2
// CHECK-NEXT: llm.yield %[[Q]], %[[KV]]
// CHECK: llm.paged_attention %[[APPEND]]#0, %[[APPEND]]#1
llm.weight @norm : tensor<8xbf16> from ["norm"]
llm.weight @q : tensor<8x8xbf16> from ["q"]
llm.weight @k : tensor<4x8xbf16> from ["k"]
llm.weight @v : tensor<4x8xbf16> from ["v"]
llm.weight @q_norm : tensor<4xbf16> from ["q_norm"]
llm.weight @k_norm : tensor<4xbf16> from ["k_norm"]
llm.rope_table @rope : tensor<16x4xf32> {inv_freq = array<f64: 1.0, 0.1>}
func.func @step(%x: tensor<?x8xbf16>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x8xbf16>, !llm.kv_cache) {
  %n = llm.rms_norm %x, @norm {eps = 1.0e-6 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.input_norm")
  %q = llm.linear %n, @q : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.self_attn.q_proj")
  %k = llm.linear %n, @k : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("l0.self_attn.k_proj")
  %v = llm.linear %n, @v : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("l0.self_attn.v_proj")
  %qn = llm.rms_norm %q, @q_norm {eps = 1.0e-6 : f64, group = 4 : i64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.self_attn.q_norm")
  %kn = llm.rms_norm %k, @k_norm {eps = 1.0e-6 : f64, group = 4 : i64} : (tensor<?x4xbf16>) -> tensor<?x4xbf16> loc("l0.self_attn.k_norm")
  %qr = llm.rope %qn, %batch, @rope {head_dim = 4 : i64} : (tensor<?x8xbf16>, !llm.batch) -> tensor<?x8xbf16> loc("l0.self_attn.q_rope")
  %kr = llm.rope %kn, %batch, @rope {head_dim = 4 : i64} : (tensor<?x4xbf16>, !llm.batch) -> tensor<?x4xbf16> loc("l0.self_attn.k_rope")
  %kv1 = llm.kv_append %kv, %kr, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x4xbf16>, tensor<?x4xbf16>, !llm.batch) -> !llm.kv_cache
  %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x8xbf16> loc("l0.self_attn")
  return %a, %kv1 : tensor<?x8xbf16>, !llm.kv_cache
}
