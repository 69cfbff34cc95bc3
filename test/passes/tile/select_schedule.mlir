// RUN: inlay-opt --tile-select-schedule %s | FileCheck %s
// RUN: sed "s/multiprocessors = 132/multiprocessors = 72/" %s | inlay-opt --tile-select-schedule | FileCheck %s --check-prefix=SMALL
!x = !tile.view<?x4096xbf16, activation, tokens>
!w = !tile.view<4096x4096xbf16, weight>
!y = !tile.view<?x4096xf32, output, tokens>
!wide = !tile.view<128000x4096xbf16, weight>
!logits = !tile.view<?x128000xf32, output, tokens>

module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 132, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 232448>} {
// The two slots on each of 132 multiprocessors process the 256 tiles of 16 weight rows.
// CHECK: tile.program @few_rows
// CHECK-SAME: schedule #tile.stream<blocks = 256, warps = 8, tile_columns = 16, tile_k = 128, stages = 2, tiles = 1, rows = 16, depth = 1, slots = 2, shared_bytes = 115712>
tile.program @few_rows(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (256, s0 ceildiv 16)> schedule #tile.family<matvec> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  %row = arith.muli %m, %c16 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c64 iter_args(%a = %zero) -> (tensor<16x16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<16x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<16x64xbf16>, tensor<16x16xf32>
    scf.yield %d : tensor<16x16xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<16x16xf32>, !y
}

// So it is with one row.
// CHECK: tile.program @one_row
// CHECK-SAME: schedule #tile.stream<blocks = 256, warps = 8, tile_columns = 16, tile_k = 128, stages = 2, tiles = 1, rows = 1, depth = 1, slots = 2, shared_bytes = 115712>
tile.program @one_row(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
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
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  tile.store %acc, %y[%m, %col] : tensor<1x16xf32>, !y
}

// CHECK: tile.program @many_rows
// CHECK-SAME: schedule #tile.gemm<blocks = 132, tile_rows = 128, tile_columns = 256, tile_k = 64, stages = 4, consumers = 2, producer_registers = 40, consumer_registers = 232>
tile.program @many_rows(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (32, s0 ceildiv 128)> schedule #tile.family<gemm> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c128 = arith.constant 128 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  %row = arith.muli %m, %c128 : index
  %col = arith.muli %n, %c128 : index
  %zero = arith.constant dense<0.0> : tensor<128x128xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c64 iter_args(%a = %zero) -> (tensor<128x128xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<128x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<128x64xbf16>, tensor<128x64xbf16>, tensor<128x128xf32>
    scf.yield %d : tensor<128x128xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<128x128xf32>, !y
}

// 64 tiles of 64 columns: three blocks share the 64 steps of K, so 192 of 264 slots are used. Not all clusters of 4
// would fit at a time. With 256 rows of the vocabulary (below), only one block fits on a multiprocessor.
// SMALL: tile.program @batch
// SMALL-SAME: split = 2,
// CHECK: tile.program @batch
// CHECK-SAME: schedule #tile.swap_ab<tile_rows = 64, tile_columns = 64, tile_k = 64, consumers = 1, split = 3, slots = 2, stages = 7, shared_bytes = 115712>
tile.program @batch(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (32, s0 ceildiv 64)> schedule #tile.family<swap_ab> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c128 = arith.constant 128 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  %row = arith.muli %m, %c64 : index
  %col = arith.muli %n, %c128 : index
  %zero = arith.constant dense<0.0> : tensor<64x128xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c64 iter_args(%a = %zero) -> (tensor<64x128xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<64x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<64x64xbf16>, tensor<128x64xbf16>, tensor<64x128xf32>
    scf.yield %d : tensor<64x128xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<64x128xf32>, !y
}

// 1000 tiles fill the chip almost four times without splitting. With 256 rows, one block fits on a multiprocessor.
// CHECK: tile.program @batch_vocabulary
// CHECK-SAME: schedule #tile.swap_ab<tile_rows = 256, tile_columns = 128, tile_k = 64, consumers = 2, split = 1, slots = 1, stages = 4, shared_bytes = 232448>
tile.program @batch_vocabulary(%x: !x, %w: !wide {tile.packing = "atom_8x64"}, %y: !logits)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1000, s0 ceildiv 256)> schedule #tile.family<swap_ab> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c128 = arith.constant 128 : index
  %c256 = arith.constant 256 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  %row = arith.muli %m, %c256 : index
  %col = arith.muli %n, %c128 : index
  %zero = arith.constant dense<0.0> : tensor<256x128xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c64 iter_args(%a = %zero) -> (tensor<256x128xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<256x64xbf16>
    %wt = tile.load %w[%col, %k] : !wide -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<256x64xbf16>, tensor<128x64xbf16>, tensor<256x128xf32>
    scf.yield %d : tensor<256x128xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<256x128xf32>, !logits
}
}
