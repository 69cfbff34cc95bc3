// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines

llm.weight @weight : tensor<4xf32> = dense<[1.0, 2.0, 3.0, -1.0]> : tensor<4xf32>
llm.weight @bias : tensor<4xf32> = dense<[0.0, 10.0, 0.0, 1.0]> : tensor<4xf32>
llm.weight @heads : tensor<2x2xf32> = dense<[[1.0, 2.0], [10.0, 20.0]]> : tensor<2x2xf32>
llm.weight @shared : tensor<2xf32> = dense<[5.0, 6.0]> : tensor<2xf32>

// The mean is 4, the variance (4 + 0 + 0 + 4) / 4 = 2, with eps 4.
// CHECK-LABEL: @row result 0
// CHECK-NEXT: -1 10 0 0
func.func @row(%x: tensor<?x4xf32> {llm.value = dense<[[2.0, 4.0, 4.0, 6.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.layer_norm %x, @weight bias @bias {eps = 2.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Without a bias, without a weight, with a bias alone, with 1 + weight.
// CHECK-LABEL: @no_bias result 0
// CHECK-NEXT: -1 0 0 -1
func.func @no_bias(%x: tensor<?x4xf32> {llm.value = dense<[[2.0, 4.0, 4.0, 6.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.layer_norm %x, @weight {eps = 2.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
// CHECK-LABEL: @plain result 0
// CHECK-NEXT: -1 0 0 1
func.func @plain(%x: tensor<?x4xf32> {llm.value = dense<[[2.0, 4.0, 4.0, 6.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.layer_norm %x {eps = 2.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
// CHECK-LABEL: @bias_alone result 0
// CHECK-NEXT: -1 10 0 2
func.func @bias_alone(%x: tensor<?x4xf32> {llm.value = dense<[[2.0, 4.0, 4.0, 6.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.layer_norm %x bias @bias {eps = 2.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
// CHECK-LABEL: @offset result 0
// CHECK-NEXT: -2 10 0 1
func.func @offset(%x: tensor<?x4xf32> {llm.value = dense<[[2.0, 4.0, 4.0, 6.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.layer_norm %x, @weight bias @bias {eps = 2.0 : f64, weight_offset = 1.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Each head has a mean and a variance of its own, and here a weight of its own: Cohere and StableLM.
// CHECK-LABEL: @weights_of_heads result 0
// CHECK-NEXT: 4 8 15 -14
func.func @weights_of_heads(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 3.0, 9.0, 7.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.layer_norm %x, @heads bias @shared {eps = 0.0 : f64, group = 2 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
