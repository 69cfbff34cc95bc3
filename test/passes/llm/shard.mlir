// RUN: inlay-opt %s --split-input-file --llm-shard=tensor-parallel-size=2 | FileCheck %s

// Attention: rows of q, k and v, columns of o. The residual and the bias come after the sum.
// CHECK: module attributes {llm.ranks = 2 : i64}
// CHECK: llm.weight @q.weight : tensor<8x16xbf16> from [#llm.source<"q.weight", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @q.bias : tensor<8xbf16> from [#llm.source<"q.bias", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @k.weight : tensor<4x16xbf16> from [#llm.source<"qkv.weight", block = 8, offset = 4, count = 2, shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @v.weight : tensor<4x16xbf16>
// CHECK: llm.weight @o.weight : tensor<16x8xbf16> from [#llm.source<"o.weight", shard = #llm.shard<columns, parts = 2>>]
// CHECK: llm.weight @o.bias : tensor<16xbf16> from ["o.bias"]
// CHECK-LABEL: @attention
// CHECK: %[[Q:.*]] = llm.linear %arg0, @q.weight bias @q.bias : (tensor<?x16xbf16>) -> tensor<?x8xbf16>
// CHECK: %[[K:.*]] = llm.linear %arg0, @k.weight : (tensor<?x16xbf16>) -> tensor<?x4xbf16>
// CHECK: %[[QR:.*]] = llm.rope %[[Q]]
// CHECK: %[[A:.*]] = llm.paged_attention %[[QR]], {{.*}} {head_dim = 4 : i64, heads = 2 : i64, kv_heads = 1 : i64
// CHECK: %[[PART:.*]] = llm.linear %[[A]], @o.weight : (tensor<?x8xbf16>) -> tensor<?x16xbf16>
// CHECK: %[[SUM:.*]] = llm.all_reduce %[[PART]] : tensor<?x16xbf16>
// CHECK: %[[O:.*]] = llm.add_bias %[[SUM]], @o.bias : tensor<?x16xbf16>
// CHECK: llm.add %arg0, %[[O]]
llm.weight @q.weight : tensor<16x16xbf16> from ["q.weight"]
llm.weight @q.bias : tensor<16xbf16> from ["q.bias"]
llm.weight @k.weight : tensor<8x16xbf16> from [#llm.source<"qkv.weight", block = 8, offset = 4, count = 2>]
llm.weight @v.weight : tensor<8x16xbf16> from ["v.weight"]
llm.weight @o.weight : tensor<16x16xbf16> from ["o.weight"]
llm.weight @o.bias : tensor<16xbf16> from ["o.bias"]
llm.rope_table @rope : tensor<16x4xf32> {inv_freq = array<f64: 1.0, 0.1>}
func.func @attention(%x: tensor<?x16xbf16>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x16xbf16> {
  %q = llm.linear %x, @q.weight bias @q.bias : (tensor<?x16xbf16>) -> tensor<?x16xbf16>
  %k = llm.linear %x, @k.weight : (tensor<?x16xbf16>) -> tensor<?x8xbf16>
  %v = llm.linear %x, @v.weight : (tensor<?x16xbf16>) -> tensor<?x8xbf16>
  %qr = llm.rope %q, %batch, @rope {head_dim = 4 : i64} : (tensor<?x16xbf16>, !llm.batch) -> tensor<?x16xbf16>
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xbf16>, tensor<?x8xbf16>, !llm.batch) -> !llm.kv_cache
  %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x16xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x16xbf16>
  %o = llm.linear %a, @o.weight bias @o.bias : (tensor<?x16xbf16>) -> tensor<?x16xbf16>
  %y = llm.add %x, %o : tensor<?x16xbf16>
  return %y : tensor<?x16xbf16>
}

// -----

// Slopes of ALiBi are those of all ranks, sinks those of the rank's heads.
// CHECK: llm.weight @sinks : tensor<1xf32> from [#llm.source<"sinks", shard = #llm.shard<rows, parts = 2>>]
// CHECK-LABEL: @heads
// CHECK: llm.paged_attention {{.*}} {alibi = array<f64: 5.000000e-01, 2.500000e-01>, {{.*}}heads = 1 : i64, kv_heads = 1 : i64{{.*}} sinks = @sinks}
llm.weight @q : tensor<8x8xf32> from ["q"]
llm.weight @k : tensor<4x8xf32> from ["k"]
llm.weight @v : tensor<4x8xf32> from ["v"]
llm.weight @sinks : tensor<2xf32> from ["sinks"]
llm.weight @o : tensor<8x8xf32> from ["o"]
func.func @heads(%x: tensor<?x8xf32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xf32> {
  %q = llm.linear %x, @q : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %k = llm.linear %x, @k : (tensor<?x8xf32>) -> tensor<?x4xf32>
  %v = llm.linear %x, @v : (tensor<?x8xf32>) -> tensor<?x4xf32>
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x4xf32>, tensor<?x4xf32>, !llm.batch) -> !llm.kv_cache
  %a = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, head_dim = 4 : i64,
      scale = 0.5 : f64, alibi = array<f64: 0.5, 0.25>, sinks = @sinks}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  %o = llm.linear %a, @o : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// -----

// An MLP: rows of gate and up, columns of down.
// CHECK: llm.weight @gate : tensor<6x8xf32> from [#llm.source<"gate", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @up : tensor<6x8xf32> from [#llm.source<"up", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @down : tensor<8x6xf32> from [#llm.source<"down", transposed, shard = #llm.shard<columns, parts = 2>>]
// CHECK-LABEL: @mlp
// CHECK: %[[H:.*]] = llm.gated_activation silu {{.*}} : tensor<?x6xf32>
// CHECK: %[[PART:.*]] = llm.linear %[[H]], @down : (tensor<?x6xf32>) -> tensor<?x8xf32>
// CHECK: %[[SUM:.*]] = llm.all_reduce %[[PART]] : tensor<?x8xf32>
// CHECK: return %[[SUM]]
llm.weight @gate : tensor<12x8xf32> from ["gate"]
llm.weight @up : tensor<12x8xf32> from ["up"]
llm.weight @down : tensor<8x12xf32> from [#llm.source<"down", transposed>]
func.func @mlp(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %g = llm.linear %x, @gate : (tensor<?x8xf32>) -> tensor<?x12xf32>
  %u = llm.linear %x, @up : (tensor<?x8xf32>) -> tensor<?x12xf32>
  %h = llm.gated_activation silu %g, %u : tensor<?x12xf32>
  %y = llm.linear %h, @down : (tensor<?x12xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Products beside each other are added before the ranks add them: one sum for both. Each bias is added once.
// CHECK-LABEL: @parallel
// CHECK: %[[FIRST:.*]] = llm.linear {{.*}}, @down1 :
// CHECK: %[[SECOND:.*]] = llm.linear {{.*}}, @down2 :
// CHECK: %[[PART:.*]] = llm.add %[[FIRST]], %[[SECOND]]
// CHECK: %[[SUM:.*]] = llm.all_reduce %[[PART]]
// CHECK: %[[B1:.*]] = llm.add_bias %[[SUM]], @b1
// CHECK: %[[B2:.*]] = llm.add_bias %[[B1]], @b2
// CHECK: %[[Y:.*]] = llm.add %arg0, %[[B2]]
// CHECK-NOT: all_reduce
// CHECK: return %[[Y]]
llm.weight @up1 : tensor<4x8xf32> from ["up1"]
llm.weight @up2 : tensor<4x8xf32> from ["up2"]
llm.weight @down1 : tensor<8x4xf32> from ["down1"]
llm.weight @down2 : tensor<8x4xf32> from ["down2"]
llm.weight @b1 : tensor<8xf32> from ["b1"]
llm.weight @b2 : tensor<8xf32> from ["b2"]
func.func @parallel(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u1 = llm.linear %x, @up1 : (tensor<?x8xf32>) -> tensor<?x4xf32>
  %h1 = llm.activation gelu %u1 : tensor<?x4xf32>
  %d1 = llm.linear %h1, @down1 bias @b1 : (tensor<?x4xf32>) -> tensor<?x8xf32>
  %x1 = llm.add %x, %d1 : tensor<?x8xf32>
  %u2 = llm.linear %x, @up2 : (tensor<?x8xf32>) -> tensor<?x4xf32>
  %h2 = llm.activation gelu %u2 : tensor<?x4xf32>
  %d2 = llm.linear %h2, @down2 bias @b2 : (tensor<?x4xf32>) -> tensor<?x8xf32>
  %x2 = llm.add %x1, %d2 : tensor<?x8xf32>
  return %x2 : tensor<?x8xf32>
}

// -----

// Norms of heads share their weight. One that has an element for each column is divided, or has parts as sources.
// CHECK: llm.weight @shared : tensor<4xf32> from ["shared"]
// CHECK: llm.weight @columns : tensor<4xf32> from [#llm.source<"columns", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @tensors : tensor<4xf32> from [#llm.source<"first", shard = #llm.shard<rows, parts = 2, index = 0>>, #llm.source<"second", shard = #llm.shard<rows, parts = 2, index = 1>>]
// CHECK-LABEL: @norms_of_heads
// CHECK: llm.rms_norm {{.*}}, @shared {{.*}} : (tensor<?x4xf32>) -> tensor<?x4xf32>
// CHECK: llm.layer_norm {{.*}}, @columns {{.*}} : (tensor<?x4xf32>) -> tensor<?x4xf32>
// CHECK: llm.rms_norm {{.*}}, @tensors {{.*}} : (tensor<?x4xf32>) -> tensor<?x4xf32>
llm.weight @q : tensor<8x8xf32> from ["q"]
llm.weight @k : tensor<8x8xf32> from ["k"]
llm.weight @v : tensor<8x8xf32> from ["v"]
llm.weight @shared : tensor<4xf32> from ["shared"]
llm.weight @columns : tensor<8xf32> from ["columns"]
llm.weight @tensors : tensor<8xf32> from ["first", "second"]
llm.weight @o : tensor<8x8xf32> from ["o"]
func.func @norms_of_heads(%x: tensor<?x8xf32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xf32> {
  %q = llm.linear %x, @q : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %k = llm.linear %x, @k : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %v = llm.linear %x, @v : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %kn = llm.rms_norm %k, @shared {eps = 1.0e-6 : f64, group = 4 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %vn = llm.layer_norm %v, @columns {eps = 1.0e-6 : f64, group = 4 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %kv1 = llm.kv_append %kv, %kn, %vn, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  %qn = llm.rms_norm %q, @tensors {eps = 1.0e-6 : f64, group = 4 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %a = llm.paged_attention %qn, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  %o = llm.linear %a, @o : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// -----

// A norm of all heads together: the ranks add up their squares.
// CHECK: llm.weight @norm : tensor<4xf32> from [#llm.source<"norm", shard = #llm.shard<rows, parts = 2>>]
// CHECK-LABEL: @norm_of_rows
// CHECK: %[[X:.*]] = llm.linear %arg0, @up : (tensor<?x8xf32>) -> tensor<?x4xf32>
// CHECK: %[[OWN:.*]] = llm.sum_of_squares %[[X]] : (tensor<?x4xf32>) -> tensor<?x1xf32>
// CHECK: %[[ALL:.*]] = llm.all_reduce %[[OWN]] : tensor<?x1xf32>
// CHECK: %[[N:.*]] = llm.rms_scale %[[X]], %[[ALL]], @norm {columns = 8 : i64, eps = {{.*}} : f64} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
// CHECK: llm.activation silu %[[N]]
llm.weight @up : tensor<8x8xf32> from ["up"]
llm.weight @norm : tensor<8xf32> from ["norm"]
llm.weight @down : tensor<8x8xf32> from ["down"]
func.func @norm_of_rows(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = llm.linear %x, @up : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %n = llm.rms_norm %u, @norm {eps = 1.0e-6 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %h = llm.activation silu %n : tensor<?x8xf32>
  %y = llm.linear %h, @down : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// The head of a tied model is a part of the embedding, which all ranks have as a whole. 101 rows are padded to 2 x 64;
// what is gathered has no padding. Tokens are made from the best one of each rank as well.
// CHECK: llm.weight @embedding : tensor<101x8xf32> from ["embedding"]
// CHECK: llm.weight @embedding.shard : tensor<64x8xf32> from [#llm.source<"embedding", shard = #llm.shard<rows, parts = 2, size = 64>>]
// CHECK-LABEL: @vocabulary
// CHECK: llm.embedding %arg0, @embedding
// CHECK: %[[OWN:.*]] = llm.linear {{.*}}, @embedding.shard : (tensor<?x8xf32>) -> tensor<?x64xf32>
// CHECK: %[[CAPPED:.*]] = llm.softcap %[[OWN]] {{.*}} : tensor<?x64xf32>
// CHECK: %[[BEST:.*]] = llm.sample_candidate %[[CAPPED]], %arg1 {vocabulary = 101 : i64} : (tensor<?x64xf32>, !llm.batch) -> tensor<?x2xf32>
// CHECK: %[[CANDIDATES:.*]] = llm.all_gather %[[BEST]] : (tensor<?x2xf32>) -> tensor<?x4xf32>
// CHECK: %[[MERGED:.*]] = llm.sample_merge %[[CANDIDATES]] : (tensor<?x4xf32>) -> tensor<?xi32>
// CHECK: %[[ALL:.*]] = llm.all_gather %[[CAPPED]] : (tensor<?x64xf32>) -> tensor<?x101xf32>
// CHECK: %[[NEXT:.*]] = llm.sample %[[ALL]]
// CHECK: return %[[ALL]], %[[NEXT]], %[[MERGED]] : tensor<?x101xf32>, tensor<?xi32>, tensor<?xi32>
llm.weight @embedding : tensor<101x8xf32> from ["embedding"]
func.func @vocabulary(%ids: tensor<?xi32>, %batch: !llm.batch) -> (tensor<?x101xf32>, tensor<?xi32>) {
  %x = llm.embedding %ids, @embedding : (tensor<?xi32>) -> tensor<?x8xf32>
  %logits = llm.linear %x, @embedding : (tensor<?x8xf32>) -> tensor<?x101xf32>
  %capped = llm.softcap %logits {cap = 30.0 : f64} : tensor<?x101xf32>
  %next = llm.sample %capped, %batch : (tensor<?x101xf32>, !llm.batch) -> tensor<?xi32>
  return %capped, %next : tensor<?x101xf32>, tensor<?xi32>
}

// -----

// Scales of groups are divided with their weight. One scale for a whole row is on both ranks.
// CHECK: llm.weight @up : tensor<32x16xi4> {{.*}}quantized = #llm.quantized<u4, scales = @up_scale, zero_points = @up_zero, group = 8>
// CHECK: llm.weight @up_scale : tensor<32x2xf32> from [#llm.source<"up_scale", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @up_zero : tensor<32x2xf32> from [#llm.source<"up_zero", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @down : tensor<16x32xi4> {{.*}}quantized = #llm.quantized<u4, scales = @down_scale, group = 8>
// CHECK: llm.weight @down_scale : tensor<16x4xf32> from [#llm.source<"down_scale", shard = #llm.shard<columns, parts = 2>>]
// CHECK: llm.weight @up2 : tensor<32x16xi8>
// CHECK: llm.weight @up2_scale : tensor<32x1xf32> from [#llm.source<"up2_scale", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @down2 : tensor<16x32xi8> {{.*}}quantized = #llm.quantized<i8, scales = @down2_scale, group = 32>
// CHECK: llm.weight @down2_scale : tensor<16x1xf32> from ["down2_scale"]
llm.weight @up : tensor<64x16xi4> from ["up"] {quantized = #llm.quantized<u4, scales = @up_scale, zero_points = @up_zero, group = 8>}
llm.weight @up_scale : tensor<64x2xf32> from ["up_scale"]
llm.weight @up_zero : tensor<64x2xf32> from ["up_zero"]
llm.weight @down : tensor<16x64xi4> from ["down"] {quantized = #llm.quantized<u4, scales = @down_scale, group = 8>}
llm.weight @down_scale : tensor<16x8xf32> from ["down_scale"]
llm.weight @up2 : tensor<64x16xi8> from ["up2"] {quantized = #llm.quantized<i8, scales = @up2_scale, group = 16>}
llm.weight @up2_scale : tensor<64x1xf32> from ["up2_scale"]
llm.weight @down2 : tensor<16x64xi8> from ["down2"] {quantized = #llm.quantized<i8, scales = @down2_scale, group = 64>}
llm.weight @down2_scale : tensor<16x1xf32> from ["down2_scale"]
func.func @quantized(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %u = llm.linear %x, @up : (tensor<?x16xf32>) -> tensor<?x64xf32>
  %h = llm.activation silu %u : tensor<?x64xf32>
  %y = llm.linear %h, @down : (tensor<?x64xf32>) -> tensor<?x16xf32>
  %u2 = llm.linear %y, @up2 : (tensor<?x16xf32>) -> tensor<?x64xf32>
  %h2 = llm.activation silu %u2 : tensor<?x64xf32>
  %y2 = llm.linear %h2, @down2 : (tensor<?x64xf32>) -> tensor<?x16xf32>
  return %y2 : tensor<?x16xf32>
}
