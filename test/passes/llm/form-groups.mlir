// RUN: inlay-opt %s --llm-fuse-projections --llm-form-groups="target=cpu max-rows=512" | FileCheck %s -DMATRIX=gemm --check-prefixes=CHECK,FUSED
// RUN: inlay-opt %s --llm-fuse-projections --llm-form-groups="target=sm_90a max-rows=1" | FileCheck %s -DMATRIX=matvec --check-prefixes=CHECK,FUSED
// RUN: inlay-opt %s --llm-fuse-projections --llm-form-groups="target=sm_90a max-rows=9" | FileCheck %s -DMATRIX=swap_ab --check-prefixes=CHECK,APART
// RUN: inlay-opt %s --llm-fuse-projections --llm-form-groups="target=sm_90a max-rows=257" | FileCheck %s -DMATRIX=gemm --check-prefixes=CHECK,APART
// RUN: inlay-opt %s --llm-fuse-projections --llm-form-groups="target=sm_90a max-rows=8" | FileCheck %s --check-prefix=SHORT
// A layer of Llama becomes five kernels. If TMA stages the activations, norms are separate kernels.

// A separate kernel scales several short rows once. Otherwise every block of the products would scale them again.
// SHORT: llm.group "l0.input_norm" family("rows")
// SHORT: llm.group "l0.qkv_proj" family("swap_ab")
// SHORT: llm.group "l0.o_proj" family("matvec")
// SHORT: llm.group "l0.gate_up_proj" family("swap_ab")
// SHORT: llm.group "l0.down_proj" family("matvec")

// CHECK-LABEL: func.func @step
// CHECK: %[[X0:.*]] = llm.group "embed" family("rows") -> tensor<?x8xbf16> {
// CHECK-NEXT: llm.embedding
// CHECK-NEXT: llm.yield

// APART: %[[N0:.*]] = llm.group "l0.input_norm" family("rows")
// APART-NEXT: llm.rms_norm %[[X0]]
// APART-NEXT: llm.yield

// CHECK: %[[QKV:.*]]:2 = llm.group "l0.qkv_proj" family("[[MATRIX]]") -> tensor<?x8xbf16>, !llm.kv_cache {
// FUSED-NEXT: llm.rms_norm %[[X0]]
// CHECK-NEXT: llm.linear
// CHECK-NEXT: %[[Q:.*]] = llm.rope
// CHECK-NEXT: llm.rope
// CHECK-NEXT: %[[KV:.*]] = llm.kv_append %arg2
// CHECK-NEXT: llm.yield %[[Q]], %[[KV]]

// CHECK: %[[A:.*]] = llm.group "l0.attention" family("attention")
// CHECK-NEXT: llm.paged_attention %[[QKV]]#0, %[[QKV]]#1
// CHECK-NEXT: llm.yield

// CHECK: %[[X1:.*]] = llm.group "l0.o_proj" family("[[MATRIX]]")
// CHECK-NEXT: %[[O:.*]] = llm.linear %[[A]]
// CHECK-NEXT: llm.add %[[X0]], %[[O]]
// CHECK-NEXT: llm.yield

// APART: llm.group "l0.post_norm" family("rows")
// CHECK: %[[H:.*]] = llm.group "l0.gate_up_proj" family("[[MATRIX]]")
// FUSED-NEXT: llm.rms_norm %[[X1]]
// CHECK-NEXT: llm.linear
// CHECK-NEXT: llm.gated_activation
// CHECK-NEXT: llm.yield

// CHECK: %[[X2:.*]] = llm.group "l0.down_proj" family("[[MATRIX]]")
// CHECK-NEXT: %[[D:.*]] = llm.linear %[[H]]
// CHECK-NEXT: llm.add %[[X1]], %[[D]]
// CHECK-NEXT: llm.yield

// APART: llm.group "last" family("rows")
// APART-NEXT: llm.gather_rows %[[X2]]
// APART-NEXT: llm.rms_norm
// APART-NEXT: llm.yield

