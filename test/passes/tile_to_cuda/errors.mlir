// RUN: not inlay-translate --tile-to-cuda --split-input-file %s 2>&1 | FileCheck %s
!x = !tile.view<16x16xf32, activation>
!y = !tile.view<16x16xf32, output>

// CHECK: error: 'tile.dot' op of f32 operands has no CUDA lowering; compile with --dtype bfloat16 or float16
tile.program @f32(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !x -> tensor<16x16xf32>
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  %d = tile.dot %t, %t, %zero : tensor<16x16xf32>, tensor<16x16xf32>, tensor<16x16xf32>
  tile.store %d, %y[%c0, %c0] : tensor<16x16xf32>, !y
}

// -----

// CHECK: error: grid dimension 0 is neither a constant nor c * (size ceildiv d)
tile.program @grid() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 + s1)> {
}

// -----

// CHECK: error: 'tile.store' op pushes pieces of 2 bytes, expected whole words of 4
!rows = !tile.view<?x64xbf16, activation, tokens>
!pushed = !tile.view<?x64xbf16, output, tokens>
tile.program @half_a_word(%x: !rows, %y: !pushed) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %t = tile.load %x[%c0, %c0] : !rows -> tensor<1x64xbf16>
  tile.store %t, %y[%c0, %c1] through <ranks = 2, rows = 1> : tensor<1x64xbf16>, !pushed
}
