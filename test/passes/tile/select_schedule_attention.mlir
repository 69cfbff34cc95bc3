// RUN: sed "s/SEQUENCES/1/g" %s | inlay-opt --tile-select-schedule 2>&1 | FileCheck %s --check-prefix=ONE
// RUN: sed "s/SEQUENCES/64/g" %s | inlay-opt --tile-select-schedule 2>/dev/null | FileCheck %s --check-prefix=MANY
// RUN: sed "s/SEQUENCES/1/g; s/step decode/step mixed/" %s | inlay-opt --tile-select-schedule 2>/dev/null | FileCheck %s --check-prefix=MIXED
// RUN: sed "s/SEQUENCES/1/g; s/@step/@other/; s/tile.launch.*//" %s | inlay-opt --tile-select-schedule 2>/dev/null | FileCheck %s --check-prefix=ALONE
// RUN: sed "s/SEQUENCES/1/g; s/family<decode_attention>/family<attention>/" %s | inlay-opt --tile-select-schedule 2>/dev/null | FileCheck %s --check-prefix=GENERIC
// RUN: sed "s/SEQUENCES/1/g; s/family<decode_attention>/family<prefill_attention>/; s/<8x/<128x/g; s/<8xf32>/<128xf32>/g; s/<8xi32>/<128xi32>/g" %s | inlay-opt --tile-select-schedule 2>/dev/null | FileCheck %s --check-prefix=PREFILL
// How many blocks share the keys of a query tile: of one sequence, each multiprocessor gets at most one; of 64 sequences with 2
// heads of keys, 256 of the 264 slots are taken by clusters of 2. Steps of many rows, and programs that no entry launches, have
// blocks that are alone.
// ONE: remark: schedule by the analytic model: decode_attention of 8 rows x 16 keys, heads of 32, clusters of 16 blocks (max_sequences 1)
// ONE: schedule #tile.decode_attention<warps = 8, stages = 6, slots = 2, cluster = 16>
// MANY: schedule #tile.decode_attention<warps = 8, stages = 6, slots = 2, cluster = 2>
// MIXED: schedule #tile.decode_attention<warps = 8, stages = 6, slots = 2, cluster = 1>
// ALONE: schedule #tile.decode_attention<warps = 8, stages = 6, slots = 2, cluster = 1>
// GENERIC: schedule #tile.generic<cluster = 16>
// PREFILL: schedule #tile.prefill_attention<consumers = 2, stages = 2, producer_registers = 24, consumer_registers = 240>
!q = !tile.view<?x32xbf16, activation>
!kv = !tile.view<?x32xbf16, kv, kv_rows>
!out = !tile.view<?x32xbf16, output>

tile.entry @step decode attributes {max_sequences = SEQUENCES : i64, max_tokens = SEQUENCES : i64, query_tile_rows = 1 : i64, workspace_bytes = 4096 : i64} {
  tile.launch model @attention(workspace 0, key_cache 0, value_cache 0, workspace 2048) {origin = "layers.0"}
}

tile.program @attention(%q: !q, %k: !kv, %v: !kv, %out: !out)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s2)> schedule #tile.family<decode_attention> {
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
