// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups,func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s
// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups{target=sm_90a},func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},tile-select-schedule)" 2>&1 | FileCheck %s --check-prefix=GPU
// Slopes of ALiBi and sinks.

// Not for them do decode steps take the generic attention, but for their size.
// GPU-COUNT-2: decode steps take the generic attention: heads of 8, 32 bits, 2 query heads for each of keys, pages of 16
// GPU: tile.program @step_alibi{{.*}}schedule #tile.generic<
// GPU: tile.program @step_sinks{{.*}}schedule #tile.generic<

// The slope of a row is that of its query head: kv head 0 has heads 0 and 1, kv head 1 has 2 and 3.
// CHECK-LABEL: tile.program @step_alibi
// CHECK: %[[KVHEAD:.*]] = arith.index_cast
// CHECK-DAG: %[[HEAD2:.*]] = arith.constant 1.250000e-01 : f32
// CHECK-DAG: %[[HEAD0:.*]] = arith.constant 5.000000e-01 : f32
// CHECK: %[[ISZERO:.*]] = arith.cmpi eq, %[[KVHEAD]], %c0_i32
// CHECK: %[[EVEN:.*]] = arith.select %[[ISZERO]], %[[HEAD0]], %[[HEAD2]] : f32
// CHECK: tensor.splat %[[EVEN]]
// CHECK-DAG: %[[HEAD3:.*]] = arith.constant 6.250000e-02 : f32
// CHECK-DAG: %[[HEAD1:.*]] = arith.constant 2.500000e-01 : f32
// CHECK: %[[ODD:.*]] = arith.select %[[ISZERO]], %[[HEAD1]], %[[HEAD3]] : f32
// CHECK: %[[ODDTILE:.*]] = tensor.splat %[[ODD]]
// CHECK: arith.select %{{.*}}, %[[ODDTILE]]
// CHECK: scf.for
// CHECK: tile.dot
// CHECK: %[[DISTANCE:.*]] = arith.subi
// CHECK: %[[FLOAT:.*]] = arith.sitofp %[[DISTANCE]]
// CHECK: %[[BIAS:.*]] = arith.mulf %{{.*}}, %[[FLOAT]]
// CHECK: arith.addf %{{.*}}, %[[BIAS]]

// A sink adds to the sum after the last key.
// CHECK-LABEL: tile.program @step_sinks
// CHECK: %[[SUMS:.*]]:3 = scf.for
// CHECK: %[[SINK:.*]] = tile.gather {{.*}} : <4xf32, weight>
// CHECK: %[[SCALED:.*]] = arith.mulf %[[SINK]]
// CHECK: %[[ABOVE:.*]] = arith.subf %[[SCALED]], %[[SUMS]]#0
// CHECK: %[[WEIGHT:.*]] = math.exp2 %[[ABOVE]]
// CHECK: arith.addf %[[SUMS]]#1, %[[WEIGHT]]
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x32xf32> from ["embed"]
  llm.weight @logits : tensor<4xf32> from ["sinks"]
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x32xf32>, tensor<?x32xf32>, !llm.kv_cache)
      attributes {llm.entry = {kind = "decode", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %q = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x32xf32> loc("q")
    %a = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 8 : i64, scale = 0.5 : f64,
                                              alibi = array<f64: 0.5, 0.25, 0.125, 0.0625>}
        : (tensor<?x32xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x32xf32> loc("alibi")
    %s = llm.paged_attention %a, %kv, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 8 : i64, scale = 0.5 : f64,
                                              sinks = @logits}
        : (tensor<?x32xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x32xf32> loc("sinks")
    return %s, %s, %kv : tensor<?x32xf32>, tensor<?x32xf32>, !llm.kv_cache
  }
}
