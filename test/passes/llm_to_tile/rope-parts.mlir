// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups,func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s
// Rows of a rope table with two parts are chosen by the batch; keys are appended at the positions all the same.

// CHECK: tile.launch model @step_append(metadata Positions, workspace 0, weight @rope, metadata RopeRows,
// CHECK-LABEL: tile.program @step_append
// CHECK: %[[POSITIONS:.*]] = tile.load %arg0
// CHECK: %[[KNOWN:.*]] = arith.select {{.*}}, %[[POSITIONS]],
// CHECK: %[[LOADED:.*]] = tile.load %arg3
// CHECK: %[[ROWS:.*]] = arith.select {{.*}}, %[[LOADED]],
// CHECK-COUNT-2: tile.gather %arg2[%[[ROWS]], {{.*}} : <80x32xf32, weight>
// CHECK: arith.divsi %[[KNOWN]],
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x64xbf16> from ["embed"]
  llm.rope_table @rope : tensor<80x32xf32> {inv_freq = array<f64: 1.0, 0.5, 0.25, 0.125, 0.06, 0.03, 0.015, 0.007, 1.0, 0.5, 0.25, 0.125, 0.06, 0.03, 0.015, 0.007, 0.5, 0.25, 0.125, 0.06, 0.03, 0.015, 0.007, 0.003, 0.5, 0.25, 0.125, 0.06, 0.03, 0.015, 0.007, 0.003>, short_rows = 16 : i64}
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x64xbf16>, !llm.kv_cache)
      attributes {llm.entry = {kind = "decode", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %x = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x64xbf16> loc("x")
    %qr = llm.rope %x, %batch, @rope {head_dim = 32 : i64} : (tensor<?x64xbf16>, !llm.batch) -> tensor<?x64xbf16> loc("q_rope")
    %kr = llm.rope %x, %batch, @rope {head_dim = 32 : i64} : (tensor<?x64xbf16>, !llm.batch) -> tensor<?x64xbf16> loc("k_rope")
    %kv1 = llm.kv_append %kv, %kr, %x, %batch {layer = 0 : i64, head_dim = 32 : i64}
        : (!llm.kv_cache, tensor<?x64xbf16>, tensor<?x64xbf16>, !llm.batch) -> !llm.kv_cache loc("append")
    %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 32 : i64, scale = 0.5 : f64}
        : (tensor<?x64xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x64xbf16> loc("attention")
    return %a, %kv1 : tensor<?x64xbf16>, !llm.kv_cache
  }
}
