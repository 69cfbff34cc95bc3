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

// Two parts: positions 0 to 2 of sequences of up to 3 tokens do not rotate, positions 0 to 2 of longer ones rotate by
// pi / 3 each. Sequence 0 is short, sequence 1 is long.
// CHECK-LABEL: @two_parts result 0
// CHECK-NEXT: 1 0
// CHECK-NEXT: 1 0
// CHECK-NEXT: 0.5 0.866025
// CHECK-NEXT: -0.5 0.866025
llm.rope_table @short_and_long : tensor<6x2xf32> {inv_freq = array<f64: 0.0, 1.0471975511965976>, short_rows = 3 : i64}
func.func @two_parts(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]> : tensor<4x2xf32>},
                     %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 1, 1, 1>, positions = array<i64: 2, 0, 1, 2>,
                                                      rope_rows = array<i64: 2, 3, 4, 5>}})
    -> tensor<?x2xf32> {
  %y = llm.rope %x, %batch, @short_and_long {head_dim = 2 : i64} : (tensor<?x2xf32>, !llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// A temperature of 1 + 3 ln(1 + floor(p / 2)), without a rotation.
// CHECK-LABEL: @temperature result 0
// CHECK-NEXT: 1 0
// CHECK-NEXT: 3.07944 0
// CHECK-NEXT: 4.29584 0
llm.rope_table @query_table : tensor<8x2xf32> {inv_freq = array<f64: 0.0>, temperature_beta = 3.0 : f64, temperature_length = 2 : i64}
func.func @temperature(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]> : tensor<3x2xf32>},
                       %batch: !llm.batch {llm.value = {sequences = array<i64: 0, 0, 0>, positions = array<i64: 1, 3, 4>}})
    -> tensor<?x2xf32> {
  %y = llm.rope %x, %batch, @query_table {head_dim = 2 : i64} : (tensor<?x2xf32>, !llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
