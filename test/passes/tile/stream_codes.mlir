// RUN: inlay-opt %s --tile-apply-schedule --cse | FileCheck %s --check-prefix=APPLY
// RUN: inlay-opt %s --tile-schedule | FileCheck %s --check-prefix=RING
// A layer of few rows whose weights are codes in groups of 128 columns: codes, scales and zero points of 16 weight rows come
// through the ring of a warp together, and the product takes what they become.

!x = !tile.view<?x512xbf16, activation, tokens>
!w = !tile.view<64x512xi4, weight>
!g = !tile.view<64x4xf32, weight>
!y = !tile.view<?x64xf32, output, tokens>

// APPLY-LABEL: tile.program @int4
// APPLY-SAME:  (%[[X:.*]]: !tile.view<?x512xbf16, activation, tokens>, %[[W:.*]]: !tile.view<64x512xi4, weight> {tile.packing = "codes_16x128"}, %[[S:.*]]: !tile.view<64x4xf32, weight> {{.*}}, %[[Z:.*]]: !tile.view<64x4xf32, weight> {{.*}},
// APPLY:       tile.for_warps %[[WARP:.*]] in 2 {
// APPLY:         tile.stage %{{.*}} : tensor<1x256xbf16>
// APPLY:         scf.for
// APPLY:           %[[K:.*]] = arith.addi
// APPLY:           %[[PART:.*]] = tensor.extract_slice %{{.*}} to tensor<1x256xbf16>
// APPLY:           %[[CODES:.*]] = tile.load %[[W]][%[[ROW:.*]], %[[K]]] : {{.*}} -> tensor<16x256xi4>
// APPLY:           %[[GROUP:.*]] = arith.divui %[[K]], %c128
// APPLY:           %[[SCALES:.*]] = tile.load %[[S]][%[[ROW]], %[[GROUP]]] : {{.*}} -> tensor<16x2xf32>
// APPLY:           %[[ZEROS:.*]] = tile.load %[[Z]][%[[ROW]], %[[GROUP]]] : {{.*}} -> tensor<16x2xf32>
// APPLY:           %[[NUMBERS:.*]] = tile.dequantize {{ *}}u4 %[[CODES]] scales %[[SCALES]] zeros %[[ZEROS]]
// APPLY:           tile.dot %[[NUMBERS]], %[[PART]], %{{.*}} transpose_rhs : tensor<16x256xbf16>, tensor<1x256xbf16>, tensor<16x1xf32>

// A fetch for each tile of the slot, and one wait for all of them.
// RING-LABEL: tile.program @int4
// RING:         %[[RING:.*]] = tile.ring : <2 x(tensor<16x256xi4, #{{.*}}>, tensor<16x2xf32, #[[GROUPS:shared[0-9]*]]>, tensor<16x2xf32, #[[GROUPS]]>)>
// RING:         %[[SLOT:.*]] = tile.acquire %[[RING]] first %c0
// RING:         tile.fetch %arg1[{{.*}}] to %[[RING]][%[[SLOT]]] 0 evict_first
// RING:         tile.fetch %arg2[{{.*}}] to %[[RING]][%[[SLOT]]] 1 evict_first
// RING:         tile.fetch %arg3[{{.*}}] to %[[RING]][%[[SLOT]]] 2 evict_first
// RING:         tile.acquire %[[RING]] first %c1
// RING:         tile.depend
// RING:         scf.for
// RING:           %[[T:.*]]:3 = tile.wait %[[RING]]
// RING-NEXT:      %[[NUMBERS:.*]] = tile.dequantize {{ *}}u4 %[[T]]#0 scales %[[T]]#1 zeros %[[T]]#2 {{.*}} -> tensor<16x256xbf16, #layout
// RING-NEXT:      tile.dot %[[NUMBERS]]
// RING-NEXT:      tile.release %[[RING]]
tile.program @int4(%x: !x, %w: !w {tile.packing = "codes_16x128"}, %s: !g {tile.packing = "rows_16"}, %z: !g {tile.packing = "rows_16"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0)>
    schedule #tile.stream<blocks = 2, warps = 2, tile_columns = 16, tile_k = 256, stages = 2, tiles = 2, rows = 1, depth = 1,
                          slots = 2, shared_bytes = 65536> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %c512 = arith.constant 512 : index
  %col = arith.muli %n, %c16 : index
  %row = arith.muli %m, %c1 : index
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %acc = scf.for %k = %c0 to %c512 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<1x64xbf16>
    %codes = tile.load %w[%col, %k] : !w -> tensor<16x64xi4>
    %g = arith.divui %k, %c128 : index
    %scales = tile.load %s[%col, %g] : !g -> tensor<16x1xf32>
    %zeros = tile.load %z[%col, %g] : !g -> tensor<16x1xf32>
    %wt = tile.dequantize u4 %codes scales %scales zeros %zeros : tensor<16x1xf32> {group = 128 : i64} : tensor<16x64xi4>, tensor<16x1xf32> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<1x16xf32>, !y
}
