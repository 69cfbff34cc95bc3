// A family that has no schedule for a program says so, as tile-select-schedule does.
// RUN: inlay-opt --tile-list-schedules %s -verify-diagnostics
!x = !tile.view<?x4096xbf16, activation, tokens>
!w = !tile.view<4096x4096xbf16, weight>
!y = !tile.view<?x4096xf32, output, tokens>

// expected-error@+1 {{has tiles of 512 rows, the family swap_ab takes up to 256}}
tile.program @batch(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (32, s0 ceildiv 512)> schedule #tile.family<swap_ab> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c128 = arith.constant 128 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  %rows = arith.constant 512 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %c128 : index
  %zero = arith.constant dense<0.0> : tensor<512x128xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c64 iter_args(%a = %zero) -> (tensor<512x128xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<512x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<512x64xbf16>, tensor<128x64xbf16>, tensor<512x128xf32>
    scf.yield %d : tensor<512x128xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<512x128xf32>, !y
}