// CHECK: %[[LOGITS:.*]] = llm.group "lm_head" family("[[MATRIX]]")
// FUSED-NEXT: llm.gather_rows %[[X2]]
// FUSED-NEXT: llm.rms_norm
// CHECK-NEXT: llm.linear
// CHECK-NEXT: llm.yield
// CHECK: %[[NEXT:.*]] = llm.group "sampler" family("sample")
// CHECK-NEXT: llm.sample %[[LOGITS]]
// CHECK-NEXT: llm.yield
// CHECK: return %[[LOGITS]], %[[NEXT]], %[[QKV]]#1
llm.weight @embed : tensor<32x8xbf16> from ["embed"]
llm.weight @norm0 : tensor<8xbf16> from ["norm0"]
llm.weight @norm1 : tensor<8xbf16> from ["norm1"]
llm.weight @norm2 : tensor<8xbf16> from ["norm2"]
llm.weight @q : tensor<8x8xbf16> from ["q"]
llm.weight @k : tensor<4x8xbf16> from ["k"]
llm.weight @v : tensor<4x8xbf16> from ["v"]
llm.weight @o : tensor<8x8xbf16> from ["o"]
llm.weight @gate : tensor<16x8xbf16> from ["gate"]
llm.weight @up : tensor<16x8xbf16> from ["up"]
llm.weight @down : tensor<8x16xbf16> from ["down"]
llm.rope_table @rope : tensor<16x4xf32> {inv_freq = array<f64: 1.0, 0.1>}
func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x32xf32>, tensor<?xi32>, !llm.kv_cache) {
  %x0 = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x8xbf16> loc("embed")
  %n0 = llm.rms_norm %x0, @norm0 {eps = 1.0e-5 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.input_norm")
  %q = llm.linear %n0, @q : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.q_proj")
  %k = llm.linear %n0, @k : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("l0.k_proj")
  %v = llm.linear %n0, @v : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("l0.v_proj")
  %qr = llm.rope %q, %batch, @rope {head_dim = 4 : i64} : (tensor<?x8xbf16>, !llm.batch) -> tensor<?x8xbf16> loc("l0.q_rope")
  %kr = llm.rope %k, %batch, @rope {head_dim = 4 : i64} : (tensor<?x4xbf16>, !llm.batch) -> tensor<?x4xbf16> loc("l0.k_rope")
  %kv1 = llm.kv_append %kv, %kr, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x4xbf16>, tensor<?x4xbf16>, !llm.batch) -> !llm.kv_cache loc("l0.append")
  %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x8xbf16> loc("l0.attention")
  %o = llm.linear %a, @o : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.o_proj")
  %x1 = llm.add %x0, %o : tensor<?x8xbf16> loc("l0.residual")
  %n1 = llm.rms_norm %x1, @norm1 {eps = 1.0e-5 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("l0.post_norm")
  %g = llm.linear %n1, @gate : (tensor<?x8xbf16>) -> tensor<?x16xbf16> loc("l0.gate_proj")
  %u = llm.linear %n1, @up : (tensor<?x8xbf16>) -> tensor<?x16xbf16> loc("l0.up_proj")
  %h = llm.gated_activation silu %g, %u : tensor<?x16xbf16> loc("l0.activation")
  %d = llm.linear %h, @down : (tensor<?x16xbf16>) -> tensor<?x8xbf16> loc("l0.down_proj")
  %x2 = llm.add %x1, %d : tensor<?x8xbf16> loc("l0.residual2")
  %last = llm.gather_rows %x2, %batch : (tensor<?x8xbf16>, !llm.batch) -> tensor<?x8xbf16> loc("last")
  %n2 = llm.rms_norm %last, @norm2 {eps = 1.0e-5 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16> loc("norm")
  %logits = llm.linear %n2, @embed : (tensor<?x8xbf16>) -> tensor<?x32xf32> loc("lm_head")
  %next = llm.sample %logits, %batch : (tensor<?x32xf32>, !llm.batch) -> tensor<?xi32> loc("sampler")
  return %logits, %next, %kv1 : tensor<?x32xf32>, tensor<?xi32>, !llm.kv_cache
}
