// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups,func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s

// What ranks do together is a launch of its own. Bias and residual follow in one program of rows.
// CHECK: tile.entry @step
// CHECK: tile.launch model @step_up(
// CHECK: tile.launch model @step_sum_of_squares(workspace [[UP:[0-9]+]], workspace [[OWN:[0-9]+]])
// CHECK: tile.launch model @step_all_reduce(workspace [[OWN]], workspace [[ALL:[0-9]+]])
// CHECK: tile.launch model @step_rms_scale(workspace [[UP]], workspace [[ALL]], weight @norm, workspace [[NORMED:[0-9]+]])
// CHECK: tile.launch model @step_down({{.*}}workspace [[PART:[0-9]+]])
// CHECK: tile.launch model @step_all_reduce_0(workspace [[PART]], workspace [[SUM:[0-9]+]])
// CHECK: tile.launch model @step_add_bias(workspace [[SUM]], weight @bias, workspace {{.*}})
// Logits are gathered in a section of their own: tokens can be made from the parts of the ranks as well.
// CHECK: tile.launch part_sampling @step_sample_candidate(workspace [[LOGITS:[0-9]+]], workspace [[BEST:[0-9]+]], rank, metadata Temperature, metadata Seeds, metadata LogitRowIndices, metadata Positions)
// CHECK: tile.launch part_sampling @step_candidates(workspace [[BEST]], workspace [[CANDIDATES:[0-9]+]])
// CHECK: tile.launch part_sampling @step_sample_merge(workspace [[CANDIDATES]], tokens)
// CHECK: tile.launch gather @step_all_gather(workspace [[LOGITS]], logits)
// CHECK: tile.launch penalties
// CHECK: tile.launch sampling @step_sample(logits, tokens

// CHECK-LABEL: tile.program @step_sum_of_squares
// CHECK-SAME: !tile.view<?x32xf32, activation, tokens>, %{{.*}}: !tile.view<?x1xf32, output, tokens>
// CHECK: %[[SUM:.*]] = scf.for
// CHECK: %[[X:.*]] = tile.load
// CHECK: arith.cmpi slt
// CHECK: arith.mulf %[[KEPT:.*]], %[[KEPT]]
// CHECK: tile.reduce add
// CHECK: %[[COLUMN:.*]] = tile.broadcast %[[SUM]]
// CHECK: tile.store %[[COLUMN]]

// CHECK-LABEL: tile.program @step_all_reduce(
// CHECK-NEXT: tile.collective all_reduce %{{.*}}, %{{.*}} : <?x1xf32, activation, tokens>, <?x1xf32, output, tokens>
// CHECK-NEXT: }

// CHECK-LABEL: tile.program @step_rms_scale
// CHECK: math.rsqrt
// CHECK: tile.load %arg2[

// CHECK-LABEL: tile.program @step_add_bias
// CHECK: tile.load %arg1[

// The noise of a token has its id in the whole vocabulary. Tokens from 101 on are padding of the last rank.
// CHECK-LABEL: tile.program @step_sample_candidate
// CHECK: %[[RANK:.*]] = tile.read %{{.*}} : <1xi32, meta> -> i32
// CHECK: %[[FIRST:.*]] = arith.muli %[[RANK]], %c64_i32
// CHECK: %[[COUNT:.*]] = arith.subi %c101_i32, %[[FIRST]]
// CHECK: arith.minsi %[[COUNT]], %c64_i32

// CHECK-LABEL: tile.program @step_candidates
// CHECK-NEXT: tile.collective all_gather %{{.*}}, %{{.*}} : <?x2xf32, activation, logit_rows>, <?x4xf32, output, logit_rows>

// CHECK-LABEL: tile.program @step_sample_merge
// CHECK: arith.cmpf olt
// CHECK: arith.fptosi

// CHECK-LABEL: tile.program @step_all_gather
// CHECK-NEXT: tile.collective all_gather %{{.*}}, %{{.*}} : <?x64xf32, activation, logit_rows>, <?x101xf32, output, logit_rows>
module attributes {llm.model = {max_model_len = 16 : i64}, llm.ranks = 2 : i64} {
llm.weight @table : tensor<101x64xf32> from ["table"]
llm.weight @up : tensor<32x64xf32> from [#llm.source<"up", shard = #llm.shard<rows, parts = 2>>]
llm.weight @norm : tensor<32xf32> from [#llm.source<"norm", shard = #llm.shard<rows, parts = 2>>]
llm.weight @down : tensor<64x32xf32> from [#llm.source<"down", shard = #llm.shard<columns, parts = 2>>]
llm.weight @bias : tensor<64xf32> from ["bias"]
llm.weight @head : tensor<64x64xf32> from [#llm.source<"head", shard = #llm.shard<rows, parts = 2, size = 64>>]
func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch, %cache: !llm.kv_cache) -> (tensor<?x101xf32>, tensor<?xi32>, tensor<?xi32>, !llm.kv_cache)
    attributes {llm.entry = {kind = "mixed", max_sequences = 4 : i64, max_tokens = 8 : i64}} {
  %x = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x64xf32> loc("embed")
  %u = llm.linear %x, @up : (tensor<?x64xf32>) -> tensor<?x32xf32> loc("up")
  %own = llm.sum_of_squares %u : (tensor<?x32xf32>) -> tensor<?x1xf32> loc("sum_of_squares")
  %all = llm.all_reduce %own : tensor<?x1xf32> loc("all_reduce")
  %n = llm.rms_scale %u, %all, @norm {eps = 1.0e-6 : f64, columns = 64 : i64} : (tensor<?x32xf32>, tensor<?x1xf32>) -> tensor<?x32xf32> loc("rms_scale")
  %d = llm.linear %n, @down : (tensor<?x32xf32>) -> tensor<?x64xf32> loc("down")
  %sum = llm.all_reduce %d : tensor<?x64xf32> loc("down.all_reduce")
  %biased = llm.add_bias %sum, @bias : tensor<?x64xf32> loc("add_bias")
  %y = llm.add %x, %biased : tensor<?x64xf32> loc("residual")
  %rows = llm.gather_rows %y, %batch : (tensor<?x64xf32>, !llm.batch) -> tensor<?x64xf32> loc("gather")
  %part = llm.linear %rows, @head : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("head")
  %best = llm.sample_candidate %part, %batch {vocabulary = 101 : i64} : (tensor<?x64xf32>, !llm.batch) -> tensor<?x2xf32> loc("sample_candidate")
  %candidates = llm.all_gather %best : (tensor<?x2xf32>) -> tensor<?x4xf32> loc("candidates")
  %merged = llm.sample_merge %candidates : (tensor<?x4xf32>) -> tensor<?xi32> loc("sample_merge")
  %logits = llm.all_gather %part : (tensor<?x64xf32>) -> tensor<?x101xf32> loc("all_gather")
  %next = llm.sample %logits, %batch : (tensor<?x101xf32>, !llm.batch) -> tensor<?xi32> loc("sample")
  return %logits, %next, %merged, %cache : tensor<?x101xf32>, tensor<?xi32>, tensor<?xi32>, !llm.kv_cache
}
}
