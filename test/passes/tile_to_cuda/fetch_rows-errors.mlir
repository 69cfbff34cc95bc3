// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-assign-layouts),convert-tile-to-cuda)" %s --split-input-file --verify-diagnostics
// What the lowering of rows of a cache, turns and variants does not take.

!table = !tile.view<?xi32, meta>
!kv = !tile.view<?x64xbf16, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<64x64xbf16>)>
tile.program @short_runs(%table: !table, %kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %j = tile.iota axis 0 : tensor<64xi32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 4 {
    %rows = tile.gather %table[%j] : !table, tensor<64xi32> -> tensor<64xi32>
    %slot = tile.acquire %ring : !ring
    // expected-error @+1 {{'tile.fetch_rows' op brings 64 rows in runs of 4; expected a multiple of 8 that is a power of two, up to 32 runs, and producers}}
    tile.fetch_rows %kv[%rows] run 4 to %ring[%slot] 0 : !kv, tensor<64xi32>, !ring
    tile.yield
  } consume 8 {
    tile.yield
  }
}

// -----

!table = !tile.view<?xi32, meta>
!kv = !tile.view<?x60xbf16, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<64x60xbf16>)>
tile.program @row_bytes(%table: !table, %kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %j = tile.iota axis 0 : tensor<64xi32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 4 {
    %rows = tile.gather %table[%j] : !table, tensor<64xi32> -> tensor<64xi32>
    %slot = tile.acquire %ring : !ring
    // expected-error @+1 {{reads rows of '!tile.view<?x60xbf16, kv, kv_rows>'; TMA takes elements of 16 bits or f8E4M3FN and rows of a multiple of 16 bytes}}
    tile.fetch_rows %kv[%rows] run 16 to %ring[%slot] 0 : !kv, tensor<64xi32>, !ring
    tile.yield
  } consume 8 {
    tile.yield
  }
}

// -----

!table = !tile.view<?xi32, meta>
!kv = !tile.view<?x56xf8E4M3FN, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<64x56xbf16>)>
tile.program @widened_columns(%table: !table, %kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %j = tile.iota axis 0 : tensor<64xi32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 4 {
    %rows = tile.gather %table[%j] : !table, tensor<64xi32> -> tensor<64xi32>
    %slot = tile.acquire %ring : !ring
    // expected-error @+1 {{'tile.fetch_rows' op widens '!tile.view<?x56xf8E4M3FN, kv, kv_rows>' to 'tensor<64x56xbf16>'; expected f8E4M3FN to 16 bits, rows of a multiple of 16 elements, and a ring of one tile}}
    tile.fetch_rows %kv[%rows] run 16 to %ring[%slot] 0 : !kv, tensor<64xi32>, !ring
    tile.yield
  } consume 8 {
    tile.yield
  }
}

// -----

!table = !tile.view<?xi32, meta>
!kv = !tile.view<?x64xf8E4M3FN, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<64x64xbf16>)>
tile.program @widening_warps(%table: !table, %kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %j = tile.iota axis 0 : tensor<64xi32>
  %ring = tile.ring : !ring
  // expected-error @+1 {{'tile.warp_roles' op has 3 warps that widen what they fetch beside 8 others; expected a divisor of these, and no fetches of other kinds}}
  tile.warp_roles produce 3 {
    %rows = tile.gather %table[%j] : !table, tensor<64xi32> -> tensor<64xi32>
    %slot = tile.acquire %ring : !ring
    tile.fetch_rows %kv[%rows] run 16 to %ring[%slot] 0 : !kv, tensor<64xi32>, !ring
    tile.yield
  } consume 8 {
    tile.yield
  }
}

// -----

tile.program @no_slot() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %held = arith.constant dense<true> : tensor<64xi1>
  %t = arith.constant dense<0.0> : tensor<64x64xbf16>
  // expected-error @+1 {{'tile.clear_rows' op clears rows of a tile that is in no slot of a ring}}
  %c = tile.clear_rows %t where %held run 16 : tensor<64x64xbf16>, tensor<64xi1>
}

// -----

tile.program @other_rows() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %held = arith.constant dense<true> : tensor<64xi1>
  %t = arith.constant dense<0.0> : tensor<32x64xf32>
  // expected-error @+1 {{'tile.if_all' op has no result with the rows of its condition, which say what a warp decides}}
  %r = tile.if_all %held : tensor<64xi1> {
    tile.yield %t : tensor<32x64xf32>
  } else {
    tile.yield %t : tensor<32x64xf32>
  } -> tensor<32x64xf32>
}

// -----

!q = !tile.view<?x64xbf16, activation>
!ring = !tile.ring<2 x (tensor<48x64xbf16>)>
tile.program @no_instruction(%q: !q) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<128x48xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 4 {
    tile.yield
  } consume 8 {
    tile.depend
    %x = tile.load %q[%c0, %c0] : !q -> tensor<128x64xbf16>
    %left = tile.stage %x : tensor<128x64xbf16>
    %right = tile.wait %ring : !ring -> tensor<48x64xbf16>
    // expected-error @+1 {{'tile.dot_async' op has 'tensor<48x64xbf16>' on the right; wgmma.h has no instruction of 48 rows there}}
    %d = tile.dot_async %left, %right, %zero : tensor<128x64xbf16>, tensor<48x64xbf16>, tensor<128x48xf32>
    %done = tile.dot_wait %d pending 0 : tensor<128x48xf32>
    tile.yield
  }
}

// -----

// A warp reads columns of codes 32 at a time.
!kv = !tile.view<?x48xf8E4M3FN, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<16x48xf8E4M3FN>)>
tile.program @code_columns(%kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !ring
    %slot = tile.acquire %ring first %c0 : !ring
    tile.fetch %kv[%c0, %c0] to %ring[%slot] 0 : !kv, !ring
    %codes = tile.wait %ring : !ring -> tensor<16x48xf8E4M3FN>
    %values = arith.extf %codes : tensor<16x48xf8E4M3FN> to tensor<16x48xbf16>
    %columns = tile.transpose %values : tensor<16x48xbf16> -> tensor<48x16xbf16>
    %weights = arith.constant dense<1.0> : tensor<8x16xbf16>
    %zero = arith.constant dense<0.0> : tensor<48x8xf32>
    // expected-error @+1 {{'tile.dot' op reads 48 columns of f8E4M3FN in a slot; expected a multiple of 32}}
    %sums = tile.dot %columns, %weights, %zero transpose_rhs : tensor<48x16xbf16>, tensor<8x16xbf16>, tensor<48x8xf32>
  }
}
