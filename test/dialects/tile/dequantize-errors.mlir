// RUN: inlay-opt %s --split-input-file --verify-diagnostics

func.func @bytes(%b: tensor<16x64xi8>, %s: tensor<16x4xf32>) {
  // expected-error @+1 {{turns bytes of 2 codes into f32, bf16 or f16, found 'tensor<16x64xi8>' to 'tensor<16x64xf32>'}}
  %w = tile.dequantize u4 %b scales %s {group = 32 : i64} : tensor<16x64xi8>, tensor<16x4xf32> -> tensor<16x64xf32>
  return
}

// -----

func.func @scales(%b: tensor<16x64xi8>, %s: tensor<16x4xf32>) {
  // expected-error @+1 {{has 'tensor<16x4xf32>' for groups of 64 columns of 'tensor<16x64xf32>'}}
  %w = tile.dequantize i8 %b scales %s {group = 64 : i64} : tensor<16x64xi8>, tensor<16x4xf32> -> tensor<16x64xf32>
  return
}

// -----

func.func @both(%b: tensor<16x64xi8>, %s: tensor<16x1xf32>) {
  // expected-error @+1 {{has zero points of groups, or one for all, found both}}
  %w = tile.dequantize u8 %b scales %s zeros %s : tensor<16x1xf32> {group = 64 : i64, zero_point = 128 : i64} : tensor<16x64xi8>, tensor<16x1xf32> -> tensor<16x64xf32>
  return
}

// -----

func.func @group_without_scales(%b: tensor<16x64xi8>) {
  // expected-error @+1 {{has groups of 64 columns and the zero point 0}}
  %w = tile.dequantize i8 %b {group = 64 : i64} : tensor<16x64xi8> -> tensor<16x64xbf16>
  return
}
