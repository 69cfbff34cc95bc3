// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines

// Pi / 3 and no rotation: at position 1 the cosines are 0.5 and 1.
llm.rope_table @rope : tensor<4x4xf32> {inv_freq = array<f64: 1.0471975511965976, 0.0>}
llm.rope_table @scaled : tensor<4x4xf32> {inv_freq = array<f64: 1.0471975511965976, 0.0>, attention_factor = 2.0 : f64}

// Element i rotates with element i + 2. Position 0 rotates nothing.
// CHECK-LABEL: @positions result 0
// CHECK-NEXT: 1 2 3 4
// CHECK-NEXT: 0.5 5 0.866025 6
func.func @positions(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 2.0, 3.0, 4.0], [1.0, 5.0, 0.0, 6.0]]> : tensor<2x4xf32>},
                     %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 0>, positions = array<i64: 0, 1>}})
    -> tensor<?x4xf32> {
  %y = llm.rope %x, %batch, @rope {head_dim = 4 : i64} : (tensor<?x4xf32>, !llm.batch) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Both heads of the row have its position.
// CHECK-LABEL: @heads result 0
// CHECK-NEXT: -1.73205 0 1 0 1 2 1.73205 4
func.func @heads(%x: tensor<?x8xf32> {llm.value = dense<[[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 2.0]]> : tensor<1x8xf32>},
                 %batch: !llm.batch {llm.value = {sequences = array<i64: 0>, positions = array<i64: 1>}})
    -> tensor<?x8xf32> {
  %y = llm.rope %x, %batch, @scaled {head_dim = 4 : i64} : (tensor<?x8xf32>, !llm.batch) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// Three sets of frequencies for four rows: positions 0 and 1 take the first, 2 the second, 3 the third.
llm.rope_table @late : tensor<4x2xf32> {inv_freq = array<f64: 0.0, 0.5235987755982988, 0.6981317007977318>}

// CHECK-LABEL: @late_positions result 0
// CHECK-NEXT: 1 0
// CHECK-NEXT: 0.5 0.866025
// CHECK-NEXT: -0.5 0.866025
func.func @late_positions(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]> : tensor<3x2xf32>},
                          %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 0, 0>, positions = array<i64: 1, 2, 3>}})
    -> tensor<?x2xf32> {
  %y = llm.rope %x, %batch, @late {head_dim = 2 : i64} : (tensor<?x2xf32>, !llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// A table of two columns rotates the first two elements of each head of four.
// CHECK-LABEL: @partial result 0
// CHECK-NEXT: -1.73205 1 7 8 1 1.73205 5 6
llm.rope_table @partial_table : tensor<4x2xf32> {inv_freq = array<f64: 1.0471975511965976>, attention_factor = 2.0 : f64}
func.func @partial(%x: tensor<?x8xf32> {llm.value = dense<[[0.0, 1.0, 7.0, 8.0, 1.0, 0.0, 5.0, 6.0]]> : tensor<1x8xf32>},
                   %batch: !llm.batch {llm.value = {sequences = array<i64: 0>, positions = array<i64: 1>}})
    -> tensor<?x8xf32> {
  %y = llm.rope %x, %batch, @partial_table {head_dim = 4 : i64} : (tensor<?x8xf32>, !llm.batch) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
