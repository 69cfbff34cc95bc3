// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines

llm.weight @table : tensor<3x2xf32> = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>

// CHECK-LABEL: @rows result 0
// CHECK-NEXT: 5 6
// CHECK-NEXT: 1 2
func.func @rows(%tokens: tensor<?xi32> {llm.value = dense<[2, 0]> : tensor<2xi32>}) -> tensor<?x2xf32> {
  %x = llm.embedding %tokens, @table : (tensor<?xi32>) -> tensor<?x2xf32>
  return %x : tensor<?x2xf32>
}

// CHECK-LABEL: @scaled result 0
// CHECK-NEXT: 1.5 2
func.func @scaled(%tokens: tensor<?xi32> {llm.value = dense<[1]> : tensor<1xi32>}) -> tensor<?x2xf32> {
  %x = llm.embedding %tokens, @table {scale = 0.5 : f64} : (tensor<?xi32>) -> tensor<?x2xf32>
  return %x : tensor<?x2xf32>
}
