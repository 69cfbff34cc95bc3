// RUN: inlay-opt --tile-apply-schedule %s -o %t.applied.mlir
// RUN: FileCheck %s --check-prefix=APPLIED < %t.applied.mlir
// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(cse,tile-assign-stages))" %t.applied.mlir -o %t.staged.mlir
// RUN: FileCheck %s --check-prefix=STAGED < %t.staged.mlir
// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-pipeline,cse))" %t.staged.mlir | FileCheck %s --check-prefix=AHEAD
// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-unroll-cluster))" %t.applied.mlir | FileCheck %s --check-prefix=UNROLLED
// RUN: sed -E 's/(x32x)bf16, kv/\1f8E4M3FN, kv/; s/%(key|value) = (.*) -> tensor<16x32xbf16>/%\1_codes = \2 -> tensor<16x32xf8E4M3FN>\n    %\1 = arith.extf %\1_codes : tensor<16x32xf8E4M3FN> to tensor<16x32xbf16>/' %s > %t.codes.mlir
// RUN: inlay-opt --tile-apply-schedule %t.codes.mlir | inlay-opt --pass-pipeline="builtin.module(tile.program(cse,tile-assign-stages))" | FileCheck %s --check-prefix=CODES
// The loop of attention of a decode step, step by step: 4 warps of 2 blocks share the keys.

// Each block of the cluster has a run of keys, each of its warps every fourth step of them. Products compute their transposes. Sums of
// columns are reduced after the loop. Queries are only read in the warps.
// APPLIED: %[[RANK:.*]] = tile.cluster_rank
// APPLIED: %[[TO:.*]] = arith.minsi
// APPLIED: %[[PARTS:.*]]:3 = tile.for_warps %[[WARP:.*]] in 4 {
// APPLIED: %[[QUERY:.*]] = tile.gather %arg0
// APPLIED: %[[OWN:.*]] = arith.muli %[[WARP]], %{{.*}}
// APPLIED-NEXT: %[[FIRST:.*]] = arith.addi %{{.*}}, %[[OWN]]
// APPLIED: tile.unwritten %{{.*}}
// APPLIED-NEXT: %[[R:.*]]:3 = scf.for %{{.*}} = %[[FIRST]] to %[[TO]] step %c64 {{.*}} -> (tensor<8xf32>, tensor<8x16xf32>, tensor<8x32xf32>) {
// APPLIED: %[[KEY:.*]] = tile.gather %arg1
// APPLIED: %[[PRODUCT:.*]] = tile.dot %[[KEY]], %[[QUERY]], %{{.*}} transpose_rhs : tensor<16x32xbf16>, tensor<8x32xbf16>, tensor<16x8xf32>
// APPLIED-NEXT: tile.transpose %[[PRODUCT]] : tensor<16x8xf32> -> tensor<8x16xf32>
// APPLIED: %[[VALUE:.*]] = tile.gather %arg2
// APPLIED: %[[TURNED:.*]] = tile.transpose %[[VALUE]] : tensor<16x32xbf16> -> tensor<32x16xbf16>
// APPLIED: tile.dot %[[TURNED]], %{{.*}}, %{{.*}} transpose_rhs : tensor<32x16xbf16>, tensor<8x16xbf16>, tensor<32x8xf32>
// APPLIED: %[[SUM:.*]] = tile.reduce {{ *}}add %[[R]]#1 axis 1 : tensor<8x16xf32>
// APPLIED-NEXT: tile.yield %[[R]]#0, %[[SUM]], %[[R]]#2
// APPLIED: } merge
// APPLIED: %[[ALL:.*]]:3 = tile.cluster_merge %[[PARTS]]#0, %[[PARTS]]#1, %[[PARTS]]#2
// APPLIED: arith.divf %[[ALL]]#2

// One ring of the warp, which keys and values take in turn. Rows that are summed over are cleared where nobody holds them.
// STAGED: tile.for_warps
// STAGED-NEXT: %[[RING:.*]] = tile.ring : <3 x(tensor<16x32xbf16>)>
// STAGED: scf.for
// STAGED: %[[SLOT:.*]] = tile.acquire %[[RING]]
// STAGED-NEXT: tile.fetch_rows %arg1[%[[ROWS:.*]]] run 16 to %[[RING]][%[[SLOT]]] 0
// STAGED-NEXT: %[[KEY:.*]] = tile.wait %[[RING]]
// STAGED: tile.dot %[[KEY]],
// STAGED-NEXT: tile.release %[[RING]]
// STAGED: %[[SLOT:.*]] = tile.acquire %[[RING]]
// STAGED-NEXT: tile.fetch_rows %arg2[%[[ROWS]]] run 16 to %[[RING]][%[[SLOT]]] 0
// STAGED: %[[CLEARED:.*]] = tile.clear_rows %{{.*}} where %{{.*}} run 16
// STAGED-NEXT: tile.transpose %[[CLEARED]]

