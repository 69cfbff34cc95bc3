// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)" | FileCheck %s
// RUN: sed 's/llm.halves = "[a-z]*"/llm.other = 0 : i64/' %s | inlay-opt --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)" | FileCheck %s --check-prefix=WHOLE
// Where groups run in halves of the rows, what a group reads is not overwritten before its second half has ended: the
// sum does not write over the rows that the product reads, since it runs beside it, nor the next product over those
// that the sum reads. The product behind the next sum may.

// CHECK: tile.entry @step mixed attributes {llm.halves_of_steps = {least_rows = 1024 : i64, multiple = 128 : i64},
// CHECK: tile.launch model @step_x(metadata TokenIds, weight @table, workspace [[X:[0-9]+]]) {origin
// CHECK: tile.launch model @step_p(weight @w, workspace [[X]], workspace [[P:[0-9]+]]) {llm.halves = "main",
// CHECK: tile.launch model @step_s(workspace [[P]], workspace [[S:[0-9]+]]) {llm.halves = "side",
// CHECK: tile.launch model @step_p(weight @w, workspace [[S]], workspace [[X]]) {llm.halves = "main",
// CHECK: tile.launch model @step_s(workspace [[X]], workspace [[P]]) {llm.halves = "side",
// CHECK: tile.launch model @step_p(weight @w, workspace [[P]], workspace [[S]]) {llm.halves = "main",
// WHOLE: tile.launch model @step_x(metadata TokenIds, weight @table, workspace [[X:[0-9]+]])
// WHOLE: tile.launch model @step_p(weight @w, workspace [[X]], workspace [[P:[0-9]+]])
// WHOLE: tile.launch model @step_s(workspace [[P]], workspace [[X]])
module attributes {llm.model = {max_model_len = 64 : i64}, llm.ranks = 2 : i64} {
  llm.weight @table : tensor<8x64xbf16> from ["table"]
  llm.weight @w : tensor<64x64xbf16> from ["w"]
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x64xbf16>
      attributes {llm.entry = {kind = "mixed", max_tokens = 2048 : i64, max_sequences = 8 : i64},
                  llm.halves_of_steps = {least_rows = 1024 : i64, multiple = 128 : i64}} {
    %x = llm.group "x" family("rows") -> tensor<?x64xbf16> {
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %p = llm.group "p" family("generic") attributes {llm.halves = "main"} -> tensor<?x64xbf16> {
      %v = llm.linear %x, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %s = llm.group "s" family("collective") attributes {llm.halves = "side"} -> tensor<?x64xbf16> {
      %v = llm.all_reduce %p : tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %p1 = llm.group "p1" family("generic") attributes {llm.halves = "main"} -> tensor<?x64xbf16> {
      %v = llm.linear %s, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %s1 = llm.group "s1" family("collective") attributes {llm.halves = "side"} -> tensor<?x64xbf16> {
      %v = llm.all_reduce %p1 : tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %p2 = llm.group "p2" family("generic") attributes {llm.halves = "main"} -> tensor<?x64xbf16> {
      %v = llm.linear %s1, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    return %p2 : tensor<?x64xbf16>
  }
}
