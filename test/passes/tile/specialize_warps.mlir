// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-specialize-warps))" %s | FileCheck %s
// Warps that fetch and warps that multiply, beside each other, with a copy of the loop each.
!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>

// What follows the staged sums is done by all warps. They read what earlier launches wrote.
// CHECK-LABEL: tile.program @staged
// CHECK: %[[RING:.*]] = tile.ring
// CHECK-NEXT: %[[STAGED:.*]] = tile.warp_roles produce 1 {
// CHECK-NEXT: tile.depend
// CHECK-NEXT: scf.for %[[K:.*]] = %c0 to %c256 step %c64 {
// CHECK-NEXT: %[[SLOT:.*]] = tile.acquire %[[RING]]
// CHECK-NEXT: tile.fetch %{{.*}}[%c64, %[[K]]] to %[[RING]][%[[SLOT]]] 0 evict_first
// CHECK-NEXT: tile.fetch %{{.*}}[%c0, %[[K]]] to %[[RING]][%[[SLOT]]] 1
// CHECK-NEXT: }
// CHECK-NEXT: tile.yield
// CHECK-NEXT: } consume 4 {
// CHECK-NEXT: %[[SUMS:.*]] = scf.for
// CHECK-NEXT: tile.wait
// CHECK-NEXT: tile.dot
// CHECK-NEXT: tile.release
// CHECK-NEXT: scf.yield
// CHECK-NEXT: }
// CHECK-NEXT: %[[OWN:.*]] = tile.stage %[[SUMS]]
// CHECK-NEXT: tile.yield %[[OWN]]
// CHECK-NEXT: } -> tensor<64x32xf32>
// CHECK-NEXT: tile.depend
// CHECK-NEXT: tile.for_warps
// CHECK-NEXT: tensor.extract_slice %[[STAGED]]
tile.program @staged(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c64, %k] to %ring[%slot] 0 evict_first : !w, !ring
    tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    tile.release %ring : !ring
    scf.yield %d : tensor<64x32xf32>
  }
  %staged = tile.stage %sums : tensor<64x32xf32>
  tile.for_warps %warp in 4 {
    %piece = tensor.extract_slice %staged[0, 0] [8, 32] [1, 1] : tensor<64x32xf32> to tensor<8x32xf32>
    tile.store %piece, %y[%c0, %c64] : tensor<8x32xf32>, !y
  }
}

// Both run through the tiles; the warps that multiply store their own sums. Registers are those of the schedule.
// CHECK-LABEL: tile.program @tiles
// CHECK: tile.warp_roles produce 4 registers 40 {
// CHECK-NEXT: tile.depend
// CHECK-NEXT: scf.for %[[TILE:.*]] = %c0 to %c256 step %c64 {
// CHECK-NEXT: %[[AT:.*]] = arith.addi %[[TILE]], %c64
// CHECK-NEXT: scf.for
// CHECK-NEXT: tile.acquire
// CHECK-NEXT: tile.fetch %{{.*}}[%[[AT]],
// CHECK-NEXT: tile.fetch
// CHECK: } consume 4 registers 232 {
// CHECK-NEXT: tile.depend
// CHECK-NEXT: scf.for
// CHECK-NOT: tile.fetch
// CHECK: tile.for_warps
// CHECK: tile.yield
// CHECK-NEXT: }
// CHECK-NOT: tile.depend
tile.program @tiles(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.gemm<blocks = 4, tile_rows = 64, tile_columns = 128, tile_k = 64, stages = 4, consumers = 1, producer_registers = 40, consumer_registers = 232> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  scf.for %tile = %c0 to %c256 step %c64 {
    %at = arith.addi %tile, %c64 : index
    %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%at, %k] to %ring[%slot] 0 evict_first : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      tile.release %ring : !ring
      scf.yield %d : tensor<64x32xf32>
    }
    tile.for_warps %warp in 4 (%own = %sums : tensor<64x32xf32>) {
      tile.store %own, %y[%at, %c0] : tensor<16x32xf32>, !y
    }
  }
}
