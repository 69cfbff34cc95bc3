// RUN: inlay-opt --tile-hoist-loads --tile-assign-layouts --convert-tile-to-cuda %s | FileCheck %s
// A ring: shared memory for each tile of a slot, and two mbarriers for each slot. Both ends count the slots that they have
// passed.
!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!y = !tile.view<?x512xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>
// CHECK-LABEL: cuda.kernel @rings(
// CHECK-SAME: %[[W_MAP:[a-z0-9]*]]: !cuda.opaque<"CUtensorMap"> {cuda.name = "map0"
// CHECK-SAME: %[[X_MAP:[a-z0-9]*]]: !cuda.opaque<"CUtensorMap"> {cuda.name = "map1"
// CHECK-SAME: threads = 160
// The memory of the sums is that of the slots.
// CHECK: %[[SUMS:.*]] = cuda.shared_buffer 9216 overlay 1 : <f32, shared>
// CHECK: %[[LEFT:.*]] = cuda.shared_buffer 32768 align 1024 overlay 0 : <bf16, shared>
// CHECK: %[[RIGHT:.*]] = cuda.shared_buffer 16384 align 1024 overlay 0 : <bf16, shared>
// CHECK: %[[FULL:.*]] = cuda.shared_buffer 32 : <i64, shared>
// CHECK: %[[EMPTY:.*]] = cuda.shared_buffer 32 : <i64, shared>
// One thread brings bytes to a slot; one thread of each warpgroup releases it.
// CHECK: scf.for %[[I:.*]] = %c0{{.*}} to %c4{{.*}} step %c1{{.*}} {
// CHECK: %[[AT:.*]] = cuda.offset %[[FULL]][%[[I]]]
// CHECK: cuda.call "mbarrier_init" from "mbarrier.h"(%[[AT]], %c1_i32
// CHECK: %[[AT:.*]] = cuda.offset %[[EMPTY]][%[[I]]]
// CHECK: cuda.call "mbarrier_init" from "mbarrier.h"(%[[AT]], %c1_i32
// CHECK: cuda.call "fence_mbarrier_init"
// CHECK: cuda.barrier{{$}}

// wait: the next slot, and the parity of its barrier, which turns after the last slot.
// CHECK: %[[STAGE:.*]] = cuda.local fill %c0{{.*}} : index
// CHECK: %[[PARITY:.*]] = cuda.local fill %c0{{.*}} : index
// CHECK: %[[RELEASED:.*]] = cuda.local fill %c0{{.*}} : index
// CHECK: %[[ACC:.*]] = cuda.local : <16xf32>
// CHECK: scf.for %[[K:.*]] = %c0 to %c1024 step %c64 {
// CHECK: %[[FILLED:.*]] = cuda.get %[[PARITY]][]
// CHECK: %[[SLOT:.*]] = cuda.get %[[STAGE]][]
// CHECK: %[[NEXT:.*]] = arith.addi %[[SLOT]], %c1
// CHECK: %[[WRAPS:.*]] = arith.cmpi eq, %[[NEXT]], %c4
// CHECK: arith.select %[[WRAPS]], %c0{{.*}}, %[[NEXT]]
// CHECK: cuda.set %{{.*}}, %[[STAGE]][]
// CHECK: cuda.set %{{.*}}, %[[PARITY]][]
// CHECK: %[[BARRIER:.*]] = cuda.offset %[[FULL]][%[[SLOT]]]
// CHECK: cuda.call "mbarrier_wait" from "mbarrier.h"(%[[BARRIER]], %[[FILLED]])

// dot_async: 4 steps of 16 along K of 64 rows; the first product starts the sums.
// CHECK: %[[A:.*]] = cuda.call "swizzled_tile" from "wgmma.h"
// CHECK: %[[C:.*]] = cuda.call "swizzled_tile" from "wgmma.h"
// CHECK: %[[IS_LATER:.*]] = arith.cmpi slt, %c0, %[[K]]
// CHECK: cuda.call "wgmma_fence"
// CHECK: cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%[[ACC]], %[[A]], %[[C]], %[[IS_LATER]])
// CHECK-COUNT-3: cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%[[ACC]], %{{.*}}, %{{.*}}, %true)
// CHECK: cuda.call "wgmma_commit"
// CHECK-NEXT: cuda.call "wgmma_wait<1>"

// release: the oldest slot.
// CHECK: %[[OLDEST:.*]] = cuda.get %[[RELEASED]][]
// CHECK: arith.remsi %{{.*}}, %c128
// CHECK: scf.if
// CHECK-NEXT: %[[BARRIER:.*]] = cuda.offset %[[EMPTY]][%[[OLDEST]]]
// CHECK-NEXT: cuda.call "mbarrier_arrive" from "mbarrier.h"(%[[BARRIER]])
// CHECK: cuda.call "wgmma_wait<0>"

// acquire of a slot that was never filled, and fetch of packed weights, which stream through the cache.
// CHECK: %[[POLICY:.*]] = cuda.call "evict_first_policy"
// CHECK-NEXT: cuda.call "prefetch_tensor_map" from "tma.h"(%[[W_MAP]])
// CHECK-NEXT: cuda.call "prefetch_tensor_map" from "tma.h"(%[[X_MAP]])
// CHECK: scf.for %[[SLOT:.*]] = %c0 to %c4
// CHECK-NEXT: %[[BARRIER:.*]] = cuda.offset %[[FULL]][%[[SLOT]]]
// CHECK-NEXT: %[[BYTES:.*]] = arith.constant 12288 : i32
// CHECK-NEXT: cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%[[BARRIER]], %[[BYTES]])
// CHECK: cuda.call "tma_load_4d" from "tma.h"(%{{.*}}, %[[W_MAP]], %{{.*}}, %{{.*}}, %[[POLICY]])
// CHECK-NEXT: }
// CHECK-NEXT: cuda.depend
// acquire of a slot that was filled before, and fetch of rows.
// CHECK-NEXT: scf.for
// CHECK: %[[BARRIER:.*]] = cuda.offset %[[EMPTY]]
// CHECK-NEXT: cuda.call "mbarrier_wait" from "mbarrier.h"(%[[BARRIER]],
// CHECK: cuda.call "mbarrier_arrive_expect"
// CHECK: cuda.call "tma_load_2d" from "tma.h"(%{{.*}}, %[[X_MAP]],
// CHECK: cuda.sync_warp
tile.program @rings(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c64 = arith.constant 64 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %sums = tile.warp_roles produce 1 registers 40 {
    scf.for %i = %c0 to %c4 step %c1 {
      %slot = tile.acquire %ring first %i : !ring
      tile.fetch %w[%c64, %c0] to %ring[%slot] 0 evict_first : !w, !ring
    }
    tile.depend
    scf.for %k = %c64 to %c1024 step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 registers 232 {
    %acc = scf.for %k = %c0 to %c1024 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      %d = tile.dot_async %wt, %xt, %a : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      %r = tile.dot_wait %d pending 1 : tensor<64x32xf32>
      tile.release %ring : !ring
      scf.yield %r : tensor<64x32xf32>
    }
    %done = tile.dot_wait %acc pending 0 : tensor<64x32xf32>
    %staged = tile.stage %done : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
  tile.for_warps %warp in 2 {
    %piece = tensor.extract_slice %sums[%warp, 0] [4, 32] [1, 1] : tensor<64x32xf32> to tensor<4x32xf32>
    tile.store %piece, %y[%warp, %c64] : tensor<4x32xf32>, !y
  }
}
