// RUN: inlay-opt %s --llm-evaluate -o /dev/null | FileCheck %s --match-full-lines
// Codes are the nearest to x / scale, ties to even, clamped; a linear multiplies codes by their scales.

llm.weight @given : tensor<3x1xf32> = dense<[[0.25], [0.5], [0.125]]> : tensor<3x1xf32>
llm.weight @s : tensor<1x1xf32> = dense<2.0> : tensor<1x1xf32>
llm.weight @w : tensor<1x4xf8E4M3FN> = dense<[[1.0, 2.0, 0.0, 0.5]]> : tensor<1x4xf8E4M3FN>
    {quantized = #llm.quantized<f8e4m3, scales = @s, group = 4>}

// The largest magnitude becomes 448. 17 and 19 lie between two codes. A row of zeros has the smallest scale, 1 / (448 * 512).
// CHECK-LABEL: @tokens result 0
// CHECK-NEXT: 448 -16 20 0.00195312
// CHECK-NEXT: 0 0 0 0
// CHECK-LABEL: @tokens result 1
// CHECK-NEXT: 1
// CHECK-NEXT: 4.35965e-06
func.func @tokens(%x: tensor<?x4xf32> {llm.value = dense<[[448.0, -17.0, 19.0, 0.002], [0.0, 0.0, 0.0, 0.0]]> : tensor<2x4xf32>})
    -> (tensor<?x4xf8E4M3FN>, tensor<?x1xf32>) {
  %codes, %scales = llm.quantize f8e4m3 %x : tensor<?x4xf32> -> tensor<?x4xf8E4M3FN>, tensor<?x1xf32>
  return %codes, %scales : tensor<?x4xf8E4M3FN>, tensor<?x1xf32>
}

// The largest of the given scales is 0.5; 300 / 0.5 is clamped.
// CHECK-LABEL: @static result 0
// CHECK-NEXT: 448 2 -1 0
// CHECK-LABEL: @static result 1
// CHECK-NEXT: 0.5
func.func @static(%x: tensor<?x4xf32> {llm.value = dense<[[300.0, 1.0, -0.5, 0.0]]> : tensor<1x4xf32>})
    -> (tensor<?x4xf8E4M3FN>, tensor<?x1xf32>) {
  %codes, %scales = llm.quantize f8e4m3 %x scale @given : tensor<?x4xf32> -> tensor<?x4xf8E4M3FN>, tensor<?x1xf32>
  return %codes, %scales : tensor<?x4xf8E4M3FN>, tensor<?x1xf32>
}

// CHECK-LABEL: @groups result 0
// CHECK-NEXT: 127 -64 2 -127
// CHECK-LABEL: @groups result 1
// CHECK-NEXT: 2 0.5
func.func @groups(%x: tensor<?x4xf32> {llm.value = dense<[[254.0, -127.0, 1.0, -63.5]]> : tensor<1x4xf32>})
    -> (tensor<?x4xi8>, tensor<?x2xf32>) {
  %codes, %scales = llm.quantize i8 %x {group = 2 : i64} : tensor<?x4xf32> -> tensor<?x4xi8>, tensor<?x2xf32>
  return %codes, %scales : tensor<?x4xi8>, tensor<?x2xf32>
}

// Codes 448, -16, 20 and 2^-9 of scale 1, times the weight 2, 4, 0 and 1.
// CHECK-LABEL: @product result 0
// CHECK-NEXT: 832.002
func.func @product(%x: tensor<?x4xf32> {llm.value = dense<[[448.0, -17.0, 19.0, 0.002]]> : tensor<1x4xf32>}) -> tensor<?x1xf32> {
  %codes, %scales = llm.quantize f8e4m3 %x : tensor<?x4xf32> -> tensor<?x4xf8E4M3FN>, tensor<?x1xf32>
  %y = llm.linear %codes scales %scales, @w : (tensor<?x4xf8E4M3FN>, tensor<?x1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
