// RUN: inlay-opt %s --tile-schedule --split-input-file --verify-diagnostics

#s = #tile.stream<blocks = 2, warps = 2, tile_columns = 8, tile_k = 64, stages = 2, tiles = 2, rows = 8, depth = 1,
                  slots = 2, shared_bytes = 65536>
// expected-error @below {{has tiles of 1 rows, and a schedule for 8}}
tile.program @rows(%x: !tile.view<?x256xbf16, activation, tokens>, %w: !tile.view<64x256xbf16, weight>,
                   %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0)> schedule #s {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %xt = tile.load %x[%m, %k] : !tile.view<?x256xbf16, activation, tokens> -> tensor<1x64xbf16>
    %wt = tile.load %w[%col, %k] : !tile.view<64x256xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  tile.store %acc, %y[%m, %col] : tensor<1x16xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

#s = #tile.stream<blocks = 2, warps = 2, tile_columns = 8, tile_k = 192, stages = 2, tiles = 2, rows = 1, depth = 1,
                  slots = 2, shared_bytes = 65536>
// expected-error @below {{has 256 columns of packed weights; expected a multiple of tile_k, 192}}
tile.program @step(%x: !tile.view<?x256xbf16, activation, tokens>, %w: !tile.view<64x256xbf16, weight>,
                   %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0)> schedule #s {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %xt = tile.load %x[%m, %k] : !tile.view<?x256xbf16, activation, tokens> -> tensor<1x64xbf16>
    %wt = tile.load %w[%col, %k] : !tile.view<64x256xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  tile.store %acc, %y[%m, %col] : tensor<1x16xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

// expected-error @below {{has tile_columns of 24, expected 8 or 16}}
#s = #tile.stream<blocks = 2, warps = 2, tile_columns = 24, tile_k = 64, stages = 2, tiles = 2, rows = 1, depth = 1, slots = 2, shared_bytes = 65536>

// -----

// expected-error @below {{has tile_k of 100, expected a multiple of 64}}
#s = #tile.stream<blocks = 2, warps = 2, tile_columns = 8, tile_k = 100, stages = 2, tiles = 2, rows = 1, depth = 1, slots = 2, shared_bytes = 65536>

// -----

!ring = !tile.ring<2 x (tensor<8x64xbf16>)>
tile.program @outside(%w: !tile.view<64x256xbf16, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  tile.for_warps %warp in 2 {
    %ring = tile.ring : !ring
    // expected-error @below {{stands in no loop over steps from 0; expected one, or one within another}}
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !tile.view<64x256xbf16, weight>, !ring
    %t = tile.wait %ring : !ring -> tensor<8x64xbf16>
    tile.release %ring : !ring
  }
}

// -----

!ring = !tile.ring<2 x (tensor<8x64xbf16>)>
tile.program @unreleased(%w: !tile.view<64x256xbf16, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  tile.for_warps %warp in 2 {
    // expected-error @below {{is acquired 1 times and released 0 times}}
    %ring = tile.ring : !ring
    scf.for %step = %c0 to %c2 step %c1 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !tile.view<64x256xbf16, weight>, !ring
      %t = tile.wait %ring : !ring -> tensor<8x64xbf16>
    }
  }
}

// -----

!ring = !tile.ring<2 x (tensor<8x64xbf16>)>
tile.program @two_blocks(%w: !tile.view<64x256xbf16, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  tile.for_warps %warp in 2 {
    %ring = tile.ring : !ring
    scf.for %step = %c0 to %c2 step %c1 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !tile.view<64x256xbf16, weight>, !ring
      %t = tile.wait %ring : !ring -> tensor<8x64xbf16>
    }
    // expected-error @below {{stands in another block than the other uses of its ring}}
    tile.release %ring : !ring
  }
}

// -----

// A slot of codes and their scales, of which only the codes are fetched.
!w = !tile.view<64x256xi8, weight>
!ring = !tile.ring<2 x (tensor<16x128xi8>, tensor<16x1xf32>)>
tile.program @half_slot(%w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  tile.for_warps %warp in 2 {
    %ring = tile.ring : !ring
    scf.for %step = %c0 to %c2 step %c1 {
      // expected-error @below {{has no tile.fetch for each of 2 tiles}}
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !w, !ring
      %t:2 = tile.wait %ring : !ring -> tensor<16x128xi8>, tensor<16x1xf32>
      tile.release %ring : !ring
    }
  }
}

// -----

#s = #tile.stream<blocks = 2, warps = 2, tile_columns = 8, tile_k = 64, stages = 2, tiles = 2, rows = 1, depth = 1,
                  slots = 2, shared_bytes = 65536>
tile.program @half(%x: !tile.view<?x256xbf16, activation, tokens>, %w: !tile.view<64x256xbf16, weight>,
                   %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0)> schedule #s {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %c256 = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %c16 : index
  %none = arith.constant dense<0.0> : tensor<1xf32>
  // expected-error @below {{runs before the product and not over its k, from 0 to 256}}
  %sum = scf.for %k = %c0 to %c128 step %c64 iter_args(%s = %none) -> (tensor<1xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x256xbf16, activation, tokens> -> tensor<1x64xbf16>
    %xf = arith.extf %xt : tensor<1x64xbf16> to tensor<1x64xf32>
    %part = tile.reduce add %xf axis 1 : tensor<1x64xf32> -> tensor<1xf32>
    %next = arith.addf %s, %part : tensor<1xf32>
    scf.yield %next : tensor<1xf32>
  }
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x256xbf16, activation, tokens> -> tensor<1x64xbf16>
    %xf = arith.extf %xt : tensor<1x64xbf16> to tensor<1x64xf32>
    %sums = tile.broadcast %sum axis 1 : tensor<1xf32> -> tensor<1x64xf32>
    %left = arith.subf %xf, %sums : tensor<1x64xf32>
    %xb = arith.truncf %left : tensor<1x64xf32> to tensor<1x64xbf16>
    %wt = tile.load %w[%col, %k] : !tile.view<64x256xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xb, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<1x16xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

