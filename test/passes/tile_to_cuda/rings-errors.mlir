// RUN: inlay-opt --tile-hoist-loads --tile-assign-layouts --convert-tile-to-cuda %s --split-input-file --verify-diagnostics
// What TMA and wgmma do not take.

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x32xbf16>, tensor<32x32xbf16>)>
tile.program @columns(%x: !x, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    // expected-error @+1 {{brings 'tensor<32x32xbf16>'; expected rows of 128 bytes of elements of 16 or 8 bits}}
    tile.fetch %x[%c0, %c0] to %ring[%slot] 1 : !x, !ring
    tile.yield
  } consume 4 {
    %left, %right = tile.wait %ring : !ring -> tensor<64x32xbf16>, tensor<32x32xbf16>
    %d = tile.dot_async %left, %right, %zero : tensor<64x32xbf16>, tensor<32x32xbf16>, tensor<64x32xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x32xf32>
    tile.release %ring : !ring
    tile.yield
  }
}

// -----

!x = !tile.view<?x256xf32, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xf32>)>
tile.program @wide(%x: !x, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    // expected-error @+1 {{brings 'tensor<32x64xf32>'; expected rows of 128 bytes of elements of 16 or 8 bits}}
    tile.fetch %x[%c0, %c0] to %ring[%slot] 1 : !x, !ring
    tile.yield
  } consume 4 {
    tile.release %ring : !ring
    tile.yield
  }
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @not_packed(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    // expected-error @+1 {{reads weights that are not packed; expected tile.packing = "atom_8x64"}}
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    tile.fetch %x[%c0, %c0] to %ring[%slot] 1 : !x, !ring
    tile.yield
  } consume 4 {
    %left, %right = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot_async %left, %right, %zero : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x32xf32>
    tile.release %ring : !ring
    tile.yield
  }
}

// -----

!x = !tile.view<?x100xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @alignment(%x: !x, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    // expected-error @+1 {{reads rows of 100 columns; TMA takes rows of a multiple of 16 bytes}}
    tile.fetch %x[%c0, %c0] to %ring[%slot] 1 : !x, !ring
    tile.yield
  } consume 4 {
    %left, %right = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot_async %left, %right, %zero : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x32xf32>
    tile.release %ring : !ring
    tile.yield
  }
}

// -----

!x = !tile.view<?x256xbf16, activation>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @no_size(%x: !x, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    // expected-error @+1 {{reads rows of '!tile.view<?x256xbf16, activation>', whose number is unknown; expected a size of the step}}
    tile.fetch %x[%c0, %c0] to %ring[%slot] 1 : !x, !ring
    tile.yield
  } consume 4 {
    %left, %right = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot_async %left, %right, %zero : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x32xf32>
    tile.release %ring : !ring
    tile.yield
  }
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @streamed(%x: !x, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    // expected-error @+1 {{'tile.fetch' op of rows that are not packed cannot evict first}}
    tile.fetch %x[%c0, %c0] to %ring[%slot] 1 evict_first : !x, !ring
    tile.yield
  } consume 4 {
    %left, %right = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot_async %left, %right, %zero : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x32xf32>
    tile.release %ring : !ring
    tile.yield
  }
}

// -----

tile.program @no_roles() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tile.ring' op is used by no tile.warp_roles; run tile-specialize-warps first}}
  %ring = tile.ring : !tile.ring<4 x (tensor<64x64xbf16>)>
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @loaded(%x: !x, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
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
    %loaded = tile.load %x[%c0, %c0] : !x -> tensor<32x64xbf16>
    // expected-error @+1 {{'tile.dot_async' op has an operand that is in no slot of a ring}}
    %d = tile.dot_async %left, %loaded, %zero : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    tile.yield
  }
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
tile.program @rows(%x: !x, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    tile.fetch %x[%c0, %c0] to %ring[%slot] 1 : !x, !ring
    tile.yield
  } consume 8 {
    %left, %right = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    // expected-error @+1 {{'tile.dot_async' op has 'tensor<64x64xbf16>' and 'tensor<32x64xbf16>' for 2 warpgroups; expected 64 rows on the left for each, and up to 256 on the right}}
    %d = tile.dot_async %left, %right, %zero : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x32xf32>
    tile.release %ring : !ring
    tile.yield
  }
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<264x64xbf16>)>
tile.program @rhs_rows(%x: !x, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<64x264xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
    tile.fetch %x[%c0, %c0] to %ring[%slot] 1 : !x, !ring
    tile.yield
  } consume 4 {
    %left, %right = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<264x64xbf16>
    // expected-error @+1 {{'tile.dot_async' op has 'tensor<64x64xbf16>' and 'tensor<264x64xbf16>' for 1 warpgroups; expected 64 rows on the left for each, and up to 256 on the right}}
    %d = tile.dot_async %left, %right, %zero : tensor<64x64xbf16>, tensor<264x64xbf16>, tensor<64x264xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x264xf32>
    tile.release %ring : !ring
    tile.yield
  }
}

// -----

// expected-error @+1 {{has the schedule #tile.gemm<blocks = 4, tile_rows = 64, tile_columns = 128, tile_k = 64, stages = 4, consumers = 1, producer_registers = 40, consumer_registers = 232> and no warps that fetch; run tile-apply-schedule, tile-assign-stages, tile-specialize-warps and tile-pipeline first}}
tile.program @not_applied() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.gemm<blocks = 4, tile_rows = 64, tile_columns = 128, tile_k = 64, stages = 4, consumers = 1, producer_registers = 40, consumer_registers = 232> {
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>)>
tile.program @slice_of_slot(%x: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %ring = tile.ring : !ring
  tile.warp_roles produce 1 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %x[%c0, %c0] to %ring[%slot] 0 : !x, !ring
    tile.yield
  } consume 4 {
    %t = tile.wait %ring : !ring -> tensor<64x64xbf16>
    // expected-error @+1 {{'tensor.extract_slice' op has a tile in shared memory; expected a #tile.layout}}
    %slice = tensor.extract_slice %t[0, 0] [8, 64] [1, 1] : tensor<64x64xbf16> to tensor<8x64xbf16>
    %e = arith.extf %slice : tensor<8x64xbf16> to tensor<8x64xf32>
    %staged = tile.stage %e : tensor<8x64xf32>
    tile.release %ring : !ring
    tile.yield
  }
}
