// RUN: inlay-opt --tile-apply-schedule --cse %s | FileCheck %s
// RUN: inlay-opt --tile-apply-schedule --tile-apply-schedule --cse %s | FileCheck %s
// A linear layer's program in the blocks and tiles of its schedule. What follows the product is done in pieces, by one warp each.
// A program that has been divided stays as it is.
!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x512xbf16, output, tokens>

// The weights are the left operand; the sums are turned in shared memory. 4 warps take pieces of 8 x 64 in turn, as many as
// the step has rows for.
// CHECK-LABEL: tile.program @swap_ab
// CHECK-SAME: (%[[X:.*]]: !tile.view<?x256xbf16, activation, tokens>, %[[W:.*]]: !tile.view<512x256xbf16, weight>, %[[Y:.*]]: !tile.view
// CHECK-DAG: %[[N:.*]] = tile.program_id 0
// CHECK-DAG: %[[M:.*]] = tile.program_id 1
// CHECK: %[[COLUMN:.*]] = arith.muli %[[N]], %c64
// CHECK: %[[ROW:.*]] = arith.muli %[[M]], %c32
// CHECK: %[[SUMS:.*]] = scf.for %[[K:.*]] = %c0 to %c256 step %c64 iter_args(%[[A:.*]] = %{{.*}}) -> (tensor<64x32xf32>) {
// CHECK-NEXT: %[[XT:.*]] = tile.load %[[X]][%[[ROW]], %[[K]]] : {{.*}} -> tensor<32x64xbf16>
// CHECK-NEXT: %[[WT:.*]] = tile.load %[[W]][%[[COLUMN]], %[[K]]] : {{.*}} -> tensor<64x64xbf16>
// CHECK-NEXT: tile.dot %[[WT]], %[[XT]], %[[A]] transpose_rhs
// CHECK: %[[TURNED:.*]] = tile.transpose %[[SUMS]] : tensor<64x32xf32> -> tensor<32x64xf32>
// CHECK-NEXT: %[[STAGED:.*]] = tile.stage %[[TURNED]] : tensor<32x64xf32>
// CHECK: %[[TOKENS:.*]] = tile.extent tokens
// CHECK: %[[REST:.*]] = arith.subi %[[TOKENS]], %[[ROW]]
// CHECK: %[[LIVE:.*]] = arith.minsi %[[REST]], %c32
// CHECK: %[[PIECES:.*]] = arith.ceildivsi %[[LIVE]], %c8
// CHECK: tile.for_warps %[[WARP:.*]] in 4 {
// CHECK: %[[EXISTS:.*]] = arith.cmpi slt, %[[WARP]], %[[PIECES]]
// CHECK: scf.if %[[EXISTS]] {
// CHECK: %[[R:.*]] = arith.muli %[[WARP]], %c8
// CHECK: %[[SLICE:.*]] = tensor.extract_slice %[[STAGED]][%[[R]], 0] [8, 64] [1, 1]
// CHECK: %[[AT:.*]] = arith.addi %[[ROW]], %[[R]]
// CHECK: %[[OUT:.*]] = arith.truncf %[[SLICE]] : tensor<8x64xf32> to tensor<8x64xbf16>
// CHECK: tile.store %[[OUT]], %[[Y]][%[[AT]], %[[COLUMN]]]
tile.program @swap_ab(%x: !x, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 64 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}

// Each of the 2 blocks of a cluster has half of K, and each of their 8 warps at most one piece of the sum of both.
// CHECK-LABEL: tile.program @split
// CHECK: %[[RANK:.*]] = tile.cluster_rank
// CHECK: %[[FROM:.*]] = arith.muli %[[RANK]], %c128
// CHECK: %[[END:.*]] = arith.addi %[[FROM]], %c128
// CHECK: %[[TO:.*]] = arith.minsi %[[END]], %c256
// CHECK: scf.for %{{.*}} = %[[FROM]] to %[[TO]] step %c64 {{.*}} -> (tensor<64x32xf32>) {
// CHECK: %[[STAGED:.*]] = tile.stage
// CHECK: %[[SUMS:.*]] = tile.cluster_reduce add %[[STAGED]] : tensor<32x64xf32>
// CHECK: tile.for_warps %[[WARP:.*]] in 4 {
// CHECK: %[[BEFORE:.*]] = arith.muli %[[RANK]], %c4
// CHECK: %[[FIRST:.*]] = arith.addi %[[BEFORE]], %[[WARP]]
// CHECK: %[[EXISTS:.*]] = arith.cmpi slt, %[[FIRST]], %{{.*}}
// CHECK: scf.if %[[EXISTS]] {
// CHECK: tensor.extract_slice %[[SUMS]][%{{.*}}, 0] [4, 64] [1, 1]
tile.program @split(%x: !x, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 2, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 64 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}

