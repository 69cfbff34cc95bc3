// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-pipeline))" %s --split-input-file --verify-diagnostics
// Products that cannot run while the next slot of a ring is waited for.

!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @no_loop(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %c0 to %c256 step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    // expected-error @+1 {{has operands that do not come from one slot of a ring}}
    %d = tile.dot %wt, %xt, %zero transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    tile.release %ring : !ring
    %staged = tile.stage %d : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}

// -----

!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @loaded(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %c0 to %c256 step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      %loaded = tile.load %x[%c0, %k] : !x -> tensor<32x64xbf16>
      // expected-error @+1 {{has operands that do not come from one slot of a ring}}
      %d = tile.dot %wt, %loaded, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      tile.release %ring : !ring
      scf.yield %d : tensor<64x32xf32>
    }
    %staged = tile.stage %sums : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}

// -----

!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @restarted(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %c0 to %c256 step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      // expected-error @+1 {{is not what its loop carries from one slot of a ring to the next}}
      %d = tile.dot %wt, %xt, %zero transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      tile.release %ring : !ring
      scf.yield %d : tensor<64x32xf32>
    }
    %staged = tile.stage %sums : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}

// -----

!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @scaled(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %c0 to %c256 step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      // expected-error @+1 {{is not what its loop carries from one slot of a ring to the next}}
      %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      tile.release %ring : !ring
      %twice = arith.addf %d, %zero : tensor<64x32xf32>
      scf.yield %twice : tensor<64x32xf32>
    }
    %staged = tile.stage %sums : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}

// -----

!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @no_release(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %c0 to %c256 step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      // expected-error @+1 {{is not what its loop carries from one slot of a ring to the next}}
      %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      scf.yield %d : tensor<64x32xf32>
    }
    %staged = tile.stage %sums : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}
