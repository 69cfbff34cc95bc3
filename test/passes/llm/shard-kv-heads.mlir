// RUN: inlay-opt %s --llm-shard=tensor-parallel-size=4 | FileCheck %s

// 2 kv heads on 4 ranks: ranks 0 and 1 have the first one, ranks 2 and 3 the second one. A norm of all heads counts the
// squares of each twice.
// CHECK: llm.weight @q : tensor<4x16xf32> from [#llm.source<"q", shard = #llm.shard<rows, parts = 4>>]
// CHECK: llm.weight @k : tensor<4x16xf32> from [#llm.source<"k", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.weight @k_norm : tensor<4xf32> from [#llm.source<"k_norm", shard = #llm.shard<rows, parts = 2>>]
// CHECK: llm.rms_scale {{.*}}, @k_norm {columns = 16 : i64
// CHECK: llm.kv_append {{.*}} {head_dim = 4 : i64, layer = 0 : i64} : (!llm.kv_cache, tensor<?x4xf32>, tensor<?x4xf32>, !llm.batch)
// CHECK: llm.paged_attention {{.*}} {head_dim = 4 : i64, heads = 1 : i64, kv_heads = 1 : i64
llm.weight @q : tensor<16x16xf32> from ["q"]
llm.weight @k : tensor<8x16xf32> from ["k"]
llm.weight @v : tensor<8x16xf32> from ["v"]
llm.weight @k_norm : tensor<8xf32> from ["k_norm"]
llm.weight @o : tensor<16x16xf32> from ["o"]
func.func @attention(%x: tensor<?x16xf32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x16xf32> {
  %q = llm.linear %x, @q : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %k = llm.linear %x, @k : (tensor<?x16xf32>) -> tensor<?x8xf32>
  %v = llm.linear %x, @v : (tensor<?x16xf32>) -> tensor<?x8xf32>
  %kn = llm.rms_norm %k, @k_norm {eps = 1.0e-6 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %kv1 = llm.kv_append %kv, %kn, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  %a = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64}
      : (tensor<?x16xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x16xf32>
  %o = llm.linear %a, @o : (tensor<?x16xf32>) -> tensor<?x16xf32>
  return %o : tensor<?x16xf32>
}
