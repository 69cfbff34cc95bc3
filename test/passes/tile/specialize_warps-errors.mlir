// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-specialize-warps))" %s --split-input-file --verify-diagnostics
// Loops that cannot be divided into one that fetches and one that multiplies.

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @carried(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  // expected-error @+1 {{carries a value that a fetch depends on; the warps that fetch have only loops over indices}}
  %sums, %last = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero, %at = %c0) -> (tensor<64x32xf32>, index) {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%at, %k] to %ring[%slot] 0 evict_first : !w, !ring
    tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    tile.release %ring : !ring
    %next = arith.addi %at, %c64 : index
    scf.yield %d, %next : tensor<64x32xf32>, index
  }
}

// -----

!table = !tile.view<256xi32, meta>
!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @read(%x: !x, %w: !w, %table: !table) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %slot = tile.acquire %ring : !ring
    // expected-error @+1 {{computes where a fetch reads; the warps that fetch have only arithmetic}}
    %entry = tile.read %table[%k] : !table -> i32
    %at = arith.index_cast %entry : i32 to index
    tile.fetch %w[%at, %k] to %ring[%slot] 0 evict_first : !w, !ring
    tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    tile.release %ring : !ring
    scf.yield %d : tensor<64x32xf32>
  }
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @branch(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %true = arith.constant true
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %slot = tile.acquire %ring : !ring
    // expected-error @+1 {{holds the fetches of a ring; expected loops around them only}}
    scf.if %true {
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 evict_first : !w, !ring
    }
    tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    tile.release %ring : !ring
    scf.yield %d : tensor<64x32xf32>
  }
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @combined(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c64, %k] to %ring[%slot] 0 evict_first : !w, !ring
    tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    tile.release %ring : !ring
    scf.yield %d : tensor<64x32xf32>
  }
  // expected-error @+1 {{uses sums that the warps which multiply have in registers; expected tile.stage before}}
  %all = tile.cluster_reduce add %sums : tensor<64x32xf32>
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @outside(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c64, %k] to %ring[%slot] 0 evict_first : !w, !ring
    tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    // expected-error @+1 {{uses a ring outside of the loop that fills it}}
    tile.release %ring : !ring
    scf.yield %d : tensor<64x32xf32>
  }
  %last, %other = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @no_loop(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  // expected-error @+1 {{is not used in a loop at the top of the program}}
  %ring = tile.ring : !ring
  %slot = tile.acquire %ring : !ring
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @unused(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  // expected-error @+1 {{is not used in a loop at the top of the program}}
  %ring = tile.ring : !ring
}
