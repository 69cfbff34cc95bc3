// RUN: inlay-opt --tile-apply-schedule %s | FileCheck %s
// RUN: inlay-opt --tile-apply-schedule --tile-apply-schedule %s | FileCheck %s
// RUN: sed "s/(2, s2)> schedule #tile.generic<cluster = 4>/(2, s2)> schedule #tile.generic<query_rows = 1, tile_rows = 16, tile_keys = 64>/" %s | inlay-opt --tile-apply-schedule | FileCheck %s --check-prefix=RETILED
// RUN: inlay-opt --tile-apply-schedule %s | sed "1,/generic<cluster = 4>/s/generic<cluster = 4>/generic<cluster = 4, query_rows = 1, tile_rows = 16, tile_keys = 64>/" | not inlay-opt --tile-apply-schedule 2>&1 | FileCheck %s --check-prefix=LATE
// The keys of a query tile are split over the 4 blocks of a cluster: each takes a run of whole tiles of 16, all merge maxima, sums
// and outputs, and the first stores. What is split already stays as it is.

// In another tile, rows and keys change, and the step of the loop.
// RETILED-LABEL: tile.program @attention
// RETILED: tile.iota axis 0 : tensor<16xi32>
// RETILED: tile.gather {{.*}}tensor<16xi32> -> tensor<16x32xbf16>
// RETILED: %[[KEYS:.*]] = arith.constant 64 : index
// RETILED: scf.for {{.*}} step %[[KEYS]] {{.*}} -> (tensor<16xf32>, tensor<16xf32>, tensor<16x32xf32>)
// RETILED: tile.iota axis 0 : tensor<64xi32>
// RETILED: tile.dot {{.*}} transpose_rhs : tensor<16x32xbf16>, tensor<64x32xbf16>, tensor<16x64xf32>
// RETILED: tile.dot {{.*}} : tensor<16x64xbf16>, tensor<64x32xbf16>, tensor<16x32xf32>
// RETILED: tile.scatter {{.*}} : tensor<16x32xbf16>

// A program that is split for one tile is not changed to another.
// LATE: error: has 8 rows x 16 keys and is split over a cluster; the schedule has tiles of 16 x 64
!q = !tile.view<?x32xbf16, activation>
!kv = !tile.view<?x32xbf16, kv, kv_rows>
!out = !tile.view<?x32xbf16, output>

// CHECK-LABEL: tile.program @attention
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[LENGTH:.*]] = tile.extent tokens
// CHECK: %[[RANK:.*]] = tile.cluster_rank
// CHECK: %[[SPAN:.*]] = arith.subi %[[LENGTH]], %[[ZERO]]
// CHECK: %[[TILES:.*]] = arith.ceildivsi %[[SPAN]], %c64
// CHECK: %[[SHARE:.*]] = arith.muli %[[TILES]], %c16
// CHECK: %[[OFFSET:.*]] = arith.muli %[[RANK]], %[[SHARE]]
// CHECK: %[[FROM:.*]] = arith.addi %[[ZERO]], %[[OFFSET]]
// CHECK: %[[END:.*]] = arith.addi %[[FROM]], %[[SHARE]]
// CHECK: %[[TO:.*]] = arith.minsi %[[LENGTH]], %[[END]]
// CHECK: %[[R:.*]]:3 = scf.for %{{.*}} = %[[FROM]] to %[[TO]]
// CHECK: }
// CHECK: %[[TOP:.*]] = tile.cluster_reduce max %[[R]]#0
// CHECK: %[[BEHIND:.*]] = arith.subf %[[R]]#0, %[[TOP]]
// CHECK: %[[WEIGHT:.*]] = math.exp2 %[[BEHIND]]
// CHECK: %[[OWN_SUM:.*]] = arith.mulf %[[R]]#1, %[[WEIGHT]]
// CHECK: %[[SUM:.*]] = tile.cluster_reduce add %[[OWN_SUM]]
// CHECK: %[[WIDE:.*]] = tile.broadcast %[[WEIGHT]] axis 1
// CHECK: %[[OWN_OUT:.*]] = arith.mulf %[[R]]#2, %[[WIDE]]
// CHECK: %[[OUT:.*]] = tile.cluster_reduce add %[[OWN_OUT]]
// CHECK: tile.broadcast %[[SUM]] axis 1
// CHECK: arith.divf %[[OUT]],
// CHECK: %[[IS_FIRST:.*]] = arith.cmpi eq, %[[RANK]], %{{.*}}
// CHECK: scf.if %[[IS_FIRST]] {
// CHECK-NEXT: tile.scatter
// CHECK-NEXT: }
tile.program @attention(%q: !q, %k: !kv, %v: !kv, %out: !out)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s2)> schedule #tile.generic<cluster = 4> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %length = tile.extent tokens
  %rows = tile.iota axis 0 : tensor<8xi32>
  %query = tile.gather %q[%rows, %c0] : !q, tensor<8xi32> -> tensor<8x32xbf16>
  %top0 = arith.constant dense<-1.0e30> : tensor<8xf32>
  %sum0 = arith.constant dense<0.0> : tensor<8xf32>
  %out0 = arith.constant dense<0.0> : tensor<8x32xf32>
  %scores0 = arith.constant dense<0.0> : tensor<8x16xf32>
  %r:3 = scf.for %at = %c0 to %length step %c16 iter_args(%t = %top0, %s = %sum0, %o = %out0)
      -> (tensor<8xf32>, tensor<8xf32>, tensor<8x32xf32>) {
    %i = tile.iota axis 0 : tensor<16xi32>
    %first = arith.index_cast %at : index to i32
    %firsts = tensor.splat %first : tensor<16xi32>
    %keys = arith.addi %firsts, %i : tensor<16xi32>
    %key = tile.gather %k[%keys, %c0] : !kv, tensor<16xi32> -> tensor<16x32xbf16>
    %score = tile.dot %query, %key, %scores0 transpose_rhs : tensor<8x32xbf16>, tensor<16x32xbf16>, tensor<8x16xf32>
    %most = tile.reduce max %score axis 1 : tensor<8x16xf32> -> tensor<8xf32>
    %top = arith.maximumf %t, %most : tensor<8xf32>
    %tops = tile.broadcast %top axis 1 : tensor<8xf32> -> tensor<8x16xf32>
    %less = arith.subf %score, %tops : tensor<8x16xf32>
    %p = math.exp2 %less : tensor<8x16xf32>
    %change = arith.subf %t, %top : tensor<8xf32>
    %correction = math.exp2 %change : tensor<8xf32>
    %kept = arith.mulf %s, %correction : tensor<8xf32>
    %new = tile.reduce add %p axis 1 : tensor<8x16xf32> -> tensor<8xf32>
    %sum = arith.addf %kept, %new : tensor<8xf32>
    %corrections = tile.broadcast %correction axis 1 : tensor<8xf32> -> tensor<8x32xf32>
    %scaled = arith.mulf %o, %corrections : tensor<8x32xf32>
    %value = tile.gather %v[%keys, %c0] : !kv, tensor<16xi32> -> tensor<16x32xbf16>
    %narrow = arith.truncf %p : tensor<8x16xf32> to tensor<8x16xbf16>
    %next = tile.dot %narrow, %value, %scaled : tensor<8x16xbf16>, tensor<16x32xbf16>, tensor<8x32xf32>
    scf.yield %top, %sum, %next : tensor<8xf32>, tensor<8xf32>, tensor<8x32xf32>
  }
  %sums = tile.broadcast %r#1 axis 1 : tensor<8xf32> -> tensor<8x32xf32>
  %normal = arith.divf %r#2, %sums : tensor<8x32xf32>
  %result = arith.truncf %normal : tensor<8x32xf32> to tensor<8x32xbf16>
  tile.scatter %result, %out[%rows, %c0] : tensor<8x32xbf16>, !out, tensor<8xi32>
}

