// RUN: inlay-opt %s --split-input-file --llm-split-stages=pipeline-parallel-size=2 | FileCheck %s

// A cut between two layers, after the last sum of the first one. What comes before the layers is in the first stage, what
// comes after them in the last one. A weight that both stages read is there twice.
// CHECK: module attributes {llm.stage_layers = array<i64: 1, 1>}
// CHECK: llm.weight @table : tensor<32x8xf32> from ["table"]
// CHECK: llm.weight @table.stage1 : tensor<32x8xf32> from ["table"]
// CHECK: llm.rope_table @rope :
// CHECK: llm.rope_table @rope.stage1 :
// CHECK: llm.weight @l0.q : tensor<8x8xf32>
// CHECK: llm.weight @l1.q : tensor<8x8xf32>
// CHECK-NOT: llm.weight

// CHECK-LABEL: func.func @forward.stage0(
// CHECK-SAME: %[[IDS:.*]]: tensor<?xi32>, %[[BATCH:.*]]: !llm.batch, %[[KV:.*]]: !llm.kv_cache) -> (tensor<?x8xf32>, !llm.kv_cache)
// CHECK-SAME: llm.stage = 0
// CHECK: %[[X:.*]] = llm.embedding %[[IDS]], @table
// CHECK: llm.rope {{.*}}, @rope {
// CHECK: %[[KV0:.*]] = llm.kv_append %[[KV]], {{.*}} layer = 0
// CHECK: %[[SUM:.*]] = llm.add %[[X]]
// CHECK-NEXT: return %[[SUM]], %[[KV0]] :

// CHECK-LABEL: func.func @forward.stage1(
// CHECK-SAME: %[[BATCH:.*]]: !llm.batch, %[[KV:.*]]: !llm.kv_cache, %[[SUM:.*]]: tensor<?x8xf32>) -> (tensor<?x32xf32>, tensor<?xi32>, !llm.kv_cache)
// CHECK-SAME: llm.stage = 1
// CHECK-NEXT: %[[N:.*]] = llm.rms_norm %[[SUM]], @l1.norm
// CHECK-NEXT: llm.linear %[[N]], @l1.q
// CHECK: llm.rope {{.*}}, @rope.stage1 {
// CHECK: %[[KV1:.*]] = llm.kv_append %[[KV]], {{.*}} layer = 1
// CHECK: %[[LOGITS:.*]] = llm.linear {{.*}}, @table.stage1
// CHECK: return %[[LOGITS]], %{{.*}}, %[[KV1]] :
llm.weight @table : tensor<32x8xf32> from ["table"]
llm.rope_table @rope : tensor<16x4xf32> {inv_freq = array<f64: 1.0, 0.1>}
llm.weight @l0.q : tensor<8x8xf32> from ["l0.q"]
llm.weight @l1.norm : tensor<8xf32> from ["l1.norm"]
llm.weight @l1.q : tensor<8x8xf32> from ["l1.q"]
func.func @forward(%ids: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x32xf32>, tensor<?xi32>, !llm.kv_cache) {
  %x = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x8xf32>
  %q = llm.linear %x, @l0.q : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %qr = llm.rope %q, %batch, @rope {head_dim = 4 : i64} : (tensor<?x8xf32>, !llm.batch) -> tensor<?x8xf32>
  %kv0 = llm.kv_append %kv, %q, %q, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  %a = llm.paged_attention %qr, %kv0, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  %y = llm.add %x, %a : tensor<?x8xf32>
  %n = llm.rms_norm %y, @l1.norm {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %q1 = llm.linear %n, @l1.q : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %qr1 = llm.rope %q1, %batch, @rope {head_dim = 4 : i64} : (tensor<?x8xf32>, !llm.batch) -> tensor<?x8xf32>
  %kv1 = llm.kv_append %kv0, %q1, %q1, %batch {layer = 1 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  %a1 = llm.paged_attention %qr1, %kv1, %batch {layer = 1 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  %z = llm.add %y, %a1 : tensor<?x8xf32>
  %rows = llm.gather_rows %z, %batch : (tensor<?x8xf32>, !llm.batch) -> tensor<?x8xf32>
  %logits = llm.linear %rows, @table : (tensor<?x8xf32>) -> tensor<?x32xf32>
  %next = llm.sample %logits, %batch : (tensor<?x32xf32>, !llm.batch) -> tensor<?xi32>
  return %logits, %next, %kv1 : tensor<?x32xf32>, tensor<?xi32>, !llm.kv_cache
}

// -----

// Stages have about the same bytes of weights, not the same number of layers: the head is as large as two layers. A copy
// of a quantized weight has scales of its own.
// CHECK: module attributes {llm.stage_layers = array<i64: 2, 1>}
// CHECK: llm.weight @w.stage1 : tensor<8x8xi8> from ["w"] {quantized = #llm.quantized<i8, scales = @w.scales.stage1, group = 8>}
// CHECK-LABEL: func.func @balance.stage1(
// CHECK: llm.linear {{.*}}, @w.stage1
// CHECK: llm.paged_attention {{.*}} layer = 2
// CHECK: llm.linear {{.*}}, @head
llm.weight @w : tensor<8x8xi8> from ["w"] {quantized = #llm.quantized<i8, scales = @w.scales, group = 8>}
llm.weight @w.scales : tensor<8x1xf32> from ["w.scales"]
llm.weight @head : tensor<16x8xf32> from ["head"]
func.func @balance(%x: tensor<?x8xf32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x16xf32> {
  %q0 = llm.linear %x, @w : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %kv0 = llm.kv_append %kv, %x, %x, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  %y0 = llm.paged_attention %q0, %kv0, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  %q1 = llm.linear %y0, @w : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %kv1 = llm.kv_append %kv0, %y0, %y0, %batch {layer = 1 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  %y1 = llm.paged_attention %q1, %kv1, %batch {layer = 1 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  %q2 = llm.linear %y1, @w : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %kv2 = llm.kv_append %kv1, %y1, %y1, %batch {layer = 2 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  %y2 = llm.paged_attention %q2, %kv2, %batch {layer = 2 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  %z = llm.linear %y2, @head : (tensor<?x8xf32>) -> tensor<?x16xf32>
  return %z : tensor<?x16xf32>
}
