// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-assign-stages))" %s -o %t.staged.mlir
// RUN: FileCheck %s --check-prefix=STAGED < %t.staged.mlir
// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-specialize-warps))" %t.staged.mlir -o %t.roles.mlir
// RUN: FileCheck %s --check-prefix=ROLES < %t.roles.mlir
// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-pipeline,cse))" %t.roles.mlir | FileCheck %s --check-prefix=AHEAD
// RUN: sed -E 's/(x64x)bf16, kv/\1f8E4M3FN, kv/; s/%(key|value) = (.*) -> tensor<64x64xbf16>/%\1_codes = \2 -> tensor<64x64xf8E4M3FN>\n      %\1 = arith.extf %\1_codes : tensor<64x64xf8E4M3FN> to tensor<64x64xbf16>/' %s > %t.codes.mlir
// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-assign-stages))" %t.codes.mlir | FileCheck %s --check-prefix=CODES
// A loop of attention, step by step. Two products read gathered rows: scores, which depend on no other iteration, and outputs, which
// depend on the scores.

!q = !tile.view<?x64xbf16, activation>
!i = !tile.view<?xi32, meta>
!kv = !tile.view<?x64xbf16, kv, kv_rows>
!o = !tile.view<?x64xbf16, output>

tile.program @attention(%q: !q, %sequences: !i, %lengths: !i, %pages: !i, %keys: !kv, %values: !kv, %o: !o)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s2)>
    schedule #tile.prefill_attention<query_rows = 128, tile_rows = 128, tile_keys = 64, consumers = 2, stages = 2, producer_registers = 40, consumer_registers = 232> {
  %id = tile.program_id 0
  %sequence = tile.read %sequences[%id] : !i -> i32
  %length = tile.read %lengths[%id] : !i -> i32
  %zero = arith.constant 0 : i32
  %is_real = arith.cmpi sge, %sequence, %zero : i32
  scf.if %is_real {
    %c0 = arith.constant 0 : index
    %c64 = arith.constant 64 : index
    %none = arith.constant dense<-1> : tensor<64xi32>
    %page_size = arith.constant dense<16> : tensor<64xi32>
    %masked = arith.constant dense<-1.0> : tensor<128x64xf32>
    %nothing = arith.constant dense<0.0> : tensor<128x64xf32>
    %row = tile.iota axis 0 : tensor<128xi32>
    %row_tile = tile.broadcast %row axis 1 : tensor<128xi32> -> tensor<128x64xi32>
    %query = tile.gather %q[%row, %c0] : !q, tensor<128xi32> -> tensor<128x64xbf16>
    %to = arith.index_cast %length : i32 to index
    %sums = scf.for %at = %c0 to %to step %c64 iter_args(%sum = %nothing) -> (tensor<128x64xf32>) {
      %start = arith.index_cast %at : index to i32
      %starts = tensor.splat %start : tensor<64xi32>
      %j = tile.iota axis 0 : tensor<64xi32>
      %position = arith.addi %starts, %j : tensor<64xi32>
      %ends = tensor.splat %length : tensor<64xi32>
      %held = arith.cmpi slt, %position, %ends : tensor<64xi32>
      %page_number = arith.divsi %position, %page_size : tensor<64xi32>
      %asked = arith.select %held, %page_number, %none : tensor<64xi1>, tensor<64xi32>
      %page = tile.gather %pages[%asked] : !i, tensor<64xi32> -> tensor<64xi32>
      %first = arith.muli %page, %page_size : tensor<64xi32>
      %in_page = arith.remsi %position, %page_size : tensor<64xi32>
      %cache_row = arith.addi %first, %in_page : tensor<64xi32>
      %rows = arith.select %held, %cache_row, %none : tensor<64xi1>, tensor<64xi32>
      %key = tile.gather %keys[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %scores = tile.dot %query, %key, %nothing transpose_rhs : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      %position_tile = tile.broadcast %position axis 0 : tensor<64xi32> -> tensor<128x64xi32>
      %seen = arith.cmpi sle, %position_tile, %row_tile : tensor<128x64xi32>
      %kept = arith.select %seen, %scores, %masked : tensor<128x64xi1>, tensor<128x64xf32>
      %weights = arith.truncf %kept : tensor<128x64xf32> to tensor<128x64xbf16>
      %value = tile.gather %values[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %next = tile.dot %weights, %value, %sum : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      scf.yield %next : tensor<128x64xf32>
    }
    %result = arith.truncf %sums : tensor<128x64xf32> to tensor<128x64xbf16>
    tile.scatter %result, %o[%row, %c0] : tensor<128x64xbf16>, !o, tensor<128xi32>
  }
}

// A ring for each product. Queries are staged once. Rows of values that nobody holds are cleared, those of keys are not: what comes from
// them is masked.
// STAGED-DAG: %[[KEYS:.*]] = tile.ring : <2 x(tensor<64x64xbf16>)>
// STAGED-DAG: %[[VALUES:.*]] = tile.ring : <2 x(tensor<64x64xbf16>)>
// STAGED: %[[QUERY:.*]] = tile.gather %arg0
// STAGED: %[[LEFT:.*]] = tile.stage %[[QUERY]] : tensor<128x64xbf16>
// STAGED: scf.for
// STAGED: %[[HELD:.*]] = arith.cmpi slt
// STAGED: %[[ROWS:.*]] = arith.select %[[HELD]]
// STAGED: %[[ROWS:.*]] = arith.select %[[HELD]]
// STAGED: %[[SLOT:.*]] = tile.acquire %[[KEY_RING:.*]] :
// STAGED: tile.fetch_rows %arg4[%[[ROWS]]] run 16 to %[[KEY_RING]][%[[SLOT]]] 0
// STAGED: %[[KEY:.*]] = tile.wait %[[KEY_RING]]
// STAGED: tile.dot %[[LEFT]], %[[KEY]], %{{.*}} transpose_rhs
// STAGED: tile.release %[[KEY_RING]]
// STAGED: %[[SLOT:.*]] = tile.acquire %[[VALUE_RING:.*]] :
// STAGED: tile.fetch_rows %arg5[%[[ROWS]]] run 16 to %[[VALUE_RING]][%[[SLOT]]] 0
// STAGED: %[[VALUE:.*]] = tile.wait %[[VALUE_RING]]
// STAGED: %[[CLEARED:.*]] = tile.clear_rows %[[VALUE]] where %[[HELD]]
// STAGED: tile.dot %{{.*}}, %[[CLEARED]], %{{.*}} :
// STAGED: tile.release %[[VALUE_RING]]

// Codes are widened by the fetches.
// CODES-DAG: tile.ring : <2 x(tensor<64x64xbf16>)>
// CODES: tile.fetch_rows %arg4{{.*}} : <?x64xf8E4M3FN, kv, kv_rows>, tensor<64xi32>, <2 x(tensor<64x64xbf16>)>
// CODES-NOT: arith.extf
// CODES: tile.fetch_rows %arg5
// CODES: tile.clear_rows {{.*}} : tensor<64x64xbf16>
// CODES-NOT: arith.extf

// The producers read the page table. The consumers have queries and outputs as well. Blocks without a sequence wait for earlier launches.
// ROLES: scf.if
// ROLES: tile.warp_roles produce 4 registers 40 {
// ROLES-NEXT: tile.depend
// ROLES-NEXT: scf.for
// ROLES: tile.gather %arg3
// ROLES: tile.fetch_rows %arg4
// ROLES: tile.fetch_rows %arg5
// ROLES-NOT: tile.dot
// ROLES: } consume 8 registers 232 {
// ROLES: tile.depend
// ROLES-NEXT: tile.gather %arg0
// ROLES: tile.stage
// ROLES: scf.for
// ROLES-NOT: tile.gather
// ROLES: tile.dot
// ROLES: tile.dot
// ROLES: tile.scatter
// ROLES: } else {
// ROLES-NEXT: tile.depend

// The scores of the first tile.
// AHEAD: } consume 8
// AHEAD: %[[LEFT:.*]] = tile.stage
// AHEAD: %[[RESULT:.*]] = scf.if
// AHEAD: %[[KEY:.*]] = tile.wait %[[KEYS:.*]] :
// AHEAD: %[[STARTED:.*]] = tile.dot_async %[[LEFT]], %[[KEY]]
// AHEAD: %[[FIRST:.*]] = tile.dot_wait %[[STARTED]] pending 0
// AHEAD: tile.release %[[KEYS]]
// All tiles but the last: masks only in a warp that needs them, the scores of the next tile with the outputs of this one, in turn.
// AHEAD: %[[LOOP:.*]]:2 = scf.for {{.*}} iter_args(%[[SUM:.*]] = %{{.*}}, %[[SCORES:.*]] = %[[FIRST]])
// AHEAD: %[[ALL:.*]] = arith.andi %{{.*}}, %{{.*}} : tensor<128xi1>
// AHEAD: %[[WEIGHTS:.*]] = tile.if_all %[[ALL]] : tensor<128xi1> {
// AHEAD-NEXT: arith.truncf %[[SCORES]]
// AHEAD: } else {
// AHEAD-NEXT: arith.select %{{.*}}, %[[SCORES]]
// AHEAD: %[[BOTH:.*]]:2 = tile.in_turn {
// AHEAD-NEXT: %[[VALUE:.*]] = tile.wait %[[VALUES:.*]] :
// AHEAD-NEXT: %[[OUTPUTS:.*]] = tile.dot_async %[[WEIGHTS]], %[[VALUE]], %[[SUM]] columns
// AHEAD-NEXT: %[[KEY:.*]] = tile.wait %[[KEYS]] :
// AHEAD-NEXT: %[[NEXT:.*]] = tile.dot_async %[[LEFT]], %[[KEY]]
// AHEAD-NEXT: tile.yield %[[OUTPUTS]], %[[NEXT]]
// AHEAD: %[[OUTPUTS:.*]] = tile.dot_wait %[[BOTH]]#0 pending 1
// AHEAD-NEXT: tile.release %[[VALUES]]
// AHEAD-NEXT: %[[DONE:.*]]:2 = tile.dot_wait %[[OUTPUTS]], %[[BOTH]]#1 pending 0
// AHEAD-NEXT: tile.release %[[KEYS]]
// AHEAD-NEXT: scf.yield %[[DONE]]#0, %[[DONE]]#1
// The last tile has masks, and rows that nobody holds.
// AHEAD: arith.select %{{.*}}, %[[LOOP]]#1
// AHEAD: %[[VALUE:.*]] = tile.wait %[[VALUES]]
// AHEAD: %[[CLEARED:.*]] = tile.clear_rows %[[VALUE]]
// AHEAD: tile.dot_async %{{.*}}, %[[CLEARED]], %[[LOOP]]#0 columns
// AHEAD: } else {
// AHEAD-NEXT: scf.yield
// AHEAD: arith.truncf %[[RESULT]]
