// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines
// Keys are orthogonal or equal, so that weights are known: ln(3) * q.k makes a matching key count three times.

// Row 0 sees its own position only, row 1 two of them with weights 3 : 1, row 2 is a sequence of its own.
// CHECK-LABEL: @causal result 0
// CHECK-NEXT: 4 8
// CHECK-NEXT: 3 8
// CHECK-NEXT: 5 6
func.func @causal(%q: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]> : tensor<3x2xf32>},
                  %k: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]> : tensor<3x2xf32>},
                  %v: tensor<?x2xf32> {llm.value = dense<[[4.0, 8.0], [0.0, 8.0], [5.0, 6.0]]> : tensor<3x2xf32>},
                  %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 0, 1>, positions = array<i64: 0, 1, 0>}},
                  %kv: !llm.kv_cache) -> tensor<?x2xf32> {
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 2 : i64}
      : (!llm.kv_cache, tensor<?x2xf32>, tensor<?x2xf32>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 2 : i64, scale = 1.0986122886681098 : f64}
      : (tensor<?x2xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Heads 0 and 1 read kv head 0, heads 2 and 3 read kv head 1.
// CHECK-LABEL: @shared_heads result 0
// CHECK-NEXT: 1 2 1 2 3 4 3 4
func.func @shared_heads(%q: tensor<?x8xf32> {llm.value = dense<1.0> : tensor<1x8xf32>},
                        %v: tensor<?x4xf32> {llm.value = dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>},
                        %batch: !llm.batch {llm.value = {sequences = array<i64: 0>, positions = array<i64: 0>}},
                        %kv: !llm.kv_cache) -> tensor<?x8xf32> {
  %kv1 = llm.kv_append %kv, %v, %v, %batch {layer = 0 : i64, head_dim = 2 : i64}
      : (!llm.kv_cache, tensor<?x4xf32>, tensor<?x4xf32>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 2 : i64, scale = 1.0 : f64}
      : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// With a window of 2, position 2 sees 1 and 2: the mean of 4 and 6. Keys are all equal.
// CHECK-LABEL: @window result 0
// CHECK-NEXT: 100
// CHECK-NEXT: 52
// CHECK-NEXT: 5
func.func @window(%v: tensor<?x1xf32> {llm.value = dense<[[100.0], [4.0], [6.0]]> : tensor<3x1xf32>},
                  %k: tensor<?x1xf32> {llm.value = dense<1.0> : tensor<3x1xf32>},
                  %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 0, 0>, positions = array<i64: 0, 1, 2>}},
                  %kv: !llm.kv_cache) -> tensor<?x1xf32> {
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 1 : i64}
      : (!llm.kv_cache, tensor<?x1xf32>, tensor<?x1xf32>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %k, %kv1, %batch {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 1 : i64, scale = 1.0 : f64, window = 2 : i64}
      : (tensor<?x1xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// Scores of 1000 and 0 are capped to ln(3) and 0: weights 3 : 1.
// CHECK-LABEL: @softcap result 0
// CHECK-NEXT: 4
// CHECK-NEXT: 3
func.func @softcap(%q: tensor<?x1xf32> {llm.value = dense<1000.0> : tensor<2x1xf32>},
                   %k: tensor<?x1xf32> {llm.value = dense<[[1.0], [0.0]]> : tensor<2x1xf32>},
                   %v: tensor<?x1xf32> {llm.value = dense<[[4.0], [0.0]]> : tensor<2x1xf32>},
                   %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 0>, positions = array<i64: 0, 1>}},
                   %kv: !llm.kv_cache) -> tensor<?x1xf32> {
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 1 : i64}
      : (!llm.kv_cache, tensor<?x1xf32>, tensor<?x1xf32>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 1 : i64, scale = 1.0 : f64, softcap = 1.0986122886681098 : f64}
      : (tensor<?x1xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// Keys are zero, so scores are the slopes' alone: ln(3) a position for head 0, nothing for head 1.
// CHECK-LABEL: @alibi result 0
// CHECK-NEXT: 8 8
// CHECK-NEXT: 2 4
func.func @alibi(%k: tensor<?x1xf32> {llm.value = dense<0.0> : tensor<2x1xf32>},
                 %q: tensor<?x2xf32> {llm.value = dense<1.0> : tensor<2x2xf32>},
                 %v: tensor<?x1xf32> {llm.value = dense<[[8.0], [0.0]]> : tensor<2x1xf32>},
                 %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 0>, positions = array<i64: 0, 1>}},
                 %kv: !llm.kv_cache) -> tensor<?x2xf32> {
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 1 : i64}
      : (!llm.kv_cache, tensor<?x1xf32>, tensor<?x1xf32>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, head_dim = 1 : i64, scale = 1.0 : f64,
                                             alibi = array<f64: 1.0986122886681098, 0.0>}
      : (tensor<?x2xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// A sink of ln(3) counts as three keys of score 0 and adds no value; one of a large negative logit counts as none.
llm.weight @sinks : tensor<2xf64> = dense<[1.0986122886681098, -1000.0]> : tensor<2xf64>
// CHECK-LABEL: @sinks_of_heads result 0
// CHECK-NEXT: 2 8
// CHECK-NEXT: 2.4 6
func.func @sinks_of_heads(%k: tensor<?x1xf32> {llm.value = dense<0.0> : tensor<2x1xf32>},
                          %q: tensor<?x2xf32> {llm.value = dense<1.0> : tensor<2x2xf32>},
                          %v: tensor<?x1xf32> {llm.value = dense<[[8.0], [4.0]]> : tensor<2x1xf32>},
                          %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 0>, positions = array<i64: 0, 1>}},
                          %kv: !llm.kv_cache) -> tensor<?x2xf32> {
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 1 : i64}
      : (!llm.kv_cache, tensor<?x1xf32>, tensor<?x1xf32>, !llm.batch) -> !llm.kv_cache
  %y = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, head_dim = 1 : i64, scale = 1.0 : f64,
                                             sinks = @sinks}
      : (tensor<?x2xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Codes are read times their scale: keys of 1 are stored as 2 and values of 6 as 12. 0.3 is stored as 0.625, 3.375 as 7.
llm.weight @half : tensor<1xf32> = dense<0.5> : tensor<1xf32>
// CHECK-LABEL: @codes result 0
// CHECK-NEXT: 6 0.3125
// CHECK-NEXT: 4.5 1.10938
func.func @codes(%q: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0], [1.0, 0.0]]> : tensor<2x2xf32>},
                 %k: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0], [0.0, 1.0]]> : tensor<2x2xf32>},
                 %v: tensor<?x2xf32> {llm.value = dense<[[6.0, 0.3], [0.0, 3.375]]> : tensor<2x2xf32>},
                 %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 0>, positions = array<i64: 0, 1>}},
                 %kv: !llm.kv_cache<f8E4M3FN>) -> tensor<?x2xf32> {
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 2 : i64, key_scale = @half, value_scale = @half}
      : (!llm.kv_cache<f8E4M3FN>, tensor<?x2xf32>, tensor<?x2xf32>, !llm.batch) -> !llm.kv_cache<f8E4M3FN>
  %y = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 2 : i64, scale = 1.0986122886681098 : f64,
                                             key_scale = @half, value_scale = @half}
      : (tensor<?x2xf32>, !llm.kv_cache<f8E4M3FN>, !llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
