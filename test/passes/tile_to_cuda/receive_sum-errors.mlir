// RUN: inlay-translate --tile-to-cuda --verify-diagnostics %s
// The threads of a block begin a round together.
!x = !tile.view<?x64xbf16, activation, tokens>
!y = !tile.view<?x64xbf16, output, tokens>
tile.program @twice(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 4)> {
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  scf.for %row = %c0 to %c8 step %c4 {
    // expected-error @+1 {{is received in a loop, a branch or by a part of the warps; expected all threads of a block, once}}
    %sum = tile.receive_sum %x[%row, %c0] through <ranks = 4, rows = 8> pushed : !x -> tensor<4x64xbf16>
    tile.store %sum, %y[%row, %c0] : tensor<4x64xbf16>, !y
  }
}
