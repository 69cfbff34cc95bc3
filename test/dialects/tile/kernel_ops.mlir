// RUN: inlay-opt %s | inlay-opt | FileCheck %s
// The ops that a schedule adds, each in the form in which it is printed.
!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>

// CHECK-LABEL: tile.program @roles
// CHECK: %[[RING:.*]] = tile.ring : <4 x(tensor<64x64xbf16>, tensor<32x64xbf16>)>
// CHECK: %[[SUMS:.*]] = tile.warp_roles produce 1 registers 40 {
// CHECK: tile.depend
// CHECK: tile.acquire %[[RING]] first %c0 : <4 x(tensor<64x64xbf16>, tensor<32x64xbf16>)>
// CHECK: %[[SLOT:.*]] = tile.acquire %[[RING]] : <4 x(tensor<64x64xbf16>, tensor<32x64xbf16>)>
// CHECK: tile.fetch %{{.*}}[%c0, %c64] to %[[RING]][%[[SLOT]]] 0 evict_first : <512x256xbf16, weight>, <4 x(tensor<64x64xbf16>, tensor<32x64xbf16>)>
// CHECK: tile.fetch %{{.*}}[%c0, %c64] to %[[RING]][%[[SLOT]]] 1 : <?x256xbf16, activation, tokens>, <4 x(tensor<64x64xbf16>, tensor<32x64xbf16>)>
// CHECK: tile.yield
// CHECK: } consume 4 registers 232 {
// CHECK: %[[TILES:.*]]:2 = tile.wait %[[RING]] : <4 x(tensor<64x64xbf16>, tensor<32x64xbf16>)> -> tensor<64x64xbf16>, tensor<32x64xbf16>
// CHECK: %[[STARTED:.*]] = tile.dot_async %[[TILES]]#0, %[[TILES]]#1, %{{.*}} : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
// CHECK: %[[DONE:.*]] = tile.dot_wait %[[STARTED]] pending 0 : tensor<64x32xf32>
// CHECK: tile.release %[[RING]] : <4 x(tensor<64x64xbf16>, tensor<32x64xbf16>)>
// CHECK: %[[STAGED:.*]] = tile.stage %[[DONE]] : tensor<64x32xf32>
// CHECK: tile.yield %[[STAGED]] : tensor<64x32xf32>
// CHECK: } -> tensor<64x32xf32>
tile.program @roles(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %sums = tile.warp_roles produce 1 registers 40 {
    tile.depend
    %first = tile.acquire %ring first %c0 : !ring
    %slot = tile.acquire %ring : !ring
    tile.fetch %w[%c0, %c64] to %ring[%slot] 0 evict_first : !w, !ring
    tile.fetch %x[%c0, %c64] to %ring[%slot] 1 : !x, !ring
    tile.yield
  } consume 4 registers 232 {
    %left, %right = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
    %started = tile.dot_async %left, %right, %zero : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
    %done = tile.dot_wait %started pending 0 : tensor<64x32xf32>
    tile.release %ring : !ring
    %staged = tile.stage %done : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}

// Without results and without numbers of registers.
// CHECK-LABEL: tile.program @no_results
// CHECK: tile.warp_roles produce 4 {
// CHECK: } consume 8 {
// CHECK: }
// CHECK-NOT: ->
tile.program @no_results() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.warp_roles produce 4 {
    tile.yield
  } consume 8 {
    tile.yield
  }
}

