// RUN: inlay-opt --convert-tile-to-cuda %s --split-input-file --verify-diagnostics
// Tiles that the warps of a block cannot divide or share.

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @columns_of_warps(%x: !x, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    tile.fetch %x[%c0, %c0] to %ring[%slot] 1 : !x, !ring
    tile.yield
  } consume 4 {
    %left, %right = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot_async %left, %right, %zero : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x32xf32>
    tile.release %ring : !ring
    // expected-error @+1 {{'tile.for_warps' op divides a tile whose rows lie in registers of other warps}}
    tile.for_warps %warp in 2 (%own = %sums : tensor<64x32xf32>) {
    }
    tile.yield
  }
}

// -----

tile.program @narrow(%y: !tile.view<?x64xf32, output, tokens>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = arith.constant dense<0> : tensor<64x32xi8>
  // expected-error @+1 {{'tile.stage' op of 'tensor<64x32xi8>' has no CUDA lowering; expected rank 2, and 16 or 32 bits}}
  %staged = tile.stage %t : tensor<64x32xi8>
}

// -----

tile.program @vector(%y: !tile.view<?x64xf32, output, tokens>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = arith.constant dense<0.0> : tensor<64xf32>
  // expected-error @+1 {{'tile.stage' op of 'tensor<64xf32>' has no CUDA lowering; expected rank 2, and 16 or 32 bits}}
  %staged = tile.stage %t : tensor<64xf32>
}

// -----

tile.program @strides(%y: !tile.view<?x64xf32, output, tokens>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = arith.constant dense<0.0> : tensor<64x32xf32>
  %staged = tile.stage %t : tensor<64x32xf32>
  // expected-error @+1 {{'tensor.extract_slice' op has no CUDA lowering; expected neighbouring rows and columns of a tile of rank 2}}
  %slice = tensor.extract_slice %staged[0, 0] [8, 32] [2, 1] : tensor<64x32xf32> to tensor<8x32xf32>
}

// -----

tile.program @registers(%x: !tile.view<?x64xf32, activation, tokens>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !tile.view<?x64xf32, activation, tokens> -> tensor<64x64xf32>
  %sum = arith.addf %t, %t : tensor<64x64xf32>
  %one = arith.constant dense<1.0> : tensor<64x64xf32>
  %more = arith.addf %sum, %one : tensor<64x64xf32>
  %top = tile.transpose %more : tensor<64x64xf32> -> tensor<64x64xf32>
  // expected-error @+1 {{'tensor.extract_slice' op takes elements of other threads' registers; stage the tile first}}
  %slice = tensor.extract_slice %top[0, 0] [64, 8] [1, 1] : tensor<64x64xf32> to tensor<64x8xf32>
}
