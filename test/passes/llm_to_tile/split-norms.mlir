// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups{target=sm_90a max-rows=16},func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)" | FileCheck %s
// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups{target=sm_90a max-rows=16 separate-all},func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)" | FileCheck %s --check-prefix=ALONE

// CHECK: #[[OF_O:.*]] = affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s0 ceildiv 16)>
// CHECK: tile.launch model @step_o(weight @o, {{.*}}, weight @norm, workspace [[SCALED:[0-9]+]], workspace [[SQUARES:[0-9]+]])
// CHECK: tile.launch model @step_up(weight @up, workspace [[SCALED]], workspace [[SQUARES]],

// A tile has the 64 columns whose squares are summed together.
// CHECK-LABEL: tile.program @step_o
// CHECK-SAME: %[[SUMS:[a-z0-9]+]]: !tile.view<?x2xf32, output, tokens>)
// CHECK-SAME: grid #[[OF_O]] schedule #tile.family<swap_ab>
// CHECK: %[[COLUMN:.*]] = arith.muli %{{.*}}, %c64
// CHECK: %[[X:.*]] = arith.addf {{.*}} : tensor<16x64xf32>
// CHECK: %[[WEIGHT:.*]] = tile.load %{{.*}}[%[[COLUMN]]]
// CHECK: arith.mulf %[[X]], %{{.*}} : tensor<16x64xf32>
// CHECK: %[[SQUARE:.*]] = arith.mulf %[[X]], %[[X]]
// CHECK: %[[SUM:.*]] = tile.reduce add %[[SQUARE]] axis 1
// CHECK: %[[OF_ROWS:.*]] = tile.broadcast %[[SUM]] axis 1 : tensor<16xf32> -> tensor<16x1xf32>
// CHECK: %[[PART:.*]] = arith.divui %[[COLUMN]], %c64
// CHECK: tile.store %[[OF_ROWS]], %[[SUMS]][%{{.*}}, %[[PART]]]

// CHECK-LABEL: tile.program @step_up
// CHECK: scf.for
// CHECK: %[[PARTS:.*]] = tile.load %{{.*}}[%{{.*}}, %c0] : <?x2xf32, activation, tokens> -> tensor<16x2xf32>
// CHECK: tile.reduce add %[[PARTS]] axis 1
// CHECK: math.rsqrt
// CHECK: arith.mulf %{{.*}} : tensor<16x128xf32>

// Without fusion the norm is not split.
// ALONE-NOT: sum_of_squares
module attributes {llm.model = {max_model_len = 16 : i64}} {
llm.weight @table : tensor<128x128xbf16> from ["table"]
llm.weight @o : tensor<128x128xbf16> from ["o"]
llm.weight @norm : tensor<128xbf16> from ["norm"]
llm.weight @up : tensor<128x128xbf16> from ["up"]
func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch, %cache: !llm.kv_cache) -> (tensor<?x128xf32>, tensor<?xi32>, !llm.kv_cache)
    attributes {llm.entry = {kind = "mixed", max_sequences = 4 : i64, max_tokens = 16 : i64}} {
  %x = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x128xbf16> loc("embed")
  %p = llm.linear %x, @o : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("o")
  %y = llm.add %x, %p : tensor<?x128xbf16> loc("residual")
  %n = llm.rms_norm %y, @norm {eps = 1.0e-6 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %u = llm.linear %n, @up : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("up")
  %rows = llm.gather_rows %u, %batch : (tensor<?x128xbf16>, !llm.batch) -> tensor<?x128xbf16> loc("gather")
  %logits = llm.linear %rows, @table : (tensor<?x128xbf16>) -> tensor<?x128xf32> loc("head")
  %next = llm.sample %logits, %batch : (tensor<?x128xf32>, !llm.batch) -> tensor<?xi32> loc("sample")
  return %logits, %next, %cache : tensor<?x128xf32>, tensor<?xi32>, !llm.kv_cache
}
}
