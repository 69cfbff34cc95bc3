// RUN: inlay-opt --tile-hoist-loads --tile-assign-layouts --convert-tile-to-cuda %s | FileCheck %s
// A ring of each of 4 warps, a product of packed weights in its slot, and the sum over the warps.
!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!y = !tile.view<?x512xf32, output, tokens>
!ring = !tile.ring<2 x (tensor<16x64xbf16>)>

// CHECK-LABEL: cuda.kernel @stream(
// CHECK-SAME: threads = 128
// CHECK: %[[LANE:.*]] = cuda.special lane
// CHECK: %[[WARP:.*]] = cuda.special warp
// 2 slots of 2 KB, and a barrier each, for each warp.
// CHECK: %[[RINGS:.*]] = cuda.shared_buffer 16384 align 1024 : <bf16, shared>
// CHECK: %[[BARRIERS:.*]] = cuda.shared_buffer 64 : <i64, shared>
// CHECK: %[[OWN:.*]] = arith.muli %[[WARP]], %c2048
// CHECK: %[[RING:.*]] = cuda.offset %[[RINGS]][%[[OWN]]]
// CHECK: %[[FULL:.*]] = cuda.offset %[[BARRIERS]]
// CHECK: cuda.call "mbarrier_init"
// CHECK: cuda.sync_warp

// One lane copies both groups of 8 rows, 1 KB each, and the others wait for it before they wait for the slot.
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[LANE]], %c0
// CHECK: scf.if %[[FIRST]] {
// CHECK:   cuda.call "mbarrier_arrive_expect"
// CHECK:   cuda.call "bulk_copy"
// CHECK:   cuda.call "bulk_copy"
// CHECK: }
// CHECK-NEXT: }
// CHECK-NEXT: cuda.sync_warp
// CHECK: cuda.call "mbarrier_wait"

// Two instructions of 32 columns, 16 bytes of each of two weight rows in a lane.
// CHECK: cuda.load {{.*}} -> vector<4xi32>
// CHECK: cuda.load {{.*}} -> vector<4xi32>
// CHECK: cuda.call "mma_weights<bfloat16>"
// CHECK: cuda.call "mma_weights<bfloat16>"
// A slot that only this warp reads is empty when its lanes have read it.
// CHECK: cuda.sync_warp

// Each warp leaves its sums, the block meets, and a warp adds the parts of what it takes.
// CHECK: %[[SUMS:.*]] = cuda.shared_buffer 320 : <f32, shared>
// CHECK: cuda.store %{{.*}}, %{{.*}} : f32, <f32, shared>
// CHECK: cuda.barrier
// CHECK: cuda.call "load_vector<4>"
// CHECK: scf.for %{{.*}} = %c0{{.*}} to %c3
// CHECK:   cuda.call "load_vector<4>"
// CHECK:   arith.addf
tile.program @stream(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (32)> {
  %n = tile.program_id 0
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %column = arith.muli %n, %c16 : index
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !ring
    %k = arith.muli %warp, %c64 : index
    %slot = tile.acquire %ring first %c0 : !ring
    tile.fetch %w[%column, %k] to %ring[%slot] 0 evict_first : !w, !ring
    tile.depend
    %rows = tile.load %x[%c0, %k] : !x -> tensor<1x64xbf16>
    %weights = tile.wait %ring : !ring -> tensor<16x64xbf16>
    %zero = arith.constant dense<0.0> : tensor<16x1xf32>
    %product = tile.dot %weights, %rows, %zero transpose_rhs : tensor<16x64xbf16>, tensor<1x64xbf16>, tensor<16x1xf32>
    tile.release %ring : !ring
    %part = tile.transpose %product : tensor<16x1xf32> -> tensor<1x16xf32>
    %sum = tile.warp_reduce add %part : tensor<1x16xf32>
    %own = tensor.extract_slice %sum[0, 0] [1, 16] [1, 1] : tensor<1x16xf32> to tensor<1x16xf32>
    tile.store %own, %y[%c0, %column] : tensor<1x16xf32>, !y
  }
}
