// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines
// What codes of quantized weights stand for: (code - zero) * scale, with a scale for each row and group of columns.

llm.weight @u4.s : tensor<2x2xf32> = dense<[[1.0, 10.0], [0.5, 2.0]]> : tensor<2x2xf32>
llm.weight @u4.z : tensor<2x2xf32> = dense<[[0.0, 15.0], [16.0, 8.0]]> : tensor<2x2xf32>
llm.weight @u4 : tensor<2x4xi4> = dense<[[0, 15, 8, 7], [1, 2, 3, 4]]> : tensor<2x4xi4>
    {quantized = #llm.quantized<u4, scales = @u4.s, zero_points = @u4.z, group = 2>}
llm.weight @sym : tensor<2x4xi4> = dense<[[0, 15, 8, 7], [1, 2, 3, 4]]> : tensor<2x4xi4>
    {quantized = #llm.quantized<u4, scales = @u4.s, zero_point = 8, group = 2>}

llm.weight @row : tensor<1x1xf32> = dense<2.0> : tensor<1x1xf32>
llm.weight @nf4 : tensor<1x4xi4> = dense<[[0, 7, 15, 8]]> : tensor<1x4xi4>
    {quantized = #llm.quantized<nf4, scales = @row, group = 4>}
llm.weight @u8 : tensor<1x4xi8> = dense<[[0, 127, -128, -1]]> : tensor<1x4xi8>
    {quantized = #llm.quantized<u8, scales = @row, zero_point = 128, group = 4>}
llm.weight @i8 : tensor<1x4xi8> = dense<[[0, 127, -128, -1]]> : tensor<1x4xi8>
    {quantized = #llm.quantized<i8, scales = @row, group = 4>}
llm.weight @f8 : tensor<1x4xf8E4M3FN> = dense<[[0.0, 448.0, -1.75, 0.001953125]]> : tensor<1x4xf8E4M3FN>
    {quantized = #llm.quantized<f8e4m3, scales = @row, group = 4>}

// Each column of the weight alone.
// CHECK-LABEL: @zero_points result 0
// CHECK-NEXT: 0 -7.5
// CHECK-NEXT: 15 -7
// CHECK-NEXT: -70 -10
// CHECK-NEXT: -80 -8
func.func @zero_points(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]> : tensor<4x4xf32>}) -> tensor<?x2xf32> {
  %y = llm.linear %x, @u4 : (tensor<?x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: @symmetric result 0
// CHECK-NEXT: -8 -3.5
// CHECK-NEXT: -10 -8
func.func @symmetric(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]> : tensor<2x4xf32>}) -> tensor<?x2xf32> {
  %y = llm.linear %x, @sym : (tensor<?x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: @codes result 0
// CHECK-NEXT: -2
// CHECK-NEXT: 0
// CHECK-NEXT: 2
// CHECK-NEXT: 0.159161
// CHECK-LABEL: @codes result 1
// CHECK-NEXT: -256
// CHECK-NEXT: -2
// CHECK-NEXT: 0
// CHECK-NEXT: 254
// CHECK-LABEL: @codes result 2
// CHECK-NEXT: 0
// CHECK-NEXT: 254
// CHECK-NEXT: -256
// CHECK-NEXT: -2
// CHECK-LABEL: @codes result 3
// CHECK-NEXT: 0
// CHECK-NEXT: 896
// CHECK-NEXT: -3.5
// CHECK-NEXT: 0.00390625
func.func @codes(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]> : tensor<4x4xf32>})
    -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>) {
  %a = llm.linear %x, @nf4 : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %b = llm.linear %x, @u8 : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %c = llm.linear %x, @i8 : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %d = llm.linear %x, @f8 : (tensor<?x4xf32>) -> tensor<?x1xf32>
  return %a, %b, %c, %d : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}

llm.weight @order : tensor<1x4xi32> = dense<[[2, 0, 3, 1]]> : tensor<1x4xi32>

// CHECK-LABEL: @columns result 0
// CHECK-NEXT: 3 1 4 2
// CHECK-NEXT: 7 5 8 6
func.func @columns(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>}) -> tensor<?x4xf32> {
  %y = llm.gather_columns %x, @order : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