#s = #tile.stream<blocks = 2, warps = 2, tile_columns = 8, tile_k = 64, stages = 2, tiles = 2, rows = 1, depth = 1,
                  slots = 2, shared_bytes = 65536>
tile.program @maximum(%x: !tile.view<?x256xbf16, activation, tokens>, %w: !tile.view<64x256xbf16, weight>,
                   %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0)> schedule #s {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %c256 = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %c16 : index
  %none = arith.constant dense<0.0> : tensor<1xf32>
  // expected-error @below {{runs before the product and carries value 0, no sum along k that starts at 0}}
  %sum = scf.for %k = %c0 to %c256 step %c64 iter_args(%s = %none) -> (tensor<1xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x256xbf16, activation, tokens> -> tensor<1x64xbf16>
    %xf = arith.extf %xt : tensor<1x64xbf16> to tensor<1x64xf32>
    %part = tile.reduce max %xf axis 1 : tensor<1x64xf32> -> tensor<1xf32>
    %next = arith.addf %s, %part : tensor<1xf32>
    scf.yield %next : tensor<1xf32>
  }
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x256xbf16, activation, tokens> -> tensor<1x64xbf16>
    %xf = arith.extf %xt : tensor<1x64xbf16> to tensor<1x64xf32>
    %sums = tile.broadcast %sum axis 1 : tensor<1xf32> -> tensor<1x64xf32>
    %left = arith.subf %xf, %sums : tensor<1x64xf32>
    %xb = arith.truncf %left : tensor<1x64xf32> to tensor<1x64xbf16>
    %wt = tile.load %w[%col, %k] : !tile.view<64x256xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xb, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<1x16xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

#s = #tile.stream<blocks = 2, warps = 2, tile_columns = 8, tile_k = 128, stages = 2, tiles = 2, rows = 1, depth = 1,
                  slots = 2, shared_bytes = 65536>
// expected-error @below {{has codes and tile_columns of 8; expected 16, the rows of a unit of codes}}
tile.program @codes(%x: !tile.view<?x256xbf16, activation, tokens>, %w: !tile.view<64x256xi8, weight>,
                    %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0)> schedule #s {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %xt = tile.load %x[%m, %k] : !tile.view<?x256xbf16, activation, tokens> -> tensor<1x64xbf16>
    %codes = tile.load %w[%col, %k] : !tile.view<64x256xi8, weight> -> tensor<16x64xi8>
    %wt = tile.dequantize i8 %codes : tensor<16x64xi8> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  tile.store %acc, %y[%m, %col] : tensor<1x16xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

// Steps of several rows load their part in each step along K.
#s = #tile.stream<blocks = 2, warps = 2, tile_columns = 8, tile_k = 64, stages = 2, tiles = 2, rows = 8, depth = 1,
                  slots = 2, shared_bytes = 65536>
tile.program @received(%x: !tile.view<?x256xbf16, activation, tokens>, %w: !tile.view<64x256xbf16, weight>,
                       %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 8)> schedule #s {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %col = arith.muli %n, %c16 : index
  %row = arith.muli %m, %c8 : index
  %zero = arith.constant dense<0.0> : tensor<8x16xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<8x16xf32>) {
    // expected-error @+1 {{receives 8 rows in front of a product, expected one: more are loaded in each step along k}}
    %xt = tile.receive_sum %x[%row, %k] through <ranks = 2, rows = 8> pushed : !tile.view<?x256xbf16, activation, tokens> -> tensor<8x64xbf16>
    %wt = tile.load %w[%col, %k] : !tile.view<64x256xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<8x64xbf16>, tensor<16x64xbf16>, tensor<8x16xf32>
    scf.yield %d : tensor<8x16xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<8x16xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

// Rows that one rank has are in memory already.
#s = #tile.stream<blocks = 2, warps = 2, tile_columns = 8, tile_k = 64, stages = 2, tiles = 2, rows = 8, depth = 1,
                  slots = 2, shared_bytes = 65536>
tile.program @stored(%x: !tile.view<?x256xbf16, activation, tokens>, %w: !tile.view<64x256xbf16, weight>,
                     %y: !tile.view<?x64xf32, output, tokens>, %h: !tile.view<?x256xbf16, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 8)> schedule #s {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %col = arith.muli %n, %c16 : index
  %row = arith.muli %m, %c8 : index
  %zero = arith.constant dense<0.0> : tensor<8x16xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<8x16xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x256xbf16, activation, tokens> -> tensor<8x64xbf16>
    // expected-error @+1 {{stores in the loop over k; expected that only sums over ranks are stored there}}
    tile.store %xt, %h[%row, %k] : tensor<8x64xbf16>, !tile.view<?x256xbf16, output, tokens>
    %wt = tile.load %w[%col, %k] : !tile.view<64x256xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<8x64xbf16>, tensor<16x64xbf16>, tensor<8x16xf32>
    scf.yield %d : tensor<8x16xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<8x16xf32>, !tile.view<?x64xf32, output, tokens>
}