// CHECK-LABEL: tile.program @warps
// CHECK: tile.for_warps %{{.*}} in 4 {
// CHECK-NEXT: }
// CHECK: tile.for_warps %[[WARP:.*]] in 8 (%[[OWN:.*]] = %{{.*}} : tensor<128x64xf32>, %{{.*}} = %{{.*}} : tensor<8x4xi32>) attributes {note = 1 : i64} {
// CHECK: arith.addi %[[WARP]], %[[WARP]] : index
// CHECK: tile.stage %[[OWN]] : tensor<16x64xf32>
// CHECK-NEXT: }
tile.program @warps() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %sums = arith.constant dense<0.0> : tensor<128x64xf32>
  %codes = arith.constant dense<0> : tensor<8x4xi32>
  tile.for_warps %warp in 4 {
  }
  tile.for_warps %warp in 8 (%own = %sums : tensor<128x64xf32>, %code = %codes : tensor<8x4xi32>) attributes {note = 1 : i64} {
    %twice = arith.addi %warp, %warp : index
    %staged = tile.stage %own : tensor<16x64xf32>
  }
}

// Rows of a cache through a ring, products that take them from registers and by columns, turns, and variants.
!kv = !tile.view<?x64xbf16, kv, kv_rows>
!rows = !tile.ring<2 x (tensor<64x64xbf16>)>
// CHECK-LABEL: tile.program @rows
// CHECK: tile.fetch_rows %{{.*}}[%{{.*}}] run 16 to %[[RING:.*]][%{{.*}}] 0 : <?x64xbf16, kv, kv_rows>, tensor<64xi32>, <2 x(tensor<64x64xbf16>)>
// CHECK: %[[TILE:.*]] = tile.wait %[[RING]]
// CHECK: %[[CLEARED:.*]] = tile.clear_rows %[[TILE]] where %{{.*}} run 16 : tensor<64x64xbf16>, tensor<64xi1>
// CHECK: %[[IN_TURN:.*]]:2 = tile.in_turn {
// CHECK:   tile.dot_async %{{.*}}, %[[CLEARED]], %{{.*}} columns : tensor<64x64xbf16>, tensor<64x64xbf16>, tensor<64x64xf32>
// CHECK:   tile.yield
// CHECK: } -> tensor<64x64xf32>, tensor<64x64xf32>
// CHECK: %[[DONE:.*]]:2 = tile.dot_wait %[[IN_TURN]]#0, %[[IN_TURN]]#1 pending 0 : tensor<64x64xf32>, tensor<64x64xf32>
// CHECK: tile.if_all %{{.*}} : tensor<64xi1> {
// CHECK:   tile.yield %[[DONE]]#0 : tensor<64x64xf32>
// CHECK: } else {
// CHECK:   tile.yield %[[DONE]]#1 : tensor<64x64xf32>
// CHECK: } -> tensor<64x64xf32>
tile.program @rows(%kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %at = arith.constant dense<0> : tensor<64xi32>
  %held = arith.constant dense<true> : tensor<64xi1>
  %p = arith.constant dense<0.0> : tensor<64x64xbf16>
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %ring = tile.ring : !rows
  tile.warp_roles produce 4 {
    %slot = tile.acquire %ring : !rows
    tile.fetch_rows %kv[%at] run 16 to %ring[%slot] 0 : !kv, tensor<64xi32>, !rows
    tile.yield
  } consume 8 {
    %tile = tile.wait %ring : !rows -> tensor<64x64xbf16>
    %cleared = tile.clear_rows %tile where %held run 16 : tensor<64x64xbf16>, tensor<64xi1>
    %started:2 = tile.in_turn {
      %x = tile.dot_async %p, %cleared, %zero columns : tensor<64x64xbf16>, tensor<64x64xbf16>, tensor<64x64xf32>
      %y = tile.dot_async %p, %cleared, %zero : tensor<64x64xbf16>, tensor<64x64xbf16>, tensor<64x64xf32>
      tile.yield %x, %y : tensor<64x64xf32>, tensor<64x64xf32>
    } -> tensor<64x64xf32>, tensor<64x64xf32>
    %done:2 = tile.dot_wait %started#0, %started#1 pending 0 : tensor<64x64xf32>, tensor<64x64xf32>
    %chosen = tile.if_all %held : tensor<64xi1> {
      tile.yield %done#0 : tensor<64x64xf32>
    } else {
      tile.yield %done#1 : tensor<64x64xf32>
    } -> tensor<64x64xf32>
    tile.yield
  }
}

