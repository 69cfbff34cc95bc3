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

// Every kind of activation without a gate: of -2, 1 and 3.
// CHECK-LABEL: @relu result 0
// CHECK-NEXT: 0 1 3
func.func @relu(%x: tensor<?x3xf32> {llm.value = dense<[[-2.0, 1.0, 3.0]]> : tensor<1x3xf32>}) -> tensor<?x3xf32> {
  %y = llm.activation relu %x : tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
// CHECK-LABEL: @relu2 result 0
// CHECK-NEXT: 0 1 9
func.func @relu2(%x: tensor<?x3xf32> {llm.value = dense<[[-2.0, 1.0, 3.0]]> : tensor<1x3xf32>}) -> tensor<?x3xf32> {
  %y = llm.activation relu2 %x : tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
// CHECK-LABEL: @plain_silu result 0
// CHECK-NEXT: -0.238406 0.731059 2.85772
func.func @plain_silu(%x: tensor<?x3xf32> {llm.value = dense<[[-2.0, 1.0, 3.0]]> : tensor<1x3xf32>}) -> tensor<?x3xf32> {
  %y = llm.activation silu %x : tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
// CHECK-LABEL: @plain_gelu result 0
// CHECK-NEXT: -0.0455003 0.841345 2.99595
func.func @plain_gelu(%x: tensor<?x3xf32> {llm.value = dense<[[-2.0, 1.0, 3.0]]> : tensor<1x3xf32>}) -> tensor<?x3xf32> {
  %y = llm.activation gelu %x : tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
// CHECK-LABEL: @plain_gelu_tanh result 0
// CHECK-NEXT: -0.0454023 0.841192 2.99636
func.func @plain_gelu_tanh(%x: tensor<?x3xf32> {llm.value = dense<[[-2.0, 1.0, 3.0]]> : tensor<1x3xf32>}) -> tensor<?x3xf32> {
  %y = llm.activation gelu_tanh %x : tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// CHECK-LABEL: @scale result 0
// CHECK-NEXT: 0.5 -4
func.func @scale(%x: tensor<?x2xf32> {llm.value = dense<[[0.25, -2.0]]> : tensor<1x2xf32>}) -> tensor<?x2xf32> {
  %y = llm.scale %x {factor = 2.0 : f64} : tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// 2 tanh(ln(3) / 2) = 1; large ones are bounded.
// CHECK-LABEL: @softcap result 0
// CHECK-NEXT: 1 2 -2
func.func @softcap(%x: tensor<?x3xf64> {llm.value = dense<[[1.0986122886681098, 1000.0, -1000.0]]> : tensor<1x3xf64>}) -> tensor<?x3xf64> {
  %y = llm.softcap %x {cap = 2.0 : f64} : tensor<?x3xf64>
  return %y : tensor<?x3xf64>
}
