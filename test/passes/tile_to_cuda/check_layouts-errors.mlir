// RUN: inlay-opt --convert-tile-to-cuda %s --split-input-file --verify-diagnostics
// Layouts that the lowering cannot take.

// expected-error @+1 {{has tiles without layouts; run tile-assign-layouts first}}
tile.program @none() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
}

// -----

!y = !tile.view<?xf32, output, tokens>
tile.program @one(%y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.warps = 1 : i64} {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'arith.constant' op has a tile without a layout; run tile-assign-layouts first}}
  %t = arith.constant dense<0.0> : tensor<32xf32>
  tile.store %t, %y[%c0] : tensor<32xf32>, !y
}

// -----

#layout = #tile.layout<lane = [[1], [2], [4], [8], [16]], warp = [[32]]>
!y = !tile.view<?xf32, output, tokens>
tile.program @warps(%y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.warps = 4 : i64} {
  %c0 = arith.constant 0 : index
  %t = arith.constant dense<0.0> : tensor<64xf32, #layout>
  // expected-error @+1 {{'tile.store' op has a tile that is divided among 2 warps; expected 4}}
  tile.store %t, %y[%c0] : tensor<64xf32, #layout>, !y
}

// -----

#layout = #tile.layout<lane = [[1], [2], [4], [8], [16]], block = [[32]]>
!y = !tile.view<?xf32, output, tokens>
tile.program @blocks(%y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.warps = 1 : i64} {
  %c0 = arith.constant 0 : index
  %t = arith.constant dense<0.0> : tensor<64xf32, #layout>
  // expected-error @+1 {{'tile.cluster_reduce' op has a tile that is divided among the blocks of a cluster; expected the same in each}}
  %all = tile.cluster_reduce add %t : tensor<64xf32, #layout>
  tile.store %all, %y[%c0] : tensor<64xf32, #layout>, !y
}

// -----

#shared = #tile.shared<offset = [[1], [2], [4], [8], [16]]>
!y = !tile.view<?xf32, output, tokens>
tile.program @shared(%y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.warps = 1 : i64} {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'arith.constant' op has a tile in shared memory; expected a #tile.layout}}
  %t = arith.constant dense<0.0> : tensor<32xf32, #shared>
  tile.store %t, %y[%c0] : tensor<32xf32, #shared>, !y
}

// -----

// A sum over columns of a layout whose lanes change rows and columns at once.
#mixed = #tile.layout<register = [[0, 1]], lane = [[1, 1], [2, 0], [4, 0], [8, 0], [16, 0]]>
#rows = #tile.layout<lane = [[1], [2], [4], [8], [16]]>
!x = !tile.view<?x2xf32, state, tokens>
tile.program @mixed(%x: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.warps = 1 : i64} {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !x -> tensor<32x2xf32, #mixed>
  // expected-error @+1 {{'tile.reduce' op has tiles whose layouts do not fit each other; run tile-assign-layouts first}}
  %sum = tile.reduce add %t axis 1 : tensor<32x2xf32, #mixed> -> tensor<32xf32, #rows>
  tile.store %t, %x[%c0, %c0] : tensor<32x2xf32, #mixed>, !x
}

// -----

#sums = #tile.layout<lane = [[0, 1], [0, 2], [0, 4], [1, 0], [2, 0]]>
#rows = #tile.shared<offset = [[0, 1], [0, 2], [0, 4], [1, 0], [2, 0]]>
tile.program @narrow() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.warps = 1 : i64} {
  %t = arith.constant dense<0.0> : tensor<4x8xbf16, #sums>
  // expected-error @+1 {{'tile.stage' op has tiles whose layouts do not fit each other; run tile-assign-layouts first}}
  %staged = tile.stage %t : tensor<4x8xbf16, #sums> -> tensor<4x8xbf16, #rows>
}

// -----

#numbers = #tile.layout<register = [[0, 1], [0, 2]], lane = [[0, 4], [0, 8], [1, 0], [2, 0], [4, 0]], warp = [[8, 0], [16, 0]]>
!b = !tile.view<16x16xi8, weight>
!s = !tile.view<16x1xf32, weight>
!y = !tile.view<16x16xf32, output>
#scales = #tile.layout<lane = [[1, 0], [2, 0], [4, 0], [8, 0], [0, 0]], warp = [[0, 0], [0, 0]]>
tile.program @scales(%b: !b, %s: !s, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.warps = 4 : i64} {
  %c0 = arith.constant 0 : index
  %bytes = tile.load %b[%c0, %c0] : !b -> tensor<16x16xi8, #numbers>
  %scales = tile.load %s[%c0, %c0] : !s -> tensor<16x1xf32, #scales>
  // expected-error @+1 {{'tile.dequantize' op has tiles whose layouts do not fit each other; run tile-assign-layouts first}}
  %w = tile.dequantize i8 %bytes scales %scales {group = 16 : i64} : tensor<16x16xi8, #numbers>, tensor<16x1xf32, #scales> -> tensor<16x16xf32, #numbers>
  tile.store %w, %y[%c0, %c0] : tensor<16x16xf32, #numbers>, !y
}