// Sums over warps lie in shared memory once layouts are assigned, from where a conversion reads them.
#part = #tile.layout<register = [[0, 1], [0, 2], [0, 4]], lane = [[1, 0], [2, 0], [4, 0], [0, 8], [0, 16]]>
#sums = #tile.shared<offset = [[0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [1, 0], [2, 0], [4, 0]], pitch = 36>
// CHECK-LABEL: tile.program @sums
// CHECK: tile.for_warps %[[WARP:.*]] in 4 {
// CHECK: tile.ring : <2 x(tensor<8x64xbf16>)>
// CHECK: %[[SUM:.*]]:2 = tile.warp_reduce {{ *}}add %[[T:.*]], %[[V:.*]] : tensor<8x32xf32>, tensor<8xf32>
// CHECK: tensor.extract_slice %[[SUM]]#0
// CHECK: %[[KEPT:.*]] = tile.warp_reduce {{ *}}max %{{.*}} : tensor<8x32xf32, #layout> -> tensor<8x32xf32, #shared>
// CHECK: tile.convert_layout %[[KEPT]] : tensor<8x32xf32, #shared> -> tensor<8x32xf32, #layout>
tile.program @sums() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !tile.ring<2 x (tensor<8x64xbf16>)>
    %t = arith.constant dense<1.0> : tensor<8x32xf32>
    %v = arith.constant dense<1.0> : tensor<8xf32>
    %sum:2 = tile.warp_reduce add %t, %v : tensor<8x32xf32>, tensor<8xf32>
    %own = tensor.extract_slice %sum#0[0, 8] [8, 8] [1, 1] : tensor<8x32xf32> to tensor<8x8xf32>
    %part = arith.constant dense<1.0> : tensor<8x32xf32, #part>
    %kept = tile.warp_reduce max %part : tensor<8x32xf32, #part> -> tensor<8x32xf32, #sums>
    %read = tile.convert_layout %kept : tensor<8x32xf32, #sums> -> tensor<8x32xf32, #part>
  }
}

// Parts of an online softmax: those of the warps, then those of the blocks.
// CHECK-LABEL: tile.program @merges
// CHECK: %[[PARTS:.*]]:3 = tile.for_warps %{{.*}} in 8 {
// CHECK: tile.yield %{{.*}}, %{{.*}}, %{{.*}} : tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>
// CHECK-NEXT: } merge -> (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>)
// CHECK: tile.cluster_merge %[[PARTS]]#0, %[[PARTS]]#1, %[[PARTS]]#2 : (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>)
tile.program @merges() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %parts:3 = tile.for_warps %warp in 8 {
    %top = arith.constant dense<0.0> : tensor<4xf32>
    %out = arith.constant dense<0.0> : tensor<4x64xf32>
    tile.yield %top, %top, %out : tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>
  } merge -> (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>)
  %all:3 = tile.cluster_merge %parts#0, %parts#1, %parts#2
      : (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>)
}

// CHECK-LABEL: tile.program @older
// CHECK: %[[LIMIT:.*]] = arith.constant 32
// CHECK: tile.unwritten %[[LIMIT]]
// CHECK-NEXT: scf.for
// CHECK: tile.fetch %{{.*}} to %{{.*}} 0 unwritten :
tile.program @older(%keys: !tile.view<?x64xbf16, kv, kv_rows>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %limit = arith.constant 32 : index
  %ring = tile.ring : !tile.ring<2 x (tensor<16x64xbf16>)>
  tile.unwritten %limit
  scf.for %at = %c0 to %limit step %c16 {
    %slot = tile.acquire %ring : !tile.ring<2 x (tensor<16x64xbf16>)>
    tile.fetch %keys[%at, %c0] to %ring[%slot] 0 unwritten : !tile.view<?x64xbf16, kv, kv_rows>, !tile.ring<2 x (tensor<16x64xbf16>)>
  }
}
