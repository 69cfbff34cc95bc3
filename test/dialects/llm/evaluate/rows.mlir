// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines
// Rows that a step picks: gather_rows and sample; a group computes what its body says.

// CHECK-LABEL: @gather result 0
// CHECK-NEXT: 5 6
// CHECK-NEXT: 1 2
func.func @gather(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>},
                  %batch: !llm.batch {llm.value = {logit_rows = array<i64: 2, 0>}}) -> tensor<?x2xf32> {
  %y = llm.gather_rows %x, %batch : (tensor<?x2xf32>, !llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// The first of the largest.
// CHECK-LABEL: @greedy result 0
// CHECK-NEXT: 1 0
func.func @greedy(%x: tensor<?x3xf32> {llm.value = dense<[[1.0, 2.0, 2.0], [-1.0, -2.0, -3.0]]> : tensor<2x3xf32>},
                  %batch: !llm.batch {llm.value = {temperatures = array<f64>}}) -> tensor<?xi32> {
  %y = llm.sample %x, %batch : (tensor<?x3xf32>, !llm.batch) -> tensor<?xi32>
  return %y : tensor<?xi32>
}

// CHECK-LABEL: @group result 0
// CHECK-NEXT: 2
// CHECK-LABEL: @group result 1
// CHECK-NEXT: 4
func.func @group(%x: tensor<?x1xf32> {llm.value = dense<1.0> : tensor<1x1xf32>}) -> (tensor<?x1xf32>, tensor<?x1xf32>) {
  %two, %four = llm.group "sums" family("rows") -> tensor<?x1xf32>, tensor<?x1xf32> {
    %a = llm.add %x, %x : tensor<?x1xf32>
    %b = llm.add %a, %a : tensor<?x1xf32>
    llm.yield %a, %b : tensor<?x1xf32>, tensor<?x1xf32>
  }
  return %two, %four : tensor<?x1xf32>, tensor<?x1xf32>
}
