// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-assign-stages))" %s | FileCheck %s
// The operands of the product come through a ring with the stages of the schedule: a slot is filled, waited for and released in
// each iteration. Weights that are read by one block only are not kept in the cache.
!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>

// CHECK-LABEL: tile.program @streamed
// CHECK-SAME: (%[[X:.*]]: !tile.view<?x256xbf16, activation, tokens>, %[[W:.*]]: !tile.view<512x256xbf16, weight>, %{{.*}}: !tile.view
// CHECK: %[[RING:.*]] = tile.ring : <4 x(tensor<64x64xbf16>, tensor<32x64xbf16>)>
// CHECK: scf.for %[[K:.*]] = %c0 to %c256 step %c64 iter_args(%[[A:.*]] =
// CHECK-NEXT: %[[SLOT:.*]] = tile.acquire %[[RING]] :
// CHECK-NEXT: tile.fetch %[[W]][%c64, %[[K]]] to %[[RING]][%[[SLOT]]] 0 evict_first
// CHECK-NEXT: tile.fetch %[[X]][%c0, %[[K]]] to %[[RING]][%[[SLOT]]] 1 :
// CHECK-NEXT: %[[T:.*]]:2 = tile.wait %[[RING]]
// CHECK-NEXT: %[[D:.*]] = tile.dot %[[T]]#0, %[[T]]#1, %[[A]] transpose_rhs
// CHECK-NEXT: tile.release %[[RING]]
// CHECK-NEXT: scf.yield %[[D]]
tile.program @streamed(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %wt = tile.load %w[%c64, %k] : !w -> tensor<64x64xbf16>
    %xt = tile.load %x[%c0, %k] : !x -> tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    scf.yield %d : tensor<64x32xf32>
  }
}

// CHECK-LABEL: tile.program @shared
// CHECK: tile.fetch
// CHECK-NOT: evict_first
// CHECK: tile.wait
tile.program @shared(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.gemm<blocks = 4, tile_rows = 64, tile_columns = 128, tile_k = 64, stages = 4, consumers = 1, producer_registers = 40, consumer_registers = 232> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %wt = tile.load %w[%c64, %k] : !w -> tensor<64x64xbf16>
    %xt = tile.load %x[%c0, %k] : !x -> tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    scf.yield %d : tensor<64x32xf32>
  }
}

// Without a schedule that has stages, loads stay.
// CHECK-LABEL: tile.program @plain
// CHECK-NOT: tile.ring
// CHECK: tile.load
tile.program @plain(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %wt = tile.load %w[%c64, %k] : !w -> tensor<64x64xbf16>
    %xt = tile.load %x[%c0, %k] : !x -> tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    scf.yield %d : tensor<64x32xf32>
  }
}
