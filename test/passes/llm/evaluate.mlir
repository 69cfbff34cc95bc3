// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines
// RUN: inlay-opt %s --llm-fuse-projections --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines
// RUN: inlay-opt %s --llm-fuse-projections --llm-form-groups --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines
// Fusion does not change results. The rows of gate and up, which have biases, alternate in memory.

llm.weight @norm : tensor<4xf32> = dense<[4.0, 4.0, 4.0, 4.0]> : tensor<4xf32>
llm.weight @gate : tensor<2x4xf32> = dense<[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
llm.weight @up : tensor<2x4xf32> = dense<[[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 2.0, 0.0]]> : tensor<2x4xf32>
llm.weight @gate_bias : tensor<2xf32> = dense<[-3.0, 96.0]> : tensor<2xf32>
llm.weight @up_bias : tensor<2xf32> = dense<[1.0, -9.0]> : tensor<2xf32>
llm.weight @down : tensor<4x2xf32> = dense<[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]> : tensor<4x2xf32>

// The mean square of x is 12.5, with eps it is 16, and the weight makes the norm equal to x.
// gate = (3 - 3, 4 + 96), up = (5 + 1, 10 - 9): silu(0) * 6 = 0 and silu(100) * 1 = 100.
// CHECK-LABEL: @mlp result 0
// CHECK-NEXT: 3 104 105 0
func.func @mlp(%x: tensor<?x4xf32> {llm.value = dense<[[3.0, 4.0, 5.0, 0.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %n = llm.rms_norm %x, @norm {eps = 3.5 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %g = llm.linear %n, @gate bias @gate_bias : (tensor<?x4xf32>) -> tensor<?x2xf32>
  %u = llm.linear %n, @up bias @up_bias : (tensor<?x4xf32>) -> tensor<?x2xf32>
  %h = llm.gated_activation silu %g, %u : tensor<?x2xf32>
  %d = llm.linear %h, @down : (tensor<?x2xf32>) -> tensor<?x4xf32>
  %y = llm.add %x, %d : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
