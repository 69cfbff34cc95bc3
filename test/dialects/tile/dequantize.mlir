// RUN: inlay-opt %s | inlay-opt | FileCheck %s

// CHECK-LABEL: tile.program @dequantize
tile.program @dequantize(%codes: !tile.view<16x64xi8, weight>, %groups: !tile.view<16x4xf32, weight>, %out: !tile.view<16x128xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %b = tile.load %codes[%c0, %c0] : !tile.view<16x64xi8, weight> -> tensor<16x64xi8>
  %s = tile.load %groups[%c0, %c0] : !tile.view<16x4xf32, weight> -> tensor<16x4xf32>
  // CHECK: tile.dequantize u4 %{{.*}} scales %{{.*}} {group = 32 : i64, zero_point = 8 : i64} : tensor<16x64xi8>, tensor<16x4xf32> -> tensor<16x128xf32>
  %w = tile.dequantize u4 %b scales %s {group = 32 : i64, zero_point = 8 : i64} : tensor<16x64xi8>, tensor<16x4xf32> -> tensor<16x128xf32>
  // CHECK: tile.dequantize nf4 %{{.*}} scales %{{.*}} zeros %{{.*}} : tensor<16x4xf32> {group = 32 : i64} : tensor<16x64xi8>, tensor<16x4xf32> -> tensor<16x128xf32>
  %v = tile.dequantize nf4 %b scales %s zeros %s : tensor<16x4xf32> {group = 32 : i64} : tensor<16x64xi8>, tensor<16x4xf32> -> tensor<16x128xf32>
  %sum = arith.addf %w, %v : tensor<16x128xf32>
  tile.store %sum, %out[%c0, %c0] : tensor<16x128xf32>, !tile.view<16x128xf32, output>
}

// Codes of 4 bits one by one, without scales, as bf16.
// CHECK-LABEL: tile.program @numbers
tile.program @numbers(%codes: !tile.view<16x128xi4, weight>, %out: !tile.view<16x128xbf16, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %b = tile.load %codes[%c0, %c0] : !tile.view<16x128xi4, weight> -> tensor<16x128xi4>
  // CHECK: tile.dequantize u4 %{{[^ ]*}} {zero_point = 8 : i64} : tensor<16x128xi4> -> tensor<16x128xbf16>
  %w = tile.dequantize u4 %b {zero_point = 8 : i64} : tensor<16x128xi4> -> tensor<16x128xbf16>
  tile.store %w, %out[%c0, %c0] : tensor<16x128xbf16>, !tile.view<16x128xbf16, output>
}
