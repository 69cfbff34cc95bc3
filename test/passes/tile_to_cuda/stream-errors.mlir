// RUN: inlay-opt --tile-hoist-loads --tile-assign-layouts --convert-tile-to-cuda --split-input-file --verify-diagnostics %s

!w = !tile.view<512x1024xbf16, weight>
!ring = !tile.ring<2 x (tensor<16x64xbf16>)>
tile.program @plain(%w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !ring
    %slot = tile.acquire %ring first %c0 : !ring
    // expected-error @+1 {{reads weights that are not packed; expected tile.packing = "atom_8x64"}}
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
  }
}

// -----

!ring = !tile.ring<2 x (tensor<16x32xbf16>)>
tile.program @narrow() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.for_warps %warp in 4 {
    // expected-error @+1 {{'tile.ring' op of a warp has slots of 'tensor<16x32xbf16}}
    %ring = tile.ring : !ring
  }
}

// -----

// Codes of 8 bits are rows of a cache.
!ring = !tile.ring<2 x (tensor<16x64xf8E4M3FN>)>
tile.program @codes() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.for_warps %warp in 4 {
    // expected-error-re @+1 {{'tile.ring' op of a warp has slots of 'tensor<16x64xf8E4M3FN{{.*}}; expected one tile of 16 bits, or of f8E4M3FN for cached rows, of 8 n x 64 n}}
    %ring = tile.ring : !ring
  }
}

// -----

!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!ring = !tile.ring<2 x (tensor<8x64xbf16>)>
tile.program @left(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !tile.view<8x8xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !ring
    %slot = tile.acquire %ring first %c0 : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    %rows = tile.load %x[%c0, %c0] : !x -> tensor<8x64xbf16>
    %weights = tile.wait %ring : !ring -> tensor<8x64xbf16>
    %zero = arith.constant dense<0.0> : tensor<8x8xf32>
    // expected-error @+1 {{'tile.dot' op has 'tensor<8x64xbf16>' and 'tensor<8x64xbf16>'; of weights in the ring of a warp, expected 16 rows on the left or 8 on the right, up to 16 rows of activations, and a power of two of columns}}
    %product = tile.dot %weights, %rows, %zero transpose_rhs : tensor<8x64xbf16>, tensor<8x64xbf16>, tensor<8x8xf32>
    tile.store %product, %y[%c0, %c0] : tensor<8x8xf32>, !tile.view<8x8xf32, output>
  }
}

// -----

tile.program @halves() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.for_warps %warp in 4 {
    %t = arith.constant dense<0.0> : tensor<8xbf16>
    // expected-error @+1 {{'tile.warp_reduce' op of 'tensor<8xbf16>' has no CUDA lowering; expected rank 1 or 2 and 32 bits}}
    %sum = tile.warp_reduce add %t : tensor<8xbf16>
  }
}

// -----

tile.program @rows(%y: !tile.view<16x8xf32, output>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  tile.for_warps %warp in 4 {
    %t = arith.constant dense<0.0> : tensor<8x8xf32>
    // expected-error @+1 {{'tensor.concat' op has no CUDA lowering; expected tiles of one size side by side, whose columns are a power of two}}
    %both = tensor.concat dim(0) %t, %t : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<16x8xf32>
    tile.store %both, %y[%c0, %c0] : tensor<16x8xf32>, !tile.view<16x8xf32, output>
  }
}

// -----

// A product of codes sums over 64 columns of 8 bits at a time.
!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xi8, weight>
!g = !tile.view<512x32xf32, weight>
!ring = !tile.ring<2 x (tensor<16x128xi8>, tensor<16x4xf32>)>
tile.program @groups(%x: !x, %w: !w {tile.packing = "codes_16x128"}, %s: !g {tile.packing = "rows_16"}, %y: !tile.view<16x8xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !ring
    %slot = tile.acquire %ring first %c0 : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    tile.fetch %s[%c0, %c0] to %ring[%slot] 1 : !g, !ring
    %rows = tile.load %x[%c0, %c0] : !x -> tensor<8x128xbf16>
    %codes, %scales = tile.wait %ring : !ring -> tensor<16x128xi8>, tensor<16x4xf32>
    %numbers = tile.dequantize i8 %codes scales %scales {group = 32 : i64} : tensor<16x128xi8>, tensor<16x4xf32> -> tensor<16x128xbf16>
    %zero = arith.constant dense<0.0> : tensor<16x8xf32>
    // expected-error @+1 {{'tile.dot' op has 'tensor<16x128xbf16>' and 'tensor<8x128xbf16>' with groups of 32; of codes in the ring of a warp, expected 16 rows on the left, up to 8 on the right, and groups of a multiple of 64 columns}}
    %product = tile.dot %numbers, %rows, %zero transpose_rhs : tensor<16x128xbf16>, tensor<8x128xbf16>, tensor<16x8xf32>
    tile.store %product, %y[%c0, %c0] : tensor<16x8xf32>, !tile.view<16x8xf32, output>
  }
}

// -----

!w = !tile.view<512x1024xi8, weight>
!ring = !tile.ring<2 x (tensor<8x128xi8>)>
tile.program @units(%w: !w {tile.packing = "codes_16x128"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !ring
    %slot = tile.acquire %ring first %c0 : !ring
    // expected-error @+1 {{brings 'tensor<8x128xi8>'; expected packed units of 16 x 128}}
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
  }
}
