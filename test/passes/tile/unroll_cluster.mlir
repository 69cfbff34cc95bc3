// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-unroll-cluster))" %s | FileCheck %s
// Each rank has its own copy of what depends on the rank; the rest stays. The branch is one that all ranks take alike.
// CHECK-LABEL: tile.program @share
// CHECK-SAME: grid #map {
// CHECK: %[[LIMIT:.*]] = tile.read
// CHECK: scf.if
// CHECK-DAG: %[[RANK0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[RANK1:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[RANK2:.*]] = arith.constant 2 : index
// CHECK: %[[FIRST0:.*]] = arith.muli %[[RANK0]], %c16
// CHECK: %[[FIRST1:.*]] = arith.muli %[[RANK1]], %c16
// CHECK: %[[FIRST2:.*]] = arith.muli %[[RANK2]], %c16
// CHECK: %[[TILE0:.*]] = tile.load %{{.*}}[%[[FIRST0]]]
// CHECK: %[[TILE1:.*]] = tile.load %{{.*}}[%[[FIRST1]]]
// CHECK: %[[TILE2:.*]] = tile.load %{{.*}}[%[[FIRST2]]]
// CHECK: %[[SUM01:.*]] = arith.addi %[[TILE0]], %[[TILE1]]
// CHECK: %[[SUM:.*]] = arith.addi %[[SUM01]], %[[TILE2]]
// CHECK: %[[TOP01:.*]] = arith.maximumf %[[ONES:.*]], %[[ONES]]
// CHECK: %[[TOP:.*]] = arith.maximumf %[[TOP01]], %[[ONES]]
// CHECK: %[[IS0:.*]] = arith.cmpi eq, %[[RANK0]]
// CHECK: %[[IS1:.*]] = arith.cmpi eq, %[[RANK1]]
// CHECK: %[[IS2:.*]] = arith.cmpi eq, %[[RANK2]]
// CHECK: scf.if %[[IS0]] {
// CHECK-NEXT: tile.store %[[SUM]]
// CHECK: scf.if %[[IS1]] {
// CHECK: scf.if %[[IS2]] {
// CHECK-NOT: cluster
tile.program @share(%x: !tile.view<48xi32, activation>, %n: !tile.view<1xi32, meta>, %y: !tile.view<16xi32, output>,
                    %z: !tile.view<16xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.generic<cluster = 3> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c0_i = arith.constant 0 : i32
  %n0 = tile.read %n[%c0] : !tile.view<1xi32, meta> -> i32
  %is_real = arith.cmpi sge, %n0, %c0_i : i32
  scf.if %is_real {
    %rank = tile.cluster_rank
    %ones = arith.constant dense<1.0> : tensor<16xf32>
    %first = arith.muli %rank, %c16 : index
    %t = tile.load %x[%first] : !tile.view<48xi32, activation> -> tensor<16xi32>
    %sum = tile.cluster_reduce add %t : tensor<16xi32>
    %top = tile.cluster_reduce max %ones : tensor<16xf32>
    %is_first = arith.cmpi eq, %rank, %c0 : index
    scf.if %is_first {
      tile.store %sum, %y[%c0] : tensor<16xi32>, !tile.view<16xi32, output>
      tile.store %top, %z[%c0] : tensor<16xf32>, !tile.view<16xf32, output>
    }
  }
}

// CHECK-LABEL: tile.program @alone
// CHECK-SAME: schedule #tile.generic<>
tile.program @alone() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.generic<> {
}

// Warps that meet in a loop: it carries what each of them carries.
// CHECK-LABEL: tile.program @warps
// CHECK-SAME: grid #map {
// CHECK-NOT: tile.for_warps
// CHECK: %[[FIRST0:.*]] = tile.load
// CHECK: %[[FIRST1:.*]] = tile.load
// CHECK: scf.for {{.*}} iter_args(%[[NOW0:.*]] = %[[FIRST0]], %[[NOW1:.*]] = %[[FIRST1]])
// CHECK:   %[[NEXT0:.*]] = tile.load
// CHECK:   %[[NEXT1:.*]] = tile.load
// CHECK:   arith.addf %[[NOW0]], %[[NOW1]] : tensor<16xf32>
// CHECK:   scf.yield %[[NEXT0]], %[[NEXT1]]
tile.program @warps(%x: !tile.view<64x16xf32, activation>, %y: !tile.view<16xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  tile.for_warps %warp in 2 {
    %first = tile.load %x[%warp, %c0] : !tile.view<64x16xf32, activation> -> tensor<16xf32>
    %last = scf.for %i = %c0 to %c4 step %c1 iter_args(%now = %first) -> (tensor<16xf32>) {
      %row = arith.addi %warp, %i : index
      %next = tile.load %x[%row, %c0] : !tile.view<64x16xf32, activation> -> tensor<16xf32>
      %sum = tile.warp_reduce add %now : tensor<16xf32>
      tile.store %sum, %y[%c0] : tensor<16xf32>, !tile.view<16xf32, output>
      scf.yield %next : tensor<16xf32>
    }
  }
}
