// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups,func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s
// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups{target=sm_90a},func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},tile-select-schedule)" 2>&1 | FileCheck %s --check-prefix=GPU
// A cache of e4m3. Keys have a scale for each kv head; that of values is 1.

// Keys are multiplied by the inverse of their head's scale and clipped to the largest code.
// CHECK-LABEL: tile.program @step_append
// CHECK: %[[HEAD:.*]] = tile.program_id 0
// CHECK: %[[SCALE:.*]] = tile.read %{{.*}}[%[[HEAD]]] : <2xf32, weight> -> f32
// CHECK: %[[INVERSE:.*]] = arith.divf %{{.*}}, %[[SCALE]] : f32
// CHECK: %[[FACTOR:.*]] = tensor.splat %[[INVERSE]] : tensor<1x16xf32>
// CHECK: %[[SCALED:.*]] = arith.mulf %{{.*}}, %[[FACTOR]]
// CHECK: %[[ABOVE:.*]] = arith.maximumf %[[SCALED]], %{{.*}}
// CHECK: %[[CLIPPED:.*]] = arith.minimumf %[[ABOVE]], %{{.*}}
// CHECK: %[[CODES:.*]] = arith.truncf %[[CLIPPED]] : tensor<1x16xf32> to tensor<1x16xf8E4M3FN>
// CHECK: tile.scatter %[[CODES]], %{{.*}} <?x16xf8E4M3FN, kv, kv_rows>
// CHECK: } else {
// CHECK-NOT: tile.read {{.*}} f32
// CHECK: arith.truncf {{.*}} to tensor<1x16xf8E4M3FN>
// CHECK: tile.scatter {{.*}} <?x16xf8E4M3FN, kv, kv_rows>

// The scale is a factor of the scores. Codes become numbers of the queries' type.
// CHECK-LABEL: tile.program @step_attention
// CHECK: %[[KVHEAD:.*]] = tile.program_id 0
// CHECK: %[[KEYSCALE:.*]] = tile.read %{{.*}}[%[[KVHEAD]]] : <2xf32, weight> -> f32
// CHECK: %[[FACTOR:.*]] = arith.mulf %[[KEYSCALE]]
// CHECK: scf.for
// CHECK: %[[KEYCODES:.*]] = tile.gather {{.*}} -> tensor<64x16xf8E4M3FN>
// CHECK: %[[KEYS:.*]] = arith.extf %[[KEYCODES]] : tensor<64x16xf8E4M3FN> to tensor<64x16xbf16>
// CHECK: %[[SCORES:.*]] = tile.dot %{{.*}}, %[[KEYS]]
// CHECK: %[[FACTORS:.*]] = tensor.splat %[[FACTOR]]
// CHECK: arith.mulf %[[SCORES]], %[[FACTORS]]
// CHECK: %[[VALUECODES:.*]] = tile.gather {{.*}} -> tensor<64x16xf8E4M3FN>
// CHECK: %[[VALUES:.*]] = arith.extf %[[VALUECODES]]
// CHECK: tile.dot %{{.*}}, %[[VALUES]]

// GPU: tile.program @step_attention{{.*}}schedule #tile
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x64xbf16> from ["embed"]
  llm.weight @small : tensor<100x32xbf16> from ["small"]
  llm.weight @k_scale : tensor<2xf32> from ["k_scale"]
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache<f8E4M3FN>) -> (tensor<?x64xbf16>, !llm.kv_cache<f8E4M3FN>)
      attributes {llm.entry = {kind = "decode", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %q = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x64xbf16> loc("q")
    %k = llm.embedding %tokens, @small : (tensor<?xi32>) -> tensor<?x32xbf16> loc("k")
    %kv1 = llm.kv_append %kv, %k, %k, %batch {layer = 0 : i64, head_dim = 16 : i64, key_scale = @k_scale}
        : (!llm.kv_cache<f8E4M3FN>, tensor<?x32xbf16>, tensor<?x32xbf16>, !llm.batch) -> !llm.kv_cache<f8E4M3FN> loc("append")
    %a = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 16 : i64, scale = 0.5 : f64, key_scale = @k_scale}
        : (tensor<?x64xbf16>, !llm.kv_cache<f8E4M3FN>, !llm.batch) -> tensor<?x64xbf16> loc("attention")
    return %a, %kv1 : tensor<?x64xbf16>, !llm.kv_cache<f8E4M3FN>
  }
}
