// RUN: not inlay-translate --tile-to-cuda --split-input-file %s 2>&1 | FileCheck %s

// CHECK: error: has no tile.dot; the families matvec and gemm lower linear layers
tile.program @no_product() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.family<matvec> {
}

// -----

// CHECK: error: reads weights that are not packed; expected tile.packing = "atom_8x64"
tile.program @unpacked(%x: !tile.view<?x64xbf16, activation, tokens>, %w: !tile.view<64x64xbf16, weight>,
                       %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 16)> schedule #tile.family<matvec> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  %acc = scf.for %k = %c0 to %c64 step %c64 iter_args(%a = %zero) -> (tensor<16x16xf32>) {
    %xt = tile.load %x[%c0, %k] : !tile.view<?x64xbf16, activation, tokens> -> tensor<16x64xbf16>
    %wt = tile.load %w[%c0, %k] : !tile.view<64x64xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<16x64xbf16>, tensor<16x16xf32>
    scf.yield %d : tensor<16x16xf32>
  }
  tile.store %acc, %y[%c0, %c0] : tensor<16x16xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

// CHECK: error: brings rows that are gathered or changed before the product; the family gemm takes them as they are in memory
tile.program @prologue(%x: !tile.view<?x64xbf16, activation, tokens>,
                       %w: !tile.view<64x64xbf16, weight> {tile.packing = "atom_8x64"},
                       %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 16)> schedule #tile.family<gemm> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  %acc = scf.for %k = %c0 to %c64 step %c64 iter_args(%a = %zero) -> (tensor<16x16xf32>) {
    %xt = tile.load %x[%c0, %k] : !tile.view<?x64xbf16, activation, tokens> -> tensor<16x64xbf16>
    %x2 = arith.addf %xt, %xt : tensor<16x64xbf16>
    %wt = tile.load %w[%c0, %k] : !tile.view<64x64xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %x2, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<16x64xbf16>, tensor<16x16xf32>
    scf.yield %d : tensor<16x16xf32>
  }
  tile.store %acc, %y[%c0, %c0] : tensor<16x16xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

// CHECK: error: 'tile.transpose' cannot be applied while rows are staged; expected elementwise operations and vectors along k
tile.program @transposed(%x: !tile.view<?x64xbf16, activation, tokens>,
                         %w: !tile.view<64x64xbf16, weight> {tile.packing = "atom_8x64"},
                         %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 64)> schedule #tile.family<matvec> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %zero = arith.constant dense<0.0> : tensor<64x16xf32>
  %acc = scf.for %k = %c0 to %c64 step %c64 iter_args(%a = %zero) -> (tensor<64x16xf32>) {
    %xt = tile.load %x[%c0, %k] : !tile.view<?x64xbf16, activation, tokens> -> tensor<64x64xbf16>
    %x2 = tile.transpose %xt : tensor<64x64xbf16> -> tensor<64x64xbf16>
    %wt = tile.load %w[%c0, %k] : !tile.view<64x64xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %x2, %wt, %a transpose_rhs : tensor<64x64xbf16>, tensor<16x64xbf16>, tensor<64x16xf32>
    scf.yield %d : tensor<64x16xf32>
  }
  tile.store %acc, %y[%c0, %c0] : tensor<64x16xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

// CHECK: error: splits 1 steps of k over 2 blocks; expected each to have one
tile.program @split(%x: !tile.view<?x64xbf16, activation, tokens>,
                     %w: !tile.view<64x64xbf16, weight> {tile.packing = "atom_8x64"},
                     %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, s0 ceildiv 64)> schedule #tile.swap_ab<tile_rows = 64, tile_columns = 128, tile_k = 64, consumers = 2, split = 2, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %acc = scf.for %k = %c0 to %c64 step %c64 iter_args(%a = %zero) -> (tensor<64x64xf32>) {
    %xt = tile.load %x[%c0, %k] : !tile.view<?x64xbf16, activation, tokens> -> tensor<64x64xbf16>
    %wt = tile.load %w[%c0, %k] : !tile.view<64x64xbf16, weight> -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<64x64xbf16>, tensor<64x64xbf16>, tensor<64x64xf32>
    scf.yield %d : tensor<64x64xf32>
  }
  tile.store %acc, %y[%c0, %c0] : tensor<64x64xf32>, !tile.view<?x64xf32, output, tokens>
}

// -----

// CHECK: error: memory needs 98464 bytes of shared memory (sums 33792, ring0 65536, ring1 32768, full 32, empty 32), but its schedule has 4096; use fewer stages
tile.program @memory(%x: !tile.view<?x64xbf16, activation, tokens>,
                     %w: !tile.view<64x64xbf16, weight> {tile.packing = "atom_8x64"},
                     %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, s0 ceildiv 64)> schedule #tile.swap_ab<tile_rows = 64, tile_columns = 128, tile_k = 64, consumers = 2, split = 1, slots = 2, stages = 4, shared_bytes = 4096> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %acc = scf.for %k = %c0 to %c64 step %c64 iter_args(%a = %zero) -> (tensor<64x64xf32>) {
    %xt = tile.load %x[%c0, %k] : !tile.view<?x64xbf16, activation, tokens> -> tensor<64x64xbf16>
    %wt = tile.load %w[%c0, %k] : !tile.view<64x64xbf16, weight> -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<64x64xbf16>, tensor<64x64xbf16>, tensor<64x64xf32>
    scf.yield %d : tensor<64x64xf32>
  }
  tile.store %acc, %y[%c0, %c0] : tensor<64x64xf32>, !tile.view<?x64xf32, output, tokens>
}
