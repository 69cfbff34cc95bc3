// RUN: inlay-opt --tile-apply-schedule --cse %s | FileCheck %s --check-prefix=APPLIED
// RUN: inlay-opt --tile-schedule %s | FileCheck %s
// A product with codes of a quantized weight: codes, scales and rows come through a ring, 128 columns at a time, and codes become
// numbers in registers of the warps that multiply. Each half of a slot is a product of its own, so that one runs while the other
// half is unpacked.
!x = !tile.view<?x512xbf16, activation, tokens>
!w = !tile.view<512x512xi4, weight>
!s = !tile.view<512x4xf32, weight>
!y = !tile.view<?x512xbf16, output, tokens>

// APPLIED-LABEL: tile.program @int4
// APPLIED-SAME: (%[[X:.*]]: !tile.view<?x512xbf16, activation, tokens>, %[[W:.*]]: !tile.view<512x512xi4, weight> {tile.packing = "codes_16x128"}, %[[S:.*]]: !tile.view<512x4xf32, weight> {tile.packing = "rows_16"},
// APPLIED: scf.for %[[K:.*]] = %c0 to %c512 step %c128 iter_args(%[[A:.*]] = %{{.*}}) -> (tensor<64x32xf32>) {
// APPLIED-NEXT: %[[XT:.*]] = tile.load %[[X]][%{{.*}}, %[[K]]] : {{.*}} -> tensor<32x128xbf16>
// APPLIED-NEXT: %[[CODES:.*]] = tile.load %[[W]][%[[COLUMN:.*]], %[[K]]] : {{.*}} -> tensor<64x128xi4>
// APPLIED-NEXT: %[[GROUP:.*]] = arith.divui %[[K]], %c128
// APPLIED-NEXT: %[[SCALES:.*]] = tile.load %[[S]][%[[COLUMN]], %[[GROUP]]] : {{.*}} -> tensor<64x1xf32>
// APPLIED-NEXT: %[[WT:.*]] = tile.dequantize {{ *}}u4 %[[CODES]] scales %[[SCALES]] {group = 128 : i64, zero_point = 8 : i64} : tensor<64x128xi4>, tensor<64x1xf32> -> tensor<64x128xbf16>
// APPLIED-NEXT: tile.dot %[[WT]], %[[XT]], %[[A]] transpose_rhs

// CHECK-LABEL: tile.program @int4
// CHECK: tile.ring : <4 x(tensor<64x128xi4, #[[CODES:shared[0-9]*]]>, tensor<64x1xf32, #[[SCALES:shared[0-9]*]]>, tensor<32x128xbf16, #[[ROWS:shared[0-9]*]]>)>
// CHECK: tile.fetch {{.*}} 0 evict_first
// CHECK: tile.fetch {{.*}} 1 evict_first
// CHECK: } consume 4 {
// CHECK: %[[T:.*]]:3 = tile.wait
// CHECK-NEXT: %[[NUMBERS:.*]] = tile.dequantize {{ *}}u4 %[[T]]#0 scales %[[T]]#1 {{.*}} : tensor<64x128xi4, #[[CODES]]>, tensor<64x1xf32, #[[SCALES]]> -> tensor<64x128xbf16, #[[LEFT:layout[0-9]*]]>
// CHECK-NEXT: %[[FIRST:.*]] = tensor.extract_slice %[[NUMBERS]][0, 0] [64, 64] [1, 1]
// CHECK-NEXT: %[[FIRST_ROWS:.*]] = tensor.extract_slice %[[T]]#2[0, 0] [32, 64] [1, 1]
// CHECK-NEXT: %[[ONE:.*]] = tile.dot_async %[[FIRST]], %[[FIRST_ROWS]], %{{.*}}
// CHECK-NEXT: %[[DONE:.*]] = tile.dot_wait %[[ONE]] pending 1
// CHECK-NEXT: arith.cmpi ne
// CHECK-NEXT: scf.if
// CHECK-NEXT: tile.release
// CHECK-NEXT: }
// CHECK-NEXT: %[[SECOND:.*]] = tensor.extract_slice %[[NUMBERS]][0, 64] [64, 64] [1, 1]
// CHECK-NEXT: %[[SECOND_ROWS:.*]] = tensor.extract_slice %[[T]]#2[0, 64] [32, 64] [1, 1]
// CHECK-NEXT: %[[TWO:.*]] = tile.dot_async %[[SECOND]], %[[SECOND_ROWS]], %[[DONE]]
// CHECK-NEXT: tile.dot_wait %[[TWO]] pending 1
tile.program @int4(%x: !x, %w: !w {tile.packing = "codes_16x128"}, %s: !s {tile.packing = "rows_16"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 128, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 64 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 512 : index
  %group = arith.constant 128 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %codes = tile.load %w[%col, %k] : !w -> tensor<64x64xi4>
    %g = arith.divui %k, %group : index
    %scales = tile.load %s[%col, %g] : !s -> tensor<64x1xf32>
    %wt = tile.dequantize u4 %codes scales %scales {group = 128 : i64, zero_point = 8 : i64} : tensor<64x64xi4>, tensor<64x1xf32> -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}
