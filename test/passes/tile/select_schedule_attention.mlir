// RUN: sed "s/SEQUENCES/1/g" %s | inlay-opt --tile-select-schedule 2>&1 | FileCheck %s --check-prefix=ONE
// RUN: sed "s/SEQUENCES/64/g" %s | inlay-opt --tile-select-schedule 2>/dev/null | FileCheck %s --check-prefix=MANY
// RUN: sed "s/SEQUENCES/1/g; s/@step/@other/; s/tile.launch.*//" %s | inlay-opt --tile-select-schedule 2>/dev/null | FileCheck %s --check-prefix=ALONE
// RUN: sed "s/SEQUENCES/1/g; s/dense<16>/dense<8>/" %s | inlay-opt --tile-select-schedule 2>&1 | FileCheck %s --check-prefix=PAGES
// RUN: sed "s/SEQUENCES/2/g; s/step decode/step mixed/; s/query_tile_rows = 1/query_tile_rows = 2/" %s > %t.mixed.mlir
// RUN: inlay-opt --tile-select-schedule %t.mixed.mlir 2>&1 | FileCheck %s --check-prefix=MIXED
// RUN: inlay-opt --tile-select-schedule --tile-select-schedule %t.mixed.mlir 2>/dev/null | FileCheck %s --check-prefix=MIXED-TWICE
// RUN: sed "s/dense<16>/dense<8>/" %t.mixed.mlir | inlay-opt --tile-select-schedule 2>&1 | FileCheck %s --check-prefix=MIXED-PAGES
// RUN: sed "s/query_tile_rows = 2/query_tile_rows = 3/" %t.mixed.mlir | not inlay-opt --tile-select-schedule 2>&1 | FileCheck %s --check-prefix=UNEVEN
// The family, the tile and the cluster of an attention of 8 rows.
// How many blocks share the keys of a query tile: of one sequence, each multiprocessor gets at most one; of 64 sequences with 2
// heads of keys, 256 of the 264 slots are taken by clusters of 2. Steps of many rows, and programs that no entry launches, have
// blocks that are alone.
// ONE: remark: schedule by the analytic model: decode_attention, 8 rows x 16 keys, heads of 32, clusters of 16 blocks (max_sequences 1)
// ONE: tile.entry @step decode {{.*}}query_tile_rows = 1
// ONE: schedule #tile.decode_attention<query_rows = 1, tile_rows = 8, tile_keys = 16, warps = 8, stages = 6, slots = 2, cluster = 16>
// MANY: schedule #tile.decode_attention<query_rows = 1, tile_rows = 8, tile_keys = 16, warps = 8, stages = 6, slots = 2, cluster = 2>
// ALONE: schedule #tile.decode_attention<query_rows = 1, tile_rows = 8, tile_keys = 16, warps = 8, stages = 6, slots = 2, cluster = 1>

// Pages of 8 positions are for the generic lowering.
// PAGES: remark: decode steps take the generic attention: heads of 32, 16 bits, 8 query heads for each of keys, pages of 8; the family decode_attention takes heads of 16 to 256 in 8s, 16 bits, up to 16 query heads, pages of a multiple of 16
// PAGES: remark: schedule by the analytic model: generic, 16 rows x 64 keys, heads of 32, clusters of 16 blocks (max_sequences 1)
// PAGES: schedule #tile.generic<cluster = 16, query_rows = 1, tile_rows = 16, tile_keys = 64>

// Two rows of 4 heads become 32 rows, for which the host makes the query tiles of the entry.
// MIXED: remark: schedule by the analytic model: prefill_attention, 128 rows x 128 keys, heads of 32
// MIXED: tile.entry @step mixed {{.*}}query_tile_rows = 32
// MIXED: schedule #tile.prefill_attention<query_rows = 32, tile_rows = 128, tile_keys = 128, consumers = 2, stages = 2, producer_registers = 24, consumer_registers = 240>
// MIXED-TWICE: query_tile_rows = 32
// MIXED-PAGES: remark: steps of many rows take the generic attention: heads of 32, 16 bits, 4 query heads for each of keys, pages of 8
// MIXED-PAGES: tile.entry @step mixed {{.*}}query_tile_rows = 16
// MIXED-PAGES: schedule #tile.generic<query_rows = 16, tile_rows = 64, tile_keys = 64>

// UNEVEN: error: has 8 rows in steps with query tiles of 3 (query_tile_rows of a tile.entry), expected the same number for each
!q = !tile.view<?x32xbf16, activation>
!kv = !tile.view<?x32xbf16, kv, kv_rows>
!out = !tile.view<?x32xbf16, output>
!tiles = !tile.view<?xi32, meta, query_tiles>

tile.entry @step decode attributes {max_sequences = SEQUENCES : i64, max_tokens = SEQUENCES : i64, query_tile_rows = 1 : i64, workspace_bytes = 4096 : i64} {
  tile.launch model @attention(workspace 0, key_cache 0, value_cache 0, workspace 2048, metadata TileKeys) {origin = "layers.0"}
}

tile.program @attention(%q: !q, %k: !kv, %v: !kv, %out: !out, %lengths: !tiles)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s2)> schedule #tile.family<attention> {
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
