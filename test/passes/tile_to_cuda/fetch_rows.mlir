// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-assign-layouts),convert-tile-to-cuda)" %s | FileCheck %s
// Rows of a cache through a ring, products of warpgroups that read them by columns, turns, and a variant that each warp chooses.
!table = !tile.view<?xi32, meta>
!kv = !tile.view<?x96xbf16, kv, kv_rows>
!o = !tile.view<?x96xf32, output>
!ring = !tile.ring<2 x (tensor<64x96xbf16>)>
// CHECK-LABEL: cuda.kernel @rows(
// CHECK-SAME: tensor_maps = [#cuda.tensor_map<argument 1 : bf16, dims = [96, 2147483647], strides = [192], box = [64, 16], swizzle = 128, l2_promotion = 256>]
// CHECK-SAME: threads = 384
tile.program @rows(%table: !table, %kv: !kv, %o: !o) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<128x96xf32>
  %p = arith.constant dense<1.0> : tensor<128x64xbf16>
  %end = arith.constant dense<50> : tensor<64xi32>
  %j = tile.iota axis 0 : tensor<64xi32>
  %held = arith.cmpi slt, %j, %end : tensor<64xi32>
  %row = tile.iota axis 0 : tensor<128xi32>
  %hundred = arith.constant dense<100> : tensor<128xi32>
  %all = arith.cmpi slt, %row, %hundred : tensor<128xi32>
  // Two slabs of 64 columns for each of 2 slots, and what warpgroups meet at.
  // CHECK: %[[BUFFER:.*]] = cuda.shared_buffer 32768 align 1024 : <bf16, shared>
  // CHECK: %[[FULL:.*]] = cuda.shared_buffer 16
  // CHECK: %[[EMPTY:.*]] = cuda.shared_buffer 16
  // CHECK: %[[TURNS:.*]] = cuda.shared_buffer 16
  // CHECK: %[[CLEARED:.*]] = cuda.shared_buffer 16
  // CHECK: cuda.call "mbarrier_init" from "mbarrier.h"(%{{.*}}, %c4_i32
  // CHECK: cuda.call "mbarrier_init" from "mbarrier.h"(%{{.*}}, %c128_i32
  %ring = tile.ring : !ring
  tile.warp_roles produce 4 {
    tile.depend
    %rows = tile.gather %table[%j] : !table, tensor<64xi32> -> tensor<64xi32>
    %slot = tile.acquire %ring : !ring
    tile.fetch_rows %kv[%rows] run 16 to %ring[%slot] 0 : !kv, tensor<64xi32>, !ring
    tile.yield
  } consume 8 {
    tile.depend
    %tile = tile.wait %ring : !ring -> tensor<64x96xbf16>
    // Only where a run is held in part: a lane has a run, a warp 4 rows of each; 8 stores of 16 bytes in each slab.
    // CHECK: "mbarrier_wait"
    // CHECK: %[[FIRST:.*]] = arith.cmpi slt
    // CHECK: %[[LAST:.*]] = arith.cmpi slt
    // CHECK: %[[IS_OUT:.*]] = arith.xori %[[LAST]], %true
    // CHECK: %[[IS_PART:.*]] = arith.andi %[[FIRST]], %[[IS_OUT]]
    // CHECK: arith.xori %[[IS_PART]]
    // CHECK: cuda.call "all_lanes"
    // CHECK: scf.if %{{.*}} {
    // CHECK: scf.for %{{.*}} = %c0{{.*}} to %c8
    // CHECK-COUNT-2: cuda.call "store_vector<8>"
    // CHECK: cuda.call "fence_async_proxy"
    // CHECK: cuda.call "mbarrier_arrive" from "mbarrier.h"(%[[BAR:.*]]) :
    // CHECK: cuda.call "mbarrier_wait" from "mbarrier.h"(%[[BAR]],
    %clear = tile.clear_rows %tile where %held run 16 : tensor<64x96xbf16>, tensor<64xi1>
    // CHECK: cuda.call "mbarrier_wait" from "mbarrier.h"(%{{.*}}, %{{.*}}) :
    // CHECK: cuda.call "pack_bits" from "base.h"
    // CHECK: cuda.call "swizzled_columns" from "wgmma.h"(%{{.*}}, %c8192_i32
    // CHECK: cuda.call "wgmma_fence"
    // CHECK-COUNT-4: cuda.call "wgmma_m64k16_columns<bfloat16, 96>"
    // CHECK: cuda.call "wgmma_commit"
    // CHECK: %[[NEXT:.*]] = arith.remsi %{{.*}}, %c2
    // CHECK: cuda.offset %[[TURNS]][%[[NEXT]]]
    // CHECK: cuda.call "mbarrier_arrive"
    %started = tile.in_turn {
      %x = tile.dot_async %p, %clear, %zero columns : tensor<128x64xbf16>, tensor<64x96xbf16>, tensor<128x96xf32>
      tile.yield %x : tensor<128x96xf32>
    } -> tensor<128x96xf32>
    // CHECK: cuda.call "wgmma_wait<0>"
    // CHECK: cuda.call "register_fence<48>"
    %sums = tile.dot_wait %started pending 0 : tensor<128x96xf32>
    // CHECK: %[[ALL:.*]] = cuda.call "all_lanes"
    // CHECK: scf.if %[[ALL]] {
    %chosen = tile.if_all %all : tensor<128xi1> {
      tile.yield %sums : tensor<128x96xf32>
    } else {
      %twice = arith.addf %sums, %sums : tensor<128x96xf32>
      tile.yield %twice : tensor<128x96xf32>
    } -> tensor<128x96xf32>
    tile.store %chosen, %o[%c0, %c0] : tensor<128x96xf32>, !o
    tile.yield
  }
  // One warp fetches, a run of 16 rows in each of 4 lanes; the page table is read before the slot is waited for.
  // CHECK: cuda.call "load_vector<1>"
  // CHECK: cuda.call "mbarrier_wait"
  // CHECK: scf.if %{{.*}} {
  // CHECK-NEXT: cuda.offset %[[FULL]]
  // CHECK: cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%{{.*}}, %c16384_i32
  // CHECK: cuda.sync_warp
  // CHECK: arith.select %{{.*}}, %{{.*}}, %c-16_i32
  // CHECK: arith.cmpi slt, %{{.*}}, %c4
  // CHECK-COUNT-2: cuda.call "tma_load_2d"
}
