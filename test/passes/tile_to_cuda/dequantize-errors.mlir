// RUN: inlay-opt --tile-assign-layouts %s --split-input-file --verify-diagnostics
// Groups whose scales no layout divides among the threads.
!b = !tile.view<16x96xi8, weight>
!s = !tile.view<16x2xf32, weight>
!y = !tile.view<16x96xf32, output>
tile.program @groups(%b: !b, %s: !s, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %bytes = tile.load %b[%c0, %c0] : !b -> tensor<16x96xi8>
  %scales = tile.load %s[%c0, %c0] : !s -> tensor<16x2xf32>
  // expected-error @+1 {{'tile.dequantize' op with groups of 48 columns has no CUDA lowering; expected a power of two, or one group}}
  %w = tile.dequantize i8 %bytes scales %scales {group = 48 : i64} : tensor<16x96xi8>, tensor<16x2xf32> -> tensor<16x96xf32>
  tile.store %w, %y[%c0, %c0] : tensor<16x96xf32>, !y
}
