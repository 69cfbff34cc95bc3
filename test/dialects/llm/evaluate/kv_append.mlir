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

// A cache of codes holds the nearest of x / scale, ties to even: 17 / 2 lies between 8 and 9, 1000 / 2 is clipped to 448,
// 0.003 / 2 to the nearest multiple of 2^-9. Values have another scale for each head.
llm.weight @k_scale : tensor<2xf32> = dense<[2.0, 2.0]> : tensor<2xf32>
llm.weight @v_scale : tensor<2xf32> = dense<[1.0, 0.5]> : tensor<2xf32>
// CHECK-LABEL: @codes result 0
// CHECK-NEXT: layer 0 sequence 0 position 0: key 8 448 -448 0.00195312 value 1 -2 6 8
// CHECK-NEXT: layer 1 sequence 0 position 0: key 16 448 -448 0.00390625 value 1 -2 3 4
func.func @codes(%k: tensor<?x4xf32> {llm.value = dense<[[17.0, 1000.0, -2000.0, 0.003]]> : tensor<1x4xf32>},
                 %v: tensor<?x4xf32> {llm.value = dense<[[1.0, -2.0, 3.0, 4.0]]> : tensor<1x4xf32>},
                 %batch: !llm.batch {llm.value = {sequences = array<i64: 0>, positions = array<i64: 0>}},
                 %kv: !llm.kv_cache<f8E4M3FN>) -> !llm.kv_cache<f8E4M3FN> {
  %kv0 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 2 : i64, key_scale = @k_scale, value_scale = @v_scale}
      : (!llm.kv_cache<f8E4M3FN>, tensor<?x4xf32>, tensor<?x4xf32>, !llm.batch) -> !llm.kv_cache<f8E4M3FN>
  %kv1 = llm.kv_append %kv0, %k, %v, %batch {layer = 1 : i64, head_dim = 2 : i64}
      : (!llm.kv_cache<f8E4M3FN>, tensor<?x4xf32>, tensor<?x4xf32>, !llm.batch) -> !llm.kv_cache<f8E4M3FN>
  return %kv1 : !llm.kv_cache<f8E4M3FN>
}
