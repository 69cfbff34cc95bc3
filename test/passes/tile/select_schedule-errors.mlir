// RUN: inlay-opt --tile-select-schedule --split-input-file --verify-diagnostics %s
// What no schedule of the family fits.
!x = !tile.view<?x64xbf16, activation, tokens>
!w = !tile.view<64x64xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>

// expected-error @+1 {{has tiles of 512 rows, the family swap_ab takes up to 256}}
tile.program @rows(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, s0 ceildiv 512)> schedule #tile.family<swap_ab> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %zero = arith.constant dense<0.0> : tensor<512x64xf32>
  %acc = scf.for %k = %c0 to %c64 step %c64 iter_args(%a = %zero) -> (tensor<512x64xf32>) {
    %xt = tile.load %x[%c0, %k] : !x -> tensor<512x64xbf16>
    %wt = tile.load %w[%c0, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<512x64xbf16>, tensor<64x64xbf16>, tensor<512x64xf32>
    scf.yield %d : tensor<512x64xf32>
  }
  tile.store %acc, %y[%c0, %c0] : tensor<512x64xf32>, !y
}

// -----

!x = !tile.view<?x64xbf16, activation, tokens>
!w = !tile.view<64x64xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 132, shared_bytes = 65536, reserved_shared_bytes = 1024, block_shared_bytes = 64512>} {
  // expected-error @+1 {{has a target whose blocks have no shared memory for 2 stages of 49152 bytes, which the family gemm needs}}
  tile.program @stages(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
      grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, s0 ceildiv 64)> schedule #tile.family<gemm> {
    %c0 = arith.constant 0 : index
    %c64 = arith.constant 64 : index
    %zero = arith.constant dense<0.0> : tensor<64x64xf32>
    %acc = scf.for %k = %c0 to %c64 step %c64 iter_args(%a = %zero) -> (tensor<64x64xf32>) {
      %xt = tile.load %x[%c0, %k] : !x -> tensor<64x64xbf16>
      %wt = tile.load %w[%c0, %k] : !w -> tensor<64x64xbf16>
      %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<64x64xbf16>, tensor<64x64xbf16>, tensor<64x64xf32>
      scf.yield %d : tensor<64x64xf32>
    }
    tile.store %acc, %y[%c0, %c0] : tensor<64x64xf32>, !y
  }
}
