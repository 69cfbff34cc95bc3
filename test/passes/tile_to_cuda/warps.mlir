// RUN: inlay-opt --tile-hoist-loads --tile-assign-layouts --convert-tile-to-cuda %s | FileCheck %s
// Roles of warps, work of warps, and tiles that they pass through shared memory.
!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!y = !tile.view<?x512xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<128x64xbf16>)>
// CHECK-LABEL: cuda.kernel @own_rows(
// CHECK-SAME: threads = 256
// CHECK-DAG: %[[WARP:.*]] = cuda.special warp
// Each of the 4 warps has shared memory for its 16 rows of 64 columns and 4 more.
// CHECK: %[[STAGED:.*]] = cuda.shared_buffer 17408 : <f32, shared>
// CHECK: %[[BEFORE:.*]] = arith.muli %[[WARP]], %c1088
// CHECK: %[[OWN:.*]] = cuda.offset %[[STAGED]][%[[BEFORE]]]
// The first 4 warps multiply; one thread of the next 4 fetches.
// CHECK: %[[IS_CONSUMER:.*]] = arith.cmpi slt, %[[WARP]], %c4
// CHECK: scf.if %[[IS_CONSUMER]] {
// CHECK: %[[SUMS:.*]] = cuda.local : <64xf32>
// CHECK: cuda.call "wgmma_m64k16<bfloat16, 128>"
// A slice in registers has half of them.
// CHECK: scf.for %[[C:.*]] = %c0 to %c128 step %c64 {
// CHECK: %[[PART:.*]] = cuda.local : <32xf32>
// CHECK: cuda.get %[[SUMS]][%{{.*}}] : <64xf32>
// CHECK: cuda.set %{{.*}}, %[[PART]][%{{.*}}]
// A warp waits for its own threads only.
// CHECK: cuda.sync_warp
// CHECK: cuda.store %{{.*}}, %[[OWN]][%{{.*}}]
// CHECK: cuda.sync_warp
// CHECK: %[[FROM:.*]] = cuda.offset %[[OWN]][%{{.*}}]
// CHECK: cuda.call "load_vector<4>" from "tile.h"(%{{.*}}, %[[FROM]], %true
// CHECK: cuda.call "store_vector<4>" from "tile.h"
// CHECK: } else {
// CHECK: %[[THREAD:.*]] = cuda.special thread_x
// CHECK: %[[FETCHES:.*]] = arith.cmpi eq, %[[THREAD]], %c128
// CHECK-NEXT: scf.if %[[FETCHES]] {
// CHECK: cuda.call "tma_load_2d"
// CHECK: cuda.call "tma_load_4d"
// CHECK-NEXT: }
// CHECK-NEXT: cuda.sync_warp
// CHECK-NEXT: }
// CHECK-NOT: cuda.barrier
tile.program @own_rows(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %zero = arith.constant dense<0.0> : tensor<64x128xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 4 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %x[%c0, %c0] to %ring[%slot] 0 : !x, !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 1 : !w, !ring
    tile.yield
  } consume 4 {
    %xt, %wt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<128x64xbf16>
    %d = tile.dot_async %xt, %wt, %zero : tensor<64x64xbf16>, tensor<128x64xbf16>, tensor<64x128xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x128xf32>
    tile.release %ring : !ring
    tile.for_warps %warp in 4 (%own = %sums : tensor<64x128xf32>) {
      scf.for %c = %c0 to %c128 step %c64 {
        %part = tensor.extract_slice %own[0, %c] [16, 64] [1, 1] : tensor<16x128xf32> to tensor<16x64xf32>
        %staged = tile.stage %part : tensor<16x64xf32>
        %piece = tensor.extract_slice %staged[0, 0] [8, 64] [1, 1] : tensor<16x64xf32> to tensor<8x64xf32>
        tile.store %piece, %y[%warp, %c] : tensor<8x64xf32>, !y
      } {tile.unroll}
    }
    tile.yield
  }
}

// Both blocks of a cluster keep their sums. They meet just before the warps that read them do so, and the other warps
// meet them as well. Each warp reads those of its own block and of the other, in the order of the ranks, and adds them. No
// block leaves while its memory is read.
// CHECK-LABEL: cuda.kernel @cluster(
// CHECK-DAG: %[[WARP:.*]] = cuda.special warp
// CHECK-DAG: %[[STAGED:.*]] = cuda.shared_buffer 4352 : <f32, shared>
// CHECK-DAG: %[[RANK:.*]] = cuda.special cluster_rank
// CHECK: cuda.store %{{.*}}, %[[STAGED]][%{{.*}}]
// CHECK: cuda.barrier
// CHECK: %[[WORKS:.*]] = arith.cmpi slt, %[[WARP]], %c2
// CHECK: scf.if %[[WORKS]] {
// CHECK: %[[ROW:.*]] = arith.muli %[[WARP]], %c8
// CHECK: cuda.call "cluster_barrier" from "warp.h"
// CHECK: %[[SUM:.*]] = cuda.local : <16xf32>
// CHECK: %[[IS_OWN:.*]] = arith.cmpi eq, %[[RANK]], %c0
// CHECK: scf.if %[[IS_OWN]] {
// CHECK: arith.addi %{{.*}}, %[[ROW]]
// CHECK: cuda.call "load_vector<4>" from "tile.h"
// CHECK: } else {
// CHECK: cuda.call "load_vector_of_block<4>" from "warp.h"(%{{.*}}, %{{.*}}, %c0_i32)
// CHECK: %[[PART:.*]] = cuda.local : <16xf32>
// CHECK: %[[IS_OWN:.*]] = arith.cmpi eq, %[[RANK]], %c1
// CHECK: scf.if %[[IS_OWN]] {
// CHECK: cuda.call "load_vector<4>" from "tile.h"
// CHECK: } else {
// CHECK: cuda.call "load_vector_of_block<4>" from "warp.h"(%{{.*}}, %{{.*}}, %c1_i32)
// CHECK: %[[X:.*]] = cuda.get %[[SUM]]
// CHECK-NEXT: %[[Y:.*]] = cuda.get %[[PART]]
// CHECK-NEXT: %[[Z:.*]] = arith.addf %[[X]], %[[Y]]
// CHECK-NEXT: cuda.set %[[Z]], %[[SUM]]
// CHECK: cuda.call "store_vector<4>" from "tile.h"
// CHECK: cuda.call "cluster_leave" from "warp.h"
tile.program @cluster(%y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2)> schedule #tile.generic<cluster = 2> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %ones = arith.constant dense<1.0> : tensor<16x64xf32>
  %staged = tile.stage %ones : tensor<16x64xf32>
  %sums = tile.cluster_reduce add %staged : tensor<16x64xf32>
  tile.for_warps %warp in 2 {
    %row = arith.muli %warp, %c8 : index
    %piece = tensor.extract_slice %sums[%row, 0] [8, 64] [1, 1] : tensor<16x64xf32> to tensor<8x64xf32>
    tile.store %piece, %y[%row, %c0] : tensor<8x64xf32>, !y
  }
}
