// [linear -> bias -> residual]: the state is read and written in place.
!x = !tile.view<?x512xbf16, activation, tokens>
!w = !tile.view<256x512xbf16, weight>
!b = !tile.view<256xbf16, weight>
!r = !tile.view<?x256xbf16, state, tokens>
tile.program @residual(%x: !x, %w: !w, %b: !b, %r: !r)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (16, s0 ceildiv 16)> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c512 = arith.constant 512 : index
  %row = arith.muli %m, %c16 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  %acc = scf.for %k = %c0 to %c512 step %c64 iter_args(%a = %zero) -> (tensor<16x16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<16x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<16x64xbf16>, tensor<16x16xf32>
    scf.yield %d : tensor<16x16xf32>
  }
  %bt = tile.load %b[%col] : !b -> tensor<16xbf16>
  %bf = arith.extf %bt : tensor<16xbf16> to tensor<16xf32>
  %bb = tile.broadcast %bf axis 0 : tensor<16xf32> -> tensor<16x16xf32>
  %h = arith.addf %acc, %bb : tensor<16x16xf32>
  %rt = tile.load %r[%row, %col] : !r -> tensor<16x16xbf16>
  %rf = arith.extf %rt : tensor<16x16xbf16> to tensor<16x16xf32>
  %o = arith.addf %h, %rf : tensor<16x16xf32>
  %ob = arith.truncf %o : tensor<16x16xf32> to tensor<16x16xbf16>
  tile.store %ob, %r[%row, %col] : tensor<16x16xbf16>, !r
}
