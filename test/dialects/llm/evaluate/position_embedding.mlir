// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines

llm.weight @table : tensor<5x2xf32> = dense<[[0.0, 1.0], [10.0, 11.0], [20.0, 21.0], [30.0, 31.0], [40.0, 41.0]]> : tensor<5x2xf32>

// CHECK-LABEL: @positions result 0
// CHECK-NEXT: 30 31
// CHECK-NEXT: 0 1
func.func @positions(%batch: !llm.batch {llm.value = {sequences = array<i64: 0, 1>, positions = array<i64: 3, 0>}}) -> tensor<?x2xf32> {
  %y = llm.position_embedding %batch, @table : (!llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// OPT's table begins two rows earlier.
// CHECK-LABEL: @offset result 0
// CHECK-NEXT: 40 41
// CHECK-NEXT: 20 21
func.func @offset(%batch: !llm.batch {llm.value = {sequences = array<i64: 0, 1>, positions = array<i64: 2, 0>}}) -> tensor<?x2xf32> {
  %y = llm.position_embedding %batch, @table {offset = 2 : i64} : (!llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
