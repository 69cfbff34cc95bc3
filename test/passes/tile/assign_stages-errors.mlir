// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-assign-stages))" %s --split-input-file --verify-diagnostics
// A schedule with stages has one ring, for the operands of one product.

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
// expected-error @+1 {{has 0 products of loaded tiles in loops; expected one, for the ring of its schedule #tile.swap_ab<}}
tile.program @none(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %wt = tile.load %w[%c64, %k] : !w -> tensor<64x64xbf16>
    %xt = tile.load %x[%c0, %k] : !x -> tensor<32x64xbf16>
    %twice = arith.addf %xt, %xt : tensor<32x64xbf16>
    %d = tile.dot %wt, %twice, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    scf.yield %d : tensor<64x32xf32>
  }
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
// expected-error @+1 {{has 2 products of loaded tiles in loops; expected one, for the ring of its schedule #tile.swap_ab<}}
tile.program @two(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %wt = tile.load %w[%c64, %k] : !w -> tensor<64x64xbf16>
    %xt = tile.load %x[%c0, %k] : !x -> tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    scf.yield %d : tensor<64x32xf32>
  }
  %more = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %wt = tile.load %w[%c64, %k] : !w -> tensor<64x64xbf16>
    %xt = tile.load %x[%c0, %k] : !x -> tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    scf.yield %d : tensor<64x32xf32>
  }
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
// expected-error @+1 {{has 0 products of loaded tiles in loops; expected one, for the ring of its schedule #tile.gemm<}}
tile.program @no_loop(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.gemm<blocks = 4, tile_rows = 64, tile_columns = 128, tile_k = 64, stages = 4, consumers = 1, producer_registers = 40, consumer_registers = 232> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %wt = tile.load %w[%c64, %c0] : !w -> tensor<64x64xbf16>
  %xt = tile.load %x[%c0, %c0] : !x -> tensor<32x64xbf16>
  %d = tile.dot %wt, %xt, %zero transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
}
