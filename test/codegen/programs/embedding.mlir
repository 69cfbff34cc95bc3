// Rows of the embedding table. Each block copies one row of the step.
!ids = !tile.view<?xi32, meta, tokens>
!e = !tile.view<1000x256xbf16, weight>
!y = !tile.view<?x256xbf16, output, tokens>
tile.program @embedding(%ids: !ids, %table: !e, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
  %row = tile.program_id 0
  %c0 = arith.constant 0 : index
  %id = tile.load %ids[%row] : !ids -> tensor<1xi32>
  %t = tile.gather %table[%id, %c0] : !e, tensor<1xi32> -> tensor<1x256xbf16>
  tile.store %t, %y[%row, %c0] : tensor<1x256xbf16>, !y
}
