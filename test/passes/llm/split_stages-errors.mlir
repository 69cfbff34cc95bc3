// RUN: inlay-opt %s --split-input-file --llm-split-stages=pipeline-parallel-size=2 --verify-diagnostics

// expected-error @+1 {{has 1 layers and cannot be cut into 2 stages; expected a pipeline parallel size of at most 1}}
func.func @one(%x: tensor<?x8xf32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xf32> {
  %kv0 = llm.kv_append %kv, %x, %x, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %x, %kv0, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// The second layer has no keys and values of its own.
// expected-error @+1 {{has 2 layers, some of which read the keys and values of others, and cannot be cut into 2 stages; expected a pipeline parallel size of at most 1}}
func.func @shared(%x: tensor<?x8xf32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xf32> {
  %kv0 = llm.kv_append %kv, %x, %x, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %x, %kv0, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  %z = llm.paged_attention %y, %kv0, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}

// -----

// expected-error @+1 {{is divided among stages or ranks already; run llm-split-stages once, before llm-shard}}
module attributes {llm.ranks = 2 : i64} {
}
