// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups,func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s

// A stage finds what it receives in the workspace and leaves there what it sends. Both are there as long as they are
// needed, so what the second stage receives is not overwritten before the residual is added.
// CHECK: tile.entry @first
// CHECK-SAME: llm.sends = [{offset = [[OUT:[0-9]+]] : i64, row_bytes = 256 : i64}], llm.stage = 0 : i64
// CHECK-NEXT: tile.launch model @first_embed(metadata TokenIds, weight @table, workspace [[OUT]])
// CHECK: tile.entry @middle
// CHECK-SAME: llm.receives = [{offset = [[IN:[0-9]+]] : i64, row_bytes = 256 : i64}], llm.sends = [{offset = [[OUT:[0-9]+]] : i64, row_bytes = 256 : i64}], llm.stage = 1 : i64
// CHECK-NEXT: tile.launch model @middle_up(weight @up, workspace [[IN]], workspace [[UP:[0-9]+]])
// CHECK-NEXT: tile.launch model @middle_down(weight @down, workspace [[UP]], workspace [[IN]], workspace [[OUT]])
// CHECK: tile.entry @last
// CHECK-SAME: llm.receives = [{offset = [[IN:[0-9]+]] : i64, row_bytes = 256 : i64}], llm.stage = 2 : i64
// CHECK-NEXT: tile.launch model @last_head(weight @head, workspace [[IN]], metadata LogitRowIndices, logits)
module attributes {llm.model = {max_model_len = 16 : i64}, llm.stage_layers = array<i64: 1, 1, 1>} {
llm.weight @table : tensor<101x64xf32> from ["table"]
llm.weight @up : tensor<32x64xf32> from ["up"]
llm.weight @down : tensor<64x32xf32> from ["down"]
llm.weight @head : tensor<101x64xf32> from ["head"]
func.func @first(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x64xf32>
    attributes {llm.entry = {kind = "mixed", max_sequences = 4 : i64, max_tokens = 8 : i64}, llm.stage = 0 : i64} {
  %x = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x64xf32> loc("embed")
  return %x : tensor<?x64xf32>
}
func.func @middle(%batch: !llm.batch, %x: tensor<?x64xf32>) -> tensor<?x64xf32>
    attributes {llm.entry = {kind = "mixed", max_sequences = 4 : i64, max_tokens = 8 : i64}, llm.stage = 1 : i64} {
  %u = llm.linear %x, @up : (tensor<?x64xf32>) -> tensor<?x32xf32> loc("up")
  %d = llm.linear %u, @down : (tensor<?x32xf32>) -> tensor<?x64xf32> loc("down")
  %y = llm.add %x, %d : tensor<?x64xf32> loc("residual")
  return %y : tensor<?x64xf32>
}
func.func @last(%batch: !llm.batch, %x: tensor<?x64xf32>) -> (tensor<?x101xf32>, tensor<?xi32>)
    attributes {llm.entry = {kind = "mixed", max_sequences = 4 : i64, max_tokens = 8 : i64}, llm.stage = 2 : i64} {
  %rows = llm.gather_rows %x, %batch : (tensor<?x64xf32>, !llm.batch) -> tensor<?x64xf32> loc("gather")
  %logits = llm.linear %rows, @head : (tensor<?x64xf32>) -> tensor<?x101xf32> loc("head")
  %next = llm.sample %logits, %batch : (tensor<?x101xf32>, !llm.batch) -> tensor<?xi32> loc("sample")
  return %logits, %next : tensor<?x101xf32>, tensor<?xi32>
}
}
