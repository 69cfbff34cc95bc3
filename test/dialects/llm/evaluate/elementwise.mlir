// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines

// CHECK-LABEL: @add result 0
// CHECK-NEXT: 11 22
func.func @add(%a: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0]]> : tensor<1x2xf32>},
               %b: tensor<?x2xf32> {llm.value = dense<[[10.0, 20.0]]> : tensor<1x2xf32>}) -> tensor<?x2xf32> {
  %y = llm.add %a, %b : tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// silu(ln 3) = 0.75 ln 3, silu(-ln 3) = -0.25 ln 3.
// CHECK-LABEL: @silu result 0
// CHECK-NEXT: 0 0.75 -0.25
func.func @silu(%gate: tensor<?x3xf64> {llm.value = dense<[[0.0, 1.0986122886681098, -1.0986122886681098]]> : tensor<1x3xf64>},
                %up: tensor<?x3xf64> {llm.value = dense<0.9102392266268373> : tensor<1x3xf64>}) -> tensor<?x3xf64> {
  %y = llm.gated_activation silu %gate, %up : tensor<?x3xf64>
  return %y : tensor<?x3xf64>
}

// torch.nn.functional.gelu of 1 and -1, without and with approximate="tanh".
// CHECK-LABEL: @gelu result 0
// CHECK-NEXT: 0.841345 -0.158655
func.func @gelu(%gate: tensor<?x2xf32> {llm.value = dense<[[1.0, -1.0]]> : tensor<1x2xf32>},
                %up: tensor<?x2xf32> {llm.value = dense<1.0> : tensor<1x2xf32>}) -> tensor<?x2xf32> {
  %y = llm.gated_activation gelu %gate, %up : tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
// CHECK-LABEL: @gelu_tanh result 0
// CHECK-NEXT: 0.841192 -0.158808
func.func @gelu_tanh(%gate: tensor<?x2xf32> {llm.value = dense<[[1.0, -1.0]]> : tensor<1x2xf32>},
                     %up: tensor<?x2xf32> {llm.value = dense<1.0> : tensor<1x2xf32>}) -> tensor<?x2xf32> {
  %y = llm.gated_activation gelu_tanh %gate, %up : tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
