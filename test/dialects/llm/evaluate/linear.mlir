// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines

llm.weight @w : tensor<3x2xf32> = dense<[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]> : tensor<3x2xf32>
llm.weight @b : tensor<3xf32> = dense<[10.0, 20.0, 30.0]> : tensor<3xf32>
llm.weight @pairs : tensor<4x2xf32> = dense<[[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 2.0]]> : tensor<4x2xf32>
    {row_order = #llm<row_order alternate>}

// CHECK-LABEL: @product result 0
// CHECK-NEXT: 1 2 3
// CHECK-NEXT: 3 4 7
func.func @product(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>}) -> tensor<?x3xf32> {
  %y = llm.linear %x, @w : (tensor<?x2xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// CHECK-LABEL: @bias result 0
// CHECK-NEXT: 11 22 33
func.func @bias(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0]]> : tensor<1x2xf32>}) -> tensor<?x3xf32> {
  %y = llm.linear %x, @w bias @b : (tensor<?x2xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// Several results are the next columns each; the row order of the weight in memory changes nothing.
// CHECK-LABEL: @several result 0
// CHECK-NEXT: 3 6
// CHECK-LABEL: @several result 1
// CHECK-NEXT: 5 10
func.func @several(%x: tensor<?x2xf32> {llm.value = dense<[[3.0, 5.0]]> : tensor<1x2xf32>})
    -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %gate, %up = llm.linear %x, @pairs : (tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>)
  return %gate, %up : tensor<?x2xf32>, tensor<?x2xf32>
}
