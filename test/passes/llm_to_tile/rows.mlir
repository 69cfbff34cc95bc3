// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s
// Programs of rows: one block is one row.

// CHECK-DAG: #[[TOKENS:.*]] = affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)>
// CHECK-DAG: #[[LOGITROWS:.*]] = affine_map<()[s0, s1, s2, s3, s4, s5] -> (s3)>

// The sum is written over the row that is read for the last time, and not over one that the group reads otherwise too.
// CHECK: tile.entry @step
// CHECK-NEXT: tile.launch model @step_embed(metadata TokenIds, weight @embed, weight @positions, workspace 0, metadata Positions)
// CHECK-NEXT: tile.launch model @step_norm(workspace 0, weight @norm, weight @bias, workspace 2560)
// CHECK-NEXT: tile.launch model @step_sum(workspace 0, workspace 2560)
// CHECK-NEXT: tile.launch model @step_double(workspace 0, workspace 2560)
// CHECK-NEXT: tile.launch model @step_last(workspace 2560, logits, metadata LogitRowIndices)

// CHECK-LABEL: tile.program @step_embed
// CHECK-SAME: grid #[[TOKENS]]
// CHECK: %[[TOKEN:.*]] = tile.load {{.*}} -> tensor<1xi32>
// CHECK: %[[POSITION:.*]] = arith.select {{.*}} tensor<1xi1>, tensor<1xi32>
// CHECK: scf.for
// CHECK: tile.gather %arg1[%[[TOKEN]], %{{.*}}] {{.*}} -> tensor<1x256xbf16>
// Rows of padding stay at -1, where a gather gives zeros.
// CHECK: %[[SHIFTED:.*]] = arith.addi %[[POSITION]]
// CHECK: %[[ROW:.*]] = arith.select %{{.*}}, %[[SHIFTED]], %[[POSITION]]
// CHECK: tile.gather %arg2[%[[ROW]], %{{.*}}] {{.*}} -> tensor<1x256xbf16>
// CHECK: arith.addf
// CHECK: arith.truncf
// CHECK: tile.store

// A row of 320 columns takes two steps in each of three passes: mean, variance, result.
// CHECK-LABEL: tile.program @step_norm
// CHECK: %[[SUM:.*]] = scf.for
// CHECK: arith.cmpi slt
// CHECK: tile.reduce add
// CHECK: %[[MEAN:.*]] = tile.broadcast
// CHECK: %[[SQUARES:.*]] = scf.for
// CHECK: arith.subf %{{.*}}, %[[MEAN]]
// CHECK: tile.reduce add
// CHECK: math.rsqrt
// CHECK: scf.for
// CHECK: tile.load %arg1[
// CHECK: arith.addf %{{.*}}, %cst{{.*}} : tensor<256xf32>
// CHECK: tile.load %arg2[
// CHECK: tile.store

// CHECK-LABEL: tile.program @step_sum(%arg0: !tile.view<?x320xbf16, state, tokens>, %arg1: !tile.view<?x320xbf16, activation, tokens>)
// CHECK-LABEL: tile.program @step_double(%arg0: !tile.view<?x320xbf16, activation, tokens>, %arg1: !tile.view<?x320xbf16, output, tokens>)
// CHECK: arith.mulf
// CHECK-LABEL: tile.program @step_last
// CHECK-SAME: grid #[[LOGITROWS]]
// CHECK: tile.gather %arg0
// CHECK: math.tanh
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x320xbf16> from ["embed"]
  llm.weight @positions : tensor<66x320xbf16> from ["positions"]
  llm.weight @norm : tensor<320xbf16> from ["norm"]
  llm.weight @bias : tensor<320xbf16> from ["bias"]
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x320xbf16>, !llm.kv_cache)
      attributes {llm.entry = {kind = "mixed", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %x = llm.group "embed" family("rows") -> tensor<?x320xbf16> {
      %e = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x320xbf16>
      %p = llm.position_embedding %batch, @positions {offset = 2 : i64} : (!llm.batch) -> tensor<?x320xbf16>
      %0 = llm.add %e, %p : tensor<?x320xbf16>
      llm.yield %0 : tensor<?x320xbf16>
    }
    %n = llm.group "norm" family("rows") -> tensor<?x320xbf16> {
      %0 = llm.layer_norm %x, @norm bias @bias {eps = 1.0e-5 : f64, weight_offset = 1.0 : f64} : (tensor<?x320xbf16>) -> tensor<?x320xbf16>
      llm.yield %0 : tensor<?x320xbf16>
    }
    %s = llm.group "sum" family("rows") -> tensor<?x320xbf16> {
      %0 = llm.add %x, %n : tensor<?x320xbf16>
      llm.yield %0 : tensor<?x320xbf16>
    }
    %d = llm.group "double" family("rows") -> tensor<?x320xbf16> {
      %0 = llm.scale %s {factor = 0.5 : f64} : tensor<?x320xbf16>
      %1 = llm.add %0, %s : tensor<?x320xbf16>
      llm.yield %1 : tensor<?x320xbf16>
    }
    %c = llm.group "last" family("rows") -> tensor<?x320xbf16> {
      %g = llm.gather_rows %d, %batch : (tensor<?x320xbf16>, !llm.batch) -> tensor<?x320xbf16>
      %0 = llm.softcap %g {cap = 30.0 : f64} : tensor<?x320xbf16>
      llm.yield %0 : tensor<?x320xbf16>
    }
    return %c, %kv : tensor<?x320xbf16>, !llm.kv_cache
  }
}
