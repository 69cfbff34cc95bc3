// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines

llm.weight @columns : tensor<4xf32> = dense<[1.0, 1.0, 10.0, -1.0]> : tensor<4xf32>
llm.weight @head : tensor<2xf32> = dense<[1.0, 10.0]> : tensor<2xf32>

// CHECK-LABEL: @row result 0
// CHECK-NEXT: 0.4 0.8 8 -1.2
func.func @row(%x: tensor<?x4xf32> {llm.value = dense<[[2.0, 4.0, 4.0, 6.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  // The mean of the squares is (4 + 16 + 16 + 36) / 4 = 18, with eps 25.
  %y = llm.rms_norm %x, @columns {eps = 7.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Each head of two columns has a mean of its own: 25 and 1.
// CHECK-LABEL: @heads result 0
// CHECK-NEXT: 0.2 14 1 -10
func.func @heads(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 7.0, 1.0, -1.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.rms_norm %x, @head {eps = 0.0 : f64, group = 2 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Gemma's: the weight is an offset from 1. Without a weight there is no such factor.
// CHECK-LABEL: @offset result 0
// CHECK-NEXT: 0.8 1.6 8.8 0
func.func @offset(%x: tensor<?x4xf32> {llm.value = dense<[[2.0, 4.0, 4.0, 6.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.rms_norm %x, @columns {eps = 7.0 : f64, weight_offset = 1.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
// CHECK-LABEL: @no_weight result 0
// CHECK-NEXT: 0.4 0.8 0.8 1.2
func.func @no_weight(%x: tensor<?x4xf32> {llm.value = dense<[[2.0, 4.0, 4.0, 6.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.rms_norm %x {eps = 7.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// A weight of all columns gives each head its own.
// CHECK-LABEL: @weights_of_heads result 0
// CHECK-NEXT: 0.2 1.4 10 1
func.func @weights_of_heads(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 7.0, 1.0, -1.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.rms_norm %x, @columns {eps = 0.0 : f64, group = 2 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
