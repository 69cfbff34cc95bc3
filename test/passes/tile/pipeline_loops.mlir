// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-pipeline))" %s | FileCheck %s
// Products run while the next slot is waited for; the slot of the one before is released then. In the first pass through the
// ring, weights are fetched before the wait for earlier launches, rows after it.
!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<32x64xbf16>)>

// CHECK-LABEL: tile.program @two_passes
// CHECK: tile.warp_roles produce 1 {
// CHECK: scf.for %[[I:.*]] = %c0{{.*}} to %c4{{.*}} step %c1{{.*}} {
// CHECK: %[[EARLY:.*]] = arith.muli %[[I]], %c64
// CHECK: tile.acquire %{{.*}} first %[[I]]
// CHECK: tile.fetch %{{.*}}[%c64, %[[EARLY]]] to %{{.*}}[%[[I]]] 0
// CHECK-NEXT: }
// CHECK-NEXT: tile.depend
// CHECK: scf.for %[[J:.*]] = %c0{{.*}} to %c4{{.*}} step %c1{{.*}} {
// CHECK-NOT: tile.acquire
// CHECK: %[[LATE:.*]] = arith.muli %[[J]], %c64
// CHECK: tile.fetch %{{.*}}[%c0, %[[LATE]]] to %{{.*}}[%[[J]]] 1
// CHECK-NEXT: }
// CHECK: scf.for %[[K:.*]] = %c256{{.*}} to %c1024 step %c64 {
// CHECK-NEXT: %[[SLOT:.*]] = tile.acquire %{{.*}} :
// CHECK-NEXT: tile.fetch %{{.*}}[%c64, %[[K]]] to %{{.*}}[%[[SLOT]]] 0
// CHECK-NEXT: tile.fetch %{{.*}}[%c0, %[[K]]] to %{{.*}}[%[[SLOT]]] 1
// CHECK: } consume 4 {
// CHECK-NEXT: %[[SUMS:.*]] = scf.for %[[STEP:.*]] = %c0 to %c1024 step %c64 iter_args(%[[A:.*]] =
// CHECK-NEXT: %[[T:.*]]:2 = tile.wait
// CHECK-NEXT: %[[STARTED:.*]] = tile.dot_async %[[T]]#0, %[[T]]#1, %[[A]]
// CHECK-NEXT: %[[NEXT:.*]] = tile.dot_wait %[[STARTED]] pending 1
// CHECK-NEXT: %[[IS_LATER:.*]] = arith.cmpi ne, %[[STEP]], %c0
// CHECK-NEXT: scf.if %[[IS_LATER]] {
// CHECK-NEXT: tile.release
// CHECK-NEXT: }
// CHECK-NEXT: scf.yield %[[NEXT]]
// CHECK-NEXT: }
// CHECK-NEXT: %[[DONE:.*]] = tile.dot_wait %[[SUMS]] pending 0
// CHECK-NEXT: tile.release
// CHECK-NEXT: tile.stage %[[DONE]]
tile.program @two_passes(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %c0 to %c1024 step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %sums = scf.for %k = %c0 to %c1024 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      tile.release %ring : !ring
      scf.yield %d : tensor<64x32xf32>
    }
    %staged = tile.stage %sums : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}

// 4 steps fit the ring: no slot is filled again.
// CHECK-LABEL: tile.program @one_pass
// CHECK: tile.acquire %{{.*}} first
// CHECK: tile.depend
// CHECK: scf.for
// CHECK-NEXT: arith.muli
// CHECK-NEXT: tile.fetch
// CHECK-NEXT: }
// CHECK-NEXT: tile.yield
tile.program @one_pass(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %c0 to %c256 step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      tile.release %ring : !ring
      scf.yield %d : tensor<64x32xf32>
    }
    %staged = tile.stage %sums : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}

// The part of K of a block of a cluster: up to 4 steps. The last block may have fewer.
// CHECK-LABEL: tile.program @part_in_one_pass
// CHECK: tile.warp_roles
// CHECK: %[[SPAN:.*]] = arith.subi %[[TO:.*]], %[[FROM:.*]] : index
// CHECK: %[[STEPS:.*]] = arith.ceildivsi %[[SPAN]], %c64
// CHECK: %[[SLOTS:.*]] = arith.minsi %[[STEPS]], %c4
// CHECK: scf.for %[[I:.*]] = %c0{{.*}} to %[[SLOTS]]
// CHECK: %[[OFFSET:.*]] = arith.muli %[[I]], %c64
// CHECK: %[[K:.*]] = arith.addi %[[FROM]], %[[OFFSET]]
// CHECK: tile.fetch %{{.*}}[%c64, %[[K]]]
// CHECK: tile.depend
// CHECK: scf.for %{{.*}} = %c0{{.*}} to %[[SLOTS]]
// CHECK: tile.fetch
// CHECK-NEXT: }
// CHECK-NEXT: tile.yield
tile.program @part_in_one_pass(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %rank = tile.cluster_rank
  %share = arith.constant 256 : index
  %from = arith.muli %rank, %share : index
  %end = arith.addi %from, %share : index
  %to = arith.minsi %end, %c1024 : index
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %from to %to step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %sums = scf.for %k = %from to %to step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      tile.release %ring : !ring
      scf.yield %d : tensor<64x32xf32>
    }
    %staged = tile.stage %sums : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}

// CHECK-LABEL: tile.program @part_in_two_passes
// CHECK: %[[TO:.*]] = arith.minsi
// CHECK: tile.depend
// CHECK: scf.for
// CHECK: tile.fetch
// CHECK: %[[REST:.*]] = arith.addi %{{.*}}, %c256
// CHECK-NEXT: scf.for %{{.*}} = %[[REST]] to %[[TO]] step %c64 {
// CHECK-NEXT: tile.acquire %{{.*}} :
tile.program @part_in_two_passes(%x: !x, %w: !w) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %rank = tile.cluster_rank
  %share = arith.constant 512 : index
  %from = arith.muli %rank, %share : index
  %end = arith.addi %from, %share : index
  %to = arith.minsi %end, %c1024 : index
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %from to %to step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !w, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %sums = scf.for %k = %from to %to step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      tile.release %ring : !ring
      scf.yield %d : tensor<64x32xf32>
    }
    %staged = tile.stage %sums : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}

// Weights alone wait for nothing, and activations alone for everything: the order stays.
// CHECK-LABEL: tile.program @activations
// CHECK: tile.depend
// CHECK-NEXT: scf.for
// CHECK-NEXT: tile.acquire %{{.*}} :
tile.program @activations(%x: !x, %w: !tile.view<512x1024xbf16, activation>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %ring = tile.ring : !ring
  %staged = tile.warp_roles produce 1 {
    tile.depend
    scf.for %k = %c0 to %c256 step %c64 {
      %slot = tile.acquire %ring : !ring
      tile.fetch %w[%c64, %k] to %ring[%slot] 0 : !tile.view<512x1024xbf16, activation>, !ring
      tile.fetch %x[%c0, %k] to %ring[%slot] 1 : !x, !ring
    }
    tile.yield
  } consume 4 {
    %sums = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x32xf32>) {
      %wt, %xt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<32x64xbf16>
      %d = tile.dot %wt, %xt, %a transpose_rhs : tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<64x32xf32>
      tile.release %ring : !ring
      scf.yield %d : tensor<64x32xf32>
    }
    %staged = tile.stage %sums : tensor<64x32xf32>
    tile.yield %staged : tensor<64x32xf32>
  } -> tensor<64x32xf32>
}