// CHECK-LABEL: tile.program @rows
// CHECK-NEXT: }
tile.program @rows() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> schedule #tile.generic<cluster = 4> {
}

// A program that divides its work by the number of blocks.
// CHECK-LABEL: tile.program @share
// CHECK: %[[RANK:.*]] = tile.cluster_rank
// CHECK: %[[FIRST:.*]] = arith.muli %[[RANK]], %c256
// CHECK: %[[TILE:.*]] = tile.load %{{.*}}[%[[FIRST]]]
// CHECK: tile.cluster_reduce add %[[TILE]]
// CHECK: scf.if
tile.program @share(%x: !tile.view<1000xi32, activation>, %y: !tile.view<16xi32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.generic<cluster = 4> {
  %rank = tile.cluster_rank
  %size = tile.cluster_size
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c1000 = arith.constant 1000 : index
  %tiles = arith.muli %size, %c16 : index
  %count = arith.ceildivsi %c1000, %tiles : index
  %share = arith.muli %count, %c16 : index
  %first = arith.muli %rank, %share : index
  %t = tile.load %x[%first] : !tile.view<1000xi32, activation> -> tensor<16xi32>
  %sum = tile.cluster_reduce add %t : tensor<16xi32>
  %is_first = arith.cmpi eq, %rank, %c0 : index
  scf.if %is_first {
    tile.store %sum, %y[%c0] : tensor<16xi32>, !tile.view<16xi32, output>
  }
}

// A block that is alone is the first and has all of it.
// CHECK-LABEL: tile.program @alone
// CHECK-NOT: cluster_
// CHECK-NOT: scf.if
// CHECK: %[[TILE:.*]] = tile.load %{{.*}}[%c0{{.*}}]
// CHECK-NOT: scf.if
// CHECK: tile.store %[[TILE]]
tile.program @alone(%x: !tile.view<1000xi32, activation>, %y: !tile.view<16xi32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.generic<> {
  %rank = tile.cluster_rank
  %size = tile.cluster_size
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c1000 = arith.constant 1000 : index
  %tiles = arith.muli %size, %c16 : index
  %count = arith.ceildivsi %c1000, %tiles : index
  %share = arith.muli %count, %c16 : index
  %first = arith.muli %rank, %share : index
  %t = tile.load %x[%first] : !tile.view<1000xi32, activation> -> tensor<16xi32>
  %sum = tile.cluster_reduce add %t : tensor<16xi32>
  %is_first = arith.cmpi eq, %rank, %c0 : index
  scf.if %is_first {
    tile.store %sum, %y[%c0] : tensor<16xi32>, !tile.view<16xi32, output>
  }
}
