// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines

// Three ranks that have the same parameters.
module attributes {llm.ranks = 3 : i64} {
llm.weight @bias : tensor<2xf32> = dense<[10.0, 20.0]> : tensor<2xf32>
llm.weight @ten : tensor<4xf32> = dense<10.0> : tensor<4xf32>
llm.weight @product : tensor<2x4xf32> = dense<[[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]> : tensor<2x4xf32>

// CHECK-LABEL: @all_reduce result 0
// CHECK-NEXT: 3 6
func.func @all_reduce(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0]]> : tensor<1x2xf32>}) -> tensor<?x2xf32> {
  %y = llm.all_reduce %x : tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// The last column of the third rank is dropped.
// CHECK-LABEL: @all_gather result 0
// CHECK-NEXT: 1 2 1 2 1
// CHECK-NEXT: 3 4 3 4 3
func.func @all_gather(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>}) -> tensor<?x5xf32> {
  %y = llm.all_gather %x : (tensor<?x2xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// The best token of each rank, of two tokens on the first two ranks and one on the third, whose other column is padding.
// CHECK-LABEL: @sample_candidate result 0
// CHECK-NEXT: 2 1 2 3 1 4
// CHECK-NEXT: 3 0 3 2 3 4
func.func @sample_candidate(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 3.0]]> : tensor<2x2xf32>},
                            %batch: !llm.batch {llm.value = {temperatures = array<f64>}}) -> tensor<?x6xf32> {
  %best = llm.sample_candidate %x, %batch {vocabulary = 5 : i64} : (tensor<?x2xf32>, !llm.batch) -> tensor<?x2xf32>
  %all = llm.all_gather %best : (tensor<?x2xf32>) -> tensor<?x6xf32>
  return %all : tensor<?x6xf32>
}

// The first token with the largest score.
// CHECK-LABEL: @sample_merge result 0
// CHECK-NEXT: 9 5
func.func @sample_merge(%x: tensor<?x6xf32> {llm.value = dense<[[1.0, 5.0, 3.0, 9.0, 3.0, 12.0], [0.0, 5.0, -1.0, 9.0, -2.0, 12.0]]> : tensor<2x6xf32>}) -> tensor<?xi32> {
  %y = llm.sample_merge %x : (tensor<?x6xf32>) -> tensor<?xi32>
  return %y : tensor<?xi32>
}

// CHECK-LABEL: @add_bias result 0
// CHECK-NEXT: 11 22
func.func @add_bias(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0]]> : tensor<1x2xf32>}) -> tensor<?x2xf32> {
  %y = llm.add_bias %x, @bias : tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// The mean of the squares of 6 columns is 25 / 2, with eps 25.
// CHECK-LABEL: @norm_of_rows result 0
// CHECK-NEXT: 25
// CHECK-LABEL: @norm_of_rows result 1
// CHECK-NEXT: 6 16
func.func @norm_of_rows(%x: tensor<?x2xf32> {llm.value = dense<[[3.0, 4.0]]> : tensor<1x2xf32>}) -> (tensor<?x1xf32>, tensor<?x2xf32>) {
  %own = llm.sum_of_squares %x : (tensor<?x2xf32>) -> tensor<?x1xf32>
  %all = llm.all_reduce %own : tensor<?x1xf32>
  %y = llm.rms_scale %x, %all, @bias {eps = 12.5 : f64, columns = 6 : i64} : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  return %own, %y : tensor<?x1xf32>, tensor<?x2xf32>
}

// The sums of the squares of two parts are 25 and 36. The mean of all with eps is 16. The bias is added after the norm.
// CHECK-LABEL: @split_norm result 0
// CHECK-NEXT: 25 36
// CHECK-LABEL: @split_norm result 1
// CHECK-NEXT: 33 44 0 66
// CHECK-LABEL: @split_norm result 2
// CHECK-NEXT: 29.25 20
func.func @split_norm(%x: tensor<?x4xf32> {llm.value = dense<[[3.0, 4.0, 0.0, 6.0]]> : tensor<1x4xf32>}) -> (tensor<?x2xf32>, tensor<?x4xf32>, tensor<?x2xf32>) {
  %squares = llm.sum_of_squares %x : (tensor<?x4xf32>) -> tensor<?x2xf32>
  %scaled = llm.scale_columns %x, @ten {weight_offset = 1.0 : f64} : tensor<?x4xf32>
  %y = llm.linear %scaled, @product bias @bias norm %squares {eps = 0.75 : f64} : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  return %squares, %scaled, %y : tensor<?x2xf32>, tensor<?x4xf32>, tensor<?x2xf32>
}
}
