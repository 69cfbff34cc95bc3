// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines

// Rows of two sequences side by side; the second append goes to another layer, the third overwrites position 0.
// CHECK-LABEL: @append result 0
// CHECK-NEXT: layer 0 sequence 3 position 0: key 9 10 value 9 10
// CHECK-NEXT: layer 0 sequence 3 position 1: key 5 6 value 50 60
// CHECK-NEXT: layer 0 sequence 7 position 0: key 3 4 value 30 40
// CHECK-NEXT: layer 1 sequence 3 position 0: key 9 10 value 9 10
func.func @append(%k: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>},
                  %v: tensor<?x2xf32> {llm.value = dense<[[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]> : tensor<3x2xf32>},
                  %batch: !llm.batch {llm.value = {sequences = array<i64: 3, 7, 3>, positions = array<i64: 0, 0, 1>}},
                  %x: tensor<?x2xf32> {llm.value = dense<[[9.0, 10.0]]> : tensor<1x2xf32>},
                  %one: !llm.batch {llm.value = {sequences = array<i64: 3>, positions = array<i64: 0>}},
                  %kv: !llm.kv_cache) -> !llm.kv_cache {
  %kv0 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 2 : i64}
      : (!llm.kv_cache, tensor<?x2xf32>, tensor<?x2xf32>, !llm.batch) -> !llm.kv_cache
  %kv1 = llm.kv_append %kv0, %x, %x, %one {layer = 1 : i64, head_dim = 2 : i64}
      : (!llm.kv_cache, tensor<?x2xf32>, tensor<?x2xf32>, !llm.batch) -> !llm.kv_cache
  %kv2 = llm.kv_append %kv1, %x, %x, %one {layer = 0 : i64, head_dim = 2 : i64}
      : (!llm.kv_cache, tensor<?x2xf32>, tensor<?x2xf32>, !llm.batch) -> !llm.kv_cache
  return %kv2 : !llm.kv_cache
}
