// RUN: inlay-opt --convert-tile-to-cpu --split-input-file --verify-diagnostics %s

!y = !tile.view<64xf32, output>
tile.program @unknown(%y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tensor.empty' op is not an op that the cpu target can compile; expected tile ops, elementwise arith and math, tensor.splat, tensor.extract, scf.for, scf.if or scf.while}}
  %t = tensor.empty() : tensor<64xf32>
  %c0 = arith.constant 0 : index
  tile.store %t, %y[%c0] : tensor<64xf32>, !y
}

// -----

!y = !tile.view<2xf32, output>
tile.program @different_elements(%y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'arith.constant' op has elements that differ; the cpu target takes constant tiles of one value}}
  %t = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %c0 = arith.constant 0 : index
  tile.store %t, %y[%c0] : tensor<2xf32>, !y
}

// -----

!y = !tile.view<2x2x2xf32, output>
tile.program @rank(%y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'arith.constant' op has a tile of rank 3 ('tensor<2x2x2xf32>'); the cpu target takes tiles of rank 0 to 2}}
  %t = arith.constant dense<1.0> : tensor<2x2x2xf32>
  tile.store %t, %y[%c0, %c0, %c0] : tensor<2x2x2xf32>, !y
}

// -----

!x = !tile.view<?x8xf32, activation, tokens>
!y = !tile.view<?x8xf32, output, tokens>
tile.program @ranks(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'tile.receive_sum' op is not an op that the cpu target can compile}}
  %t = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> : !x -> tensor<4x8xf32>
  tile.store %t, %y[%c0, %c0] : tensor<4x8xf32>, !y
}
