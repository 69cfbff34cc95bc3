// The schedules that compile-model --tune would measure for a program, with what the analytic model expects of them.
// RUN: inlay-opt --tile-list-schedules=most=3 %s 2>&1 >/dev/null | FileCheck %s
// More stages than this have no room: 14 of 16 KB.
// CHECK: remark: schedule 1 of [[LEGAL:[0-9]+]], 8.6 us by the model: #tile.swap_ab<{{.*}} consumers = 1, split = 2, slots = 1, stages = 14, shared_bytes = 232448>
// CHECK: remark: schedule 2 of [[LEGAL]], 9.1 us by the model: #tile.swap_ab<{{.*}} tile_columns = 128, {{.*}} consumers = 2, split = 3, slots = 1, stages = 8,
// The model's choice is listed, however many others it expects to be faster.
// CHECK: remark: schedule 3 of [[LEGAL]], 9.4 us by the model, its choice: #tile.swap_ab<{{.*}} split = 3, slots = 2, stages = 7,
// CHECK-NOT: remark:

!x = !tile.view<?x4096xbf16, activation, tokens>
!w = !tile.view<4096x4096xbf16, weight>
!y = !tile.view<?x4096xf32, output, tokens>

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
