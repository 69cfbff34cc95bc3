// Measurements are asked before the analytic model, which would split K over three blocks.
// RUN: inlay-opt --tile-select-schedule=tuning=%S/Inputs/measured.json %s -verify-diagnostics -split-input-file | FileCheck %s
!x = !tile.view<?x4096xbf16, activation, tokens>
!w = !tile.view<4096x4096xbf16, weight>
!y = !tile.view<?x4096xf32, output, tokens>

// CHECK: tile.program @batch
// CHECK-SAME: schedule #tile.swap_ab<tile_rows = 64, tile_columns = 64, tile_k = 64, consumers = 1, split = 4, slots = 2, stages = 6, shared_bytes = 115712>
// expected-remark@+1 {{schedule measured on a chip: swap_ab 64 x 4096 x 4096 bf16, none, store took 12.5 us}}
tile.program @batch(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (32, s0 ceildiv 64)> schedule #tile.family<swap_ab> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c128 = arith.constant 128 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  %rows = arith.constant 64 : index
  %row = arith.muli %m, %rows : index
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

// -----

!x = !tile.view<?x4096xbf16, activation, tokens>
!w = !tile.view<4096x4096xbf16, weight>
!y = !tile.view<?x4096xf32, output, tokens>

// Of 96 rows nobody has measured anything.
// CHECK: tile.program @batch
// CHECK-SAME: schedule #tile.swap_ab<tile_rows = 96, {{.*}} consumers = 2,
// expected-remark-re@+1 {{schedule by the analytic model: {{.*}}measured.json has no entry for swap_ab 96 x 4096 x 4096 bf16, none, store}}
tile.program @batch(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (32, s0 ceildiv 96)> schedule #tile.family<swap_ab> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c128 = arith.constant 128 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  %rows = arith.constant 96 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %c128 : index
  %zero = arith.constant dense<0.0> : tensor<96x128xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c64 iter_args(%a = %zero) -> (tensor<96x128xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<96x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<96x64xbf16>, tensor<128x64xbf16>, tensor<96x128xf32>
    scf.yield %d : tensor<96x128xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<96x128xf32>, !y
}
