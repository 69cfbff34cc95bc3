// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups{target=sm_90a},func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},tile-select-schedule)" 2>&1 | FileCheck %s
// All attention of a step has the same query tiles, so a layer with heads of 4 keeps the other from the large tiles of
// prefill_attention: 32 rows of 2 heads.
// CHECK-DAG: steps of many rows take the generic attention: heads of 4, 16 bits
// CHECK-DAG: takes the generic attention, as 'step_narrow' of the same steps does
// CHECK: tile.entry @step mixed {{.*}}query_tile_rows = 32
// CHECK: tile.program @step_plain{{.*}}schedule #tile.generic<query_rows = 32, tile_rows = 64, tile_keys = 64>
// CHECK: tile.program @step_narrow{{.*}}schedule #tile.generic<query_rows = 32, tile_rows = 64, tile_keys = 64>
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x64xbf16> from ["embed"]
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x64xbf16>, !llm.kv_cache)
      attributes {llm.entry = {kind = "mixed", max_tokens = 64 : i64, max_sequences = 4 : i64}} {
    %q = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x64xbf16> loc("q")
    %a = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 16 : i64, scale = 0.25 : f64}
        : (tensor<?x64xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x64xbf16> loc("plain")
    %s = llm.paged_attention %a, %kv, %batch {layer = 0 : i64, heads = 16 : i64, kv_heads = 8 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
        : (tensor<?x64xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x64xbf16> loc("narrow")
    return %s, %kv : tensor<?x64xbf16>, !llm.kv_cache
  }
}