// Codes stay codes in the ring. Products widen what they read.
// CODES: %[[RING:.*]] = tile.ring : <3 x(tensor<16x32xf8E4M3FN>)>
// CODES: tile.fetch_rows %arg1{{.*}} : <?x32xf8E4M3FN, kv, kv_rows>
// CODES-NEXT: %[[KEY:.*]] = tile.wait %[[RING]]
// CODES-NEXT: %[[WIDE:.*]] = arith.extf %[[KEY]] : tensor<16x32xf8E4M3FN> to tensor<16x32xbf16>
// CODES: tile.dot %[[WIDE]],
// CODES-NEXT: tile.release %[[RING]]
// CODES: tile.fetch_rows %arg2
// CODES: %[[CLEARED:.*]] = tile.clear_rows {{.*}} : tensor<16x32xf8E4M3FN>
// CODES-NEXT: %[[WIDE:.*]] = arith.extf %[[CLEARED]]
// CODES: tile.transpose %[[WIDE]] : tensor<16x32xbf16> -> tensor<32x16xbf16>

// Where 32 steps begin is known at a time. Three slots are filled: before the wait those whose keys are older, after it the others; then
// the queries are loaded. A slot is filled again where it is released: that of the keys with values of the next step, that of the values with
// keys two steps ahead.
// AHEAD: tile.ring
// AHEAD: %[[EARLY:.*]] = arith.minsi
// AHEAD: %[[IS_EARLY:.*]] = arith.cmpi slt, %[[FIRST:.*]], %[[EARLY]]
// AHEAD: scf.if %[[IS_EARLY]] {
// AHEAD: tensor.extract %[[ROWS:.*]][%c0] : tensor<32xi32>
// AHEAD: tile.fetch %arg1[%[[ROW:.*]], %c0] to %{{.*}} 0 unwritten
// AHEAD: tile.fetch %arg2[%[[ROW]], %c0] to %{{.*}} 0 unwritten
// AHEAD: scf.if
// AHEAD: tensor.extract %[[ROWS]][%c1]
// AHEAD: tile.fetch %arg1{{.*}} 0 unwritten
// AHEAD: tile.depend
// AHEAD: arith.cmpi sge, %[[FIRST]], %[[EARLY]]
// AHEAD: tile.fetch %arg1{{.*}} 0 :
// AHEAD: tile.fetch %arg2{{.*}} 0 :
// AHEAD: tile.fetch %arg1{{.*}} 0 :
// AHEAD: tile.gather %arg0
// AHEAD-NEXT: scf.for %[[AT:.*]] = %[[FIRST]] to %[[TO:.*]] step %c64 iter_args({{.*}}, %[[KNOWN:.*]] = %[[ROWS]])
// AHEAD: tile.dot
// AHEAD-NEXT: tile.release
// AHEAD-NEXT: %[[NEXT:.*]] = arith.addi %[[AT]], %c64
// AHEAD: arith.cmpi slt, %[[NEXT]], %[[TO]]
// AHEAD: tensor.extract %[[KNOWN]]
// AHEAD: tile.fetch %arg2
// AHEAD: tile.dot
// AHEAD-NEXT: tile.release
// AHEAD: %[[NEXT:.*]] = arith.addi %[[AT]], %c128
// AHEAD: %[[KNOWN_NEXT:.*]] = scf.if {{.*}} -> (tensor<32xi32>) {
// AHEAD: arith.remui %{{.*}}, %c2048
// AHEAD: scf.if
// AHEAD: tile.fetch %arg1
// AHEAD: scf.yield {{.*}}, %[[KNOWN_NEXT]] :

// For the cpu target, each rank has a loop over its warps, which carries what is merged.
// UNROLLED-COUNT-2: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %{{.*}} iter_args({{.*}}) -> (tensor<8xf32>, tensor<8xf32>, tensor<8x32xf32>) {
// UNROLLED-NOT: tile.cluster_merge
// UNROLLED: arith.maximumf
// UNROLLED: tile.scatter

!q = !tile.view<?x32xbf16, activation>
!kv = !tile.view<?x32xbf16, kv, kv_rows>
!out = !tile.view<?x32xbf16, output>
!tiles = !tile.view<?xi32, meta, query_tiles>

tile.program @attention(%q: !q, %k: !kv, %v: !kv, %out: !out, %lengths: !tiles)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s2)>
    schedule #tile.decode_attention<query_rows = 1, tile_rows = 8, tile_keys = 16, warps = 4, stages = 3, slots = 2, cluster = 2> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c16_t = arith.constant dense<16> : tensor<16xi32>
  %tile = tile.program_id 1
  %length_i = tile.read %lengths[%tile] : !tiles -> i32
  %length = arith.index_cast %length_i : i32 to index
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
    %positions = arith.addi %firsts, %i : tensor<16xi32>
    %page = arith.divsi %positions, %c16_t : tensor<16xi32>
    %begin = arith.muli %page, %c16_t : tensor<16xi32>
    %in_page = arith.remsi %positions, %c16_t : tensor<16xi32>
    %keys = arith.addi %begin, %in_page : tensor<16xi32>
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
