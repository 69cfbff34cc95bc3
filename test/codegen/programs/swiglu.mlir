// [rms_norm -> gate/up -> SwiGLU]: rows of gate and up alternate in the weight, so that
// an even and an odd column of the accumulator are one pair.
!x = !tile.view<?x256xbf16, state, tokens>
!g = !tile.view<256xbf16, weight>
!w = !tile.view<1024x256xbf16, weight>
!y = !tile.view<?x512xbf16, output, tokens>
tile.program @swiglu(%x: !x, %g: !g, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (64, s0 ceildiv 16)> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c8 = arith.constant 8 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %row = arith.muli %m, %c16 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  %zero_ss = arith.constant dense<0.0> : tensor<16xf32>
  %acc, %ss = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero, %s = %zero_ss) -> (tensor<16x16xf32>, tensor<16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<16x64xbf16>
    %xf = arith.extf %xt : tensor<16x64xbf16> to tensor<16x64xf32>
    %sq = arith.mulf %xf, %xf : tensor<16x64xf32>
    %part = tile.reduce add %sq axis 1 : tensor<16x64xf32> -> tensor<16xf32>
    %s1 = arith.addf %s, %part : tensor<16xf32>
    %gt = tile.load %g[%k] : !g -> tensor<64xbf16>
    %gf = arith.extf %gt : tensor<64xbf16> to tensor<64xf32>
    %gb = tile.broadcast %gf axis 0 : tensor<64xf32> -> tensor<16x64xf32>
    %xg = arith.mulf %xf, %gb : tensor<16x64xf32>
    %xn = arith.truncf %xg : tensor<16x64xf32> to tensor<16x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %xn, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<16x64xbf16>, tensor<16x16xf32>
    scf.yield %d, %s1 : tensor<16x16xf32>, tensor<16xf32>
  }
  %inv_k = arith.constant dense<0.00390625> : tensor<16xf32>
  %eps = arith.constant dense<1.0e-5> : tensor<16xf32>
  %mean = arith.mulf %ss, %inv_k : tensor<16xf32>
  %var = arith.addf %mean, %eps : tensor<16xf32>
  %rs = math.rsqrt %var : tensor<16xf32>
  %rsb = tile.broadcast %rs axis 1 : tensor<16xf32> -> tensor<16x16xf32>
  %h = arith.mulf %acc, %rsb : tensor<16x16xf32>
  %gate, %up = tile.deinterleave %h : tensor<16x16xf32> -> tensor<16x8xf32>
  %neg = arith.negf %gate : tensor<16x8xf32>
  %e = math.exp %neg : tensor<16x8xf32>
  %one = arith.constant dense<1.0> : tensor<16x8xf32>
  %den = arith.addf %e, %one : tensor<16x8xf32>
  %silu = arith.divf %gate, %den : tensor<16x8xf32>
  %o = arith.mulf %silu, %up : tensor<16x8xf32>
  %ob = arith.truncf %o : tensor<16x8xf32> to tensor<16x8xbf16>
  %oc = arith.muli %n, %c8 : index
  tile.store %ob, %y[%row, %oc] : tensor<16x8xbf16>, !y
}
