// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups{target=sm_90a},func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)" | FileCheck %s
// RUN: sed 's/llm.ranks = 2/llm.ranks = 16/' %s | not inlay-opt --pass-pipeline="builtin.module(llm-form-groups{target=sm_90a},func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a})" 2>&1 | FileCheck %s --check-prefix=RANKS
// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups,func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s --check-prefix=CPU
// On GPUs ranks exchange rows by a kernel: the tokens of the largest step, or its sequences where they are logits.

// CHECK: tile.program @step_all_reduce(
// CHECK-NEXT: tile.collective all_reduce %{{.*}}, %{{.*}} through <ranks = 2, rows = 8> : <?x64xf32, activation, tokens>, <?x64xf32, output, tokens>
// CHECK: tile.program @step_all_gather(
// CHECK-NEXT: tile.collective all_gather %{{.*}}, %{{.*}} through <ranks = 2, rows = 4> : <?x64xf32, activation, logit_rows>, <?x101xf32, output, logit_rows>

// A kernel restores the buffer of the round before it: that of a gather of few words has blocks for the largest sum.
// RUN: sed 's/max_tokens = 8/max_tokens = 2048/; s/64xf32/4096xf32/g' %s | inlay-opt --pass-pipeline="builtin.module(llm-form-groups{target=sm_90a},func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)" | FileCheck %s --check-prefix=LARGE
// LARGE: [[ALL:#map[0-9]*]] = affine_map<()[s0, s1, s2, s3, s4, s5] -> (132)>
// LARGE: tile.program @step_all_reduce({{.*}}) grid [[ALL]] attributes
// LARGE: tile.program @step_all_gather({{.*}}) grid [[ALL]] attributes
// RANKS: kernels of 16 ranks cannot exchange rows, expected 2 to 8
// CPU: tile.collective all_reduce %{{.*}}, %{{[a-z0-9]*}} : <
module attributes {llm.model = {max_model_len = 16 : i64}, llm.ranks = 2 : i64} {
llm.weight @table : tensor<101x64xf32> from ["table"]
func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> (tensor<?x101xf32>, tensor<?xi32>)
    attributes {llm.entry = {kind = "mixed", max_sequences = 4 : i64, max_tokens = 8 : i64}} {
  %x = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x64xf32> loc("embed")
  %sum = llm.all_reduce %x : tensor<?x64xf32> loc("all_reduce")
  %rows = llm.gather_rows %sum, %batch : (tensor<?x64xf32>, !llm.batch) -> tensor<?x64xf32> loc("gather")
  %logits = llm.all_gather %rows : (tensor<?x64xf32>) -> tensor<?x101xf32> loc("all_gather")
  %next = llm.sample %logits, %batch : (tensor<?x101xf32>, !llm.batch) -> tensor<?xi32> loc("sample")
  return %logits, %next : tensor<?x101xf32>, tensor<?xi32>
}
}
