// RUN: inlay-opt --split-input-file --tile-select-schedule %s | FileCheck %s
// Codes of quantized weights in few rows: tiles have the 16 rows of a unit, and one or two units along K.
!x = !tile.view<?x4096xbf16, activation, tokens>
!y = !tile.view<?x4096xf32, output, tokens>

module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 132, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 232448>} {
// Two stages of 4 KB for each warp.
// CHECK: tile.program @fp8
// CHECK-SAME: schedule #tile.stream<blocks = 256, warps = 8, tile_columns = 16, tile_k = 256, stages = 2, tiles = 1, rows = 1, depth = 1, slots = 2, shared_bytes = 115712>
tile.program @fp8(%x: !x, %w: !tile.view<4096x4096xi8, weight> {tile.packing = "codes_16x128"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (256, s0)> schedule #tile.family<matvec> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %xt = tile.load %x[%m, %k] : !x -> tensor<1x64xbf16>
    %codes = tile.load %w[%col, %k] : !tile.view<4096x4096xi8, weight> -> tensor<16x64xi8>
    %wt = tile.dequantize f8e4m3 %codes : tensor<16x64xi8> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  tile.store %acc, %y[%m, %col] : tensor<1x16xf32>, !y
}

// Of several rows, activations take registers: 128 columns a step.
// CHECK: tile.program @int4
// CHECK-SAME: schedule #tile.stream<blocks = 256, warps = 8, tile_columns = 16, tile_k = 128, stages = 8, tiles = 1, rows = 8, depth = 2, slots = 2, shared_bytes = 115712>
tile.program @int4(%x: !x, %w: !tile.view<4096x4096xi4, weight> {tile.packing = "codes_16x128"}, %s: !tile.view<4096x32xf32, weight> {tile.packing = "rows_16"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (256, s0 ceildiv 8)> schedule #tile.family<matvec> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %c4096 = arith.constant 4096 : index
  %row = arith.muli %m, %c8 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<8x16xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c64 iter_args(%a = %zero) -> (tensor<8x16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<8x64xbf16>
    %codes = tile.load %w[%col, %k] : !tile.view<4096x4096xi4, weight> -> tensor<16x64xi4>
    %g = arith.divui %k, %c128 : index
    %scales = tile.load %s[%col, %g] : !tile.view<4096x32xf32, weight> -> tensor<16x1xf32>
    %wt = tile.dequantize u4 %codes scales %scales {group = 128 : i64, zero_point = 8 : i64} : tensor<16x64xi4>, tensor<16x1xf32> -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<8x64xbf16>, tensor<16x64xbf16>, tensor<8x16xf32>
    scf.yield %d : tensor<8x16xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<8x16xf32>, !y
}
}

// -----

// Codes by codes, of half of the rows of a gate and up projection: 56 blocks of 256 weight rows would read as many bytes, on fewer
// than half of the multiprocessors.
!codes = !tile.view<?x4096xf8E4M3FN, activation, tokens>
!weights = !tile.view<14336x4096xf8E4M3FN, weight>
!sums = !tile.view<?x14336xf32, output, tokens>
module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 132, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 232448>} {
// CHECK: tile.program @codes
// CHECK-SAME: schedule #tile.swap_ab<tile_rows = 16, tile_columns = 64, tile_k = 128, consumers = 1, split = 1, slots = 2, stages = 8, shared_bytes = 115712>
tile.program @codes(%x: !codes {tile.packing = "codes_16"}, %w: !weights {tile.packing = "codes_16x128"}, %y: !sums)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (112, s0 ceildiv 16)> schedule #tile.family<swap_ab> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c128 = arith.constant 128 : index
  %c4096 = arith.constant 4096 : index
  %col = arith.muli %n, %c128 : index
  %row = arith.muli %m, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<16x128xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c128 iter_args(%a = %zero) -> (tensor<16x128xf32>) {
    %xt = tile.load %x[%row, %k] : !codes -> tensor<16x128xf8E4M3FN>
    %wt = tile.load %w[%col, %k] : !weights -> tensor<128x128xf8E4M3FN>
    %d = tile.dot %xt, %wt, %zero transpose_rhs : tensor<16x128xf8E4M3FN>, tensor<128x128xf8E4M3FN>, tensor<16x128xf32>
    %next = arith.addf %a, %d : tensor<16x128xf32>
    scf.yield %next : tensor<16x128xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<16x128xf32>, !sums
}
}
