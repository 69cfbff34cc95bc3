// RUN: inlay-opt %s --llm-fuse-projections --llm-form-groups="target=sm_90a max-rows=1" | FileCheck %s
// Products that are not stored as pairs of rope's halves, and the append of their heads.

llm.weight @q : tensor<8x8xbf16> from ["q"]
llm.weight @k : tensor<8x8xbf16> from ["k"]
llm.weight @v : tensor<8x8xbf16> from ["v"]
llm.rope_table @part : tensor<16x2xf32> {inv_freq = array<f64: 1.0>}

// Rope of a part of each head: the rows are stored as they are, and a kernel rotates and appends.
// CHECK: llm.weight @l0.attn.qkv_proj.weight : tensor<24x8xbf16> from ["q", "k", "v"]
// CHECK-NOT: half_pairs
// CHECK-LABEL: func.func @partial
// CHECK: %[[QKV:.*]]:3 = llm.group "l0.attn.qkv_proj" family("matvec")
// CHECK-NEXT: llm.linear
// CHECK-NEXT: llm.yield
// CHECK: llm.group "l0.attn.append" family("rows") -> tensor<?x8xbf16>, !llm.kv_cache {
// CHECK-NEXT: %[[Q:.*]] = llm.rope %[[QKV]]#0
// CHECK-NEXT: %[[K:.*]] = llm.rope %[[QKV]]#1
// CHECK-NEXT: llm.kv_append %arg2, %[[K]], %[[QKV]]#2
// CHECK-NEXT: llm.yield
func.func @partial(%x: tensor<?x8xbf16>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x8xbf16>, !llm.kv_cache) {
  %q = llm.linear %x, @q : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.attn.q_proj")
  %k = llm.linear %x, @k : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.attn.k_proj")
  %v = llm.linear %x, @v : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.attn.v_proj")
  %qr = llm.rope %q, %batch, @part {head_dim = 4 : i64} : (tensor<?x8xbf16>, !llm.batch) -> tensor<?x8xbf16> loc("l0.attn.q_rope")
  %kr = llm.rope %k, %batch, @part {head_dim = 4 : i64} : (tensor<?x8xbf16>, !llm.batch) -> tensor<?x8xbf16> loc("l0.attn.k_rope")
  %kv1 = llm.kv_append %kv, %kr, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xbf16>, tensor<?x8xbf16>, !llm.batch) -> !llm.kv_cache loc("l0.attn.kv_append")
  %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x8xbf16> loc("l0.attn.attention")
  return %a, %kv1 : tensor<?x8xbf16>, !llm.kv_cache
}

// No rope at all: keys and values are appended, queries are read where the product wrote them.
// CHECK-LABEL: func.func @no_rope
// CHECK: llm.group "l0.attn.append" family("rows") -> !llm.kv_cache {
// CHECK-NEXT: llm.kv_append
// CHECK-NEXT: llm.yield
// CHECK: llm.paged_attention %arg0
func.func @no_rope(%q: tensor<?x8xbf16>, %k: tensor<?x8xbf16>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x8xbf16>, !llm.kv_cache) {
  %kv1 = llm.kv_append %kv, %k, %k, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xbf16>, tensor<?x8xbf16>, !llm.batch) -> !llm.kv_cache loc("l0.attn.append")
  %a = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x8xbf16> loc("l0.attn.attention")
  return %a, %kv1 : tensor<?x8xbf16>, !llm.kv_cache
}

// A rotation that something else reads too stays a kernel of its own.
// CHECK-LABEL: func.func @shared_rotation
// CHECK: %[[K:.*]] = llm.group "l0.attn.k_rope" family("rows")
// CHECK-NEXT: llm.rope
// CHECK: llm.group "l0.attn.append" family("rows") -> !llm.kv_cache {
// CHECK-NEXT: llm.kv_append %{{.*}}, %[[K]]
func.func @shared_rotation(%k: tensor<?x8xbf16>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x8xbf16>, !llm.kv_cache) {
  %kr = llm.rope %k, %batch, @part {head_dim = 4 : i64} : (tensor<?x8xbf16>, !llm.batch) -> tensor<?x8xbf16> loc("l0.attn.k_rope")
  %kv1 = llm.kv_append %kv, %kr, %k, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xbf16>, tensor<?x8xbf16>, !llm.batch) -> !llm.kv_cache loc("l0.attn.append")
  return %kr, %kv1 : tensor<?x8xbf16>, !llm.kv_cache
}
