// SwiGLU of up to 64 rows. The last tile of columns is not full.
!x = !tile.view<?x320xbf16, activation, tokens>
!w = !tile.view<1000x320xbf16, weight>
!y = !tile.view<?x500xbf16, output, tokens>
tile.program @swap_ab_swiglu(%x: !x {tile.name = "x"}, %w: !w {tile.name = "w", tile.packing = "atom_8x64"},
                             %y: !y {tile.name = "y"})
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 64)> schedule #tile.family<swap_ab> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %c320 = arith.constant 320 : index
  %row = arith.muli %m, %c64 : index
  %col = arith.muli %n, %c128 : index
  %half = arith.muli %n, %c64 : index
  %zero = arith.constant dense<0.0> : tensor<64x128xf32>
  %one = arith.constant dense<1.0> : tensor<64x64xf32>
  %acc = scf.for %k = %c0 to %c320 step %c64 iter_args(%a = %zero) -> (tensor<64x128xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<64x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<64x64xbf16>, tensor<128x64xbf16>, tensor<64x128xf32>
    scf.yield %d : tensor<64x128xf32>
  }
  %gate, %up = tile.deinterleave %acc : tensor<64x128xf32> -> tensor<64x64xf32>
  %minus = arith.negf %gate : tensor<64x64xf32>
  %exp = math.exp %minus : tensor<64x64xf32>
  %sum = arith.addf %exp, %one : tensor<64x64xf32>
  %silu = arith.divf %gate, %sum : tensor<64x64xf32>
  %h = arith.mulf %silu, %up : tensor<64x64xf32>
  %out = arith.truncf %h : tensor<64x64xf32> to tensor<64x64xbf16>
  tile.store %out, %y[%row, %half] : tensor<64x64xbf16>, !y
}