// 4 blocks run through the tiles, rows first. The warps have 16 rows of the product each and pass them through shared memory
// 64 columns at a time.
// CHECK-LABEL: tile.program @gemm
// CHECK-DAG: %[[BLOCK:.*]] = tile.program_id 0
// CHECK-DAG: %[[TOKENS:.*]] = tile.extent tokens
// CHECK: %[[ROW_TILES:.*]] = arith.ceildivsi %[[TOKENS]], %c64
// CHECK: %[[TILES:.*]] = arith.muli %[[ROW_TILES]], %c4
// CHECK: scf.for %[[TILE:.*]] = %[[BLOCK]] to %[[TILES]] step %c4 {
// CHECK: %[[M:.*]] = arith.remui %[[TILE]], %[[ROW_TILES]]
// CHECK: %[[ROW:.*]] = arith.muli %[[M]], %c64
// CHECK: %[[N:.*]] = arith.divui %[[TILE]], %[[ROW_TILES]]
// CHECK: %[[COLUMN:.*]] = arith.muli %[[N]], %c128
// CHECK: %[[SUMS:.*]] = scf.for %{{.*}} = %c0 to %c256 step %c64 {{.*}} -> (tensor<64x128xf32>) {
// CHECK: tile.dot %{{.*}} transpose_rhs : tensor<64x64xbf16>, tensor<128x64xbf16>, tensor<64x128xf32>
// CHECK: tile.for_warps %[[WARP:.*]] in 4 (%[[OWN:.*]] = %[[SUMS]] : tensor<64x128xf32>) {
// CHECK: %[[ROWS_BEFORE:.*]] = arith.muli %[[WARP]], %c16
// CHECK: %[[FIRST:.*]] = arith.addi %[[ROW]], %[[ROWS_BEFORE]]
// CHECK: scf.for %[[C:.*]] = %c0 to %c128 step %c64 {
// CHECK: %[[PART:.*]] = tensor.extract_slice %[[OWN]][0, %[[C]]] [16, 64] [1, 1]
// CHECK: %[[STAGED:.*]] = tile.stage %[[PART]] : tensor<16x64xf32>
// CHECK: scf.for %[[R:.*]] = %c0 to %c16 step %c8 {
// CHECK: tensor.extract_slice %[[STAGED]][%[[R]], 0] [8, 64] [1, 1]
// CHECK: %[[TO_ROW:.*]] = arith.addi %[[FIRST]], %[[R]]
// CHECK: %[[TO_COLUMN:.*]] = arith.addi %[[COLUMN]], %[[C]]
// CHECK: tile.store %{{.*}}, %{{.*}}[%[[TO_ROW]], %[[TO_COLUMN]]] : tensor<8x64xbf16>
// CHECK: } {tile.unroll = 1 : index}
// CHECK: } {tile.unroll}
tile.program @gemm(%x: !x, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.gemm<blocks = 4, tile_rows = 64, tile_columns = 128, tile_k = 64, stages = 4, consumers = 1, producer_registers = 40, consumer_registers = 232> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 64 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}

// The program has tiles of 16 x 128, the schedule's columns are 64: pieces have 64 columns of the product, and 32 of what is
// made of every second one.
// CHECK-LABEL: tile.program @gated
// CHECK: %[[COLUMN:.*]] = arith.muli %{{.*}}, %c64
// CHECK: %[[ROW:.*]] = arith.muli %{{.*}}, %c32
// CHECK: tile.for_warps
// CHECK: %[[SLICE:.*]] = tensor.extract_slice %{{.*}} [8, 64] [1, 1]
// CHECK: %[[HALF:.*]] = arith.divui %[[COLUMN]], %c2
// CHECK: tile.deinterleave %[[SLICE]] : tensor<8x64xf32> -> tensor<8x32xf32>
// CHECK: %[[BIAS:.*]] = tile.load %{{.*}}[%[[HALF]]] : {{.*}} -> tensor<32xf32>
// CHECK: tile.broadcast %[[BIAS]] axis 0 : tensor<32xf32> -> tensor<8x32xf32>
// CHECK: tile.store %{{.*}}, %{{.*}}[%{{.*}}, %[[HALF]]] : tensor<8x32xbf16>
!half = !tile.view<?x256xbf16, output, tokens>
!bias = !tile.view<256xf32, weight>
tile.program @gated(%x: !x, %w: !w, %bias: !bias, %y: !half)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 16)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 16 : index
  %columns = arith.constant 128 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %half = arith.muli %n, %step : index
  %zero = arith.constant dense<0.0> : tensor<16x128xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<16x128xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<16x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<128x64xbf16>, tensor<16x128xf32>
    scf.yield %d : tensor<16x128xf32>
  }
  %gate, %up = tile.deinterleave %acc : tensor<16x128xf32> -> tensor<16x64xf32>
  %b = tile.load %bias[%half] : !bias -> tensor<64xf32>
  %wide = tile.broadcast %b axis 0 : tensor<64xf32> -> tensor<16x64xf32>
  %sum = arith.addf %up, %wide : tensor<16x64xf32>
  %product = arith.mulf %gate, %sum : tensor<16x64xf32>
  %out = arith.truncf %product : tensor<16x64xf32> to tensor<16x64xbf16>
  tile.store %out, %y[%row, %half] : tensor<16x64xbf16>, !half
}

// The last tile of columns is not full: what lies past the end is not stored.
// CHECK-LABEL: tile.program @past_the_end
// CHECK: %[[COLUMN:.*]] = arith.muli %{{.*}}, %c64
// CHECK: tile.for_warps
// CHECK: %[[AT:.*]] = arith.addi %[[COLUMN]], %{{.*}}
// CHECK: %[[IS_INSIDE:.*]] = arith.cmpi ult, %[[AT]], %c80
// CHECK: scf.if %[[IS_INSIDE]] {
// CHECK: tile.store {{.*}} : tensor<{{[0-9]+}}x16xbf16>
tile.program @past_the_end(%x: !x, %w: !tile.view<80x256xbf16, weight>, %y: !tile.view<?x80xbf16, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (5, s0 ceildiv 16)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 16 : index
  %columns = arith.constant 16 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<16x16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<16x64xbf16>
    %wt = tile.load %w[%col, %k] : !tile.view<80x256xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<16x64xbf16>, tensor<16x16xf32>
    scf.yield %d : tensor<16x16xf32>
  }
  %out = arith.truncf %acc : tensor<16x16xf32> to tensor<16x16xbf16>
  tile.store %out, %y[%row, %col] : tensor<16x16xbf16>, !tile.view<?x80xbf16, output, tokens>
}
