// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s
// A linear with a quantized weight loads bytes of codes, and for each step along K the scales of whole groups.

// CHECK: tile.launch model @step_int4(weight @w, weight @s, weight @z, workspace 0, workspace 2048)
// CHECK-LABEL: tile.program @step_int4
// CHECK-SAME: !tile.view<64x512xi8, weight>
// CHECK-SAME: !tile.view<64x8xf32, weight>
// CHECK-SAME: !tile.view<64x8xf32, weight>
// CHECK: scf.for
// CHECK: %[[B:.*]] = tile.load {{.*}} -> tensor<16x256xi8>
// CHECK: %[[S:.*]] = tile.load {{.*}} -> tensor<16x4xf32>
// CHECK: %[[Z:.*]] = tile.load {{.*}} -> tensor<16x4xf32>
// CHECK: %[[W:.*]] = tile.dequantize u4 %[[B]] scales %[[S]] zeros %[[Z]] : tensor<16x4xf32> {group = 128 : i64} : tensor<16x256xi8>, tensor<16x4xf32> -> tensor<16x512xf32>
// CHECK: tile.dot %{{.*}}, %[[W]], %{{.*}} transpose_rhs : tensor<1x512xf32>, tensor<16x512xf32>, tensor<1x16xf32>

// One scale for each row: the same column in every step.
// CHECK-LABEL: tile.program @step_fp8
// CHECK: tile.load {{.*}} -> tensor<16x64xi8>
// CHECK: tile.load {{.*}} -> tensor<16x1xf32>
// CHECK: tile.dequantize f8e4m3 {{.*}} {group = 64 : i64} : tensor<16x64xi8>, tensor<16x1xf32> -> tensor<16x64xf32>
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<32x1024xbf16> from ["embed"]
  llm.weight @s : tensor<64x8xf32> from ["s"]
  llm.weight @z : tensor<64x8xf32> from ["z"]
  llm.weight @w : tensor<64x1024xi4> from ["w"] {quantized = #llm.quantized<u4, scales = @s, zero_points = @z, group = 128>}
  llm.weight @s8 : tensor<32x1xf32> from ["s8"]
  llm.weight @w8 : tensor<32x64xf8E4M3FN> from ["w8"] {quantized = #llm.quantized<f8e4m3, scales = @s8, group = 64>}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> (tensor<?x32xf32>, tensor<?xi32>)
      attributes {llm.entry = {kind = "decode", max_tokens = 1 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "embed" family("rows") -> tensor<?x1024xbf16> {
      %v = llm.embedding %ids, @embed : (tensor<?xi32>) -> tensor<?x1024xbf16>
      llm.yield %v : tensor<?x1024xbf16>
    }
    %y = llm.group "int4" family("matvec") -> tensor<?x64xbf16> {
      %v = llm.linear %x, @w : (tensor<?x1024xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %logits = llm.group "fp8" family("matvec") -> tensor<?x32xf32> {
      %v = llm.linear %y, @w8 : (tensor<?x64xbf16>) -> tensor<?x32xf32>
      llm.yield %v : tensor<?x32xf32>
    }
    %next = llm.group "sample" family("sample") -> tensor<?xi32> {
      %v = llm.sample %logits, %batch : (tensor<?x32xf32>, !llm.batch) -> tensor<?xi32>
      llm.yield %v : tensor<?xi32>
    }
    return %logits, %next : tensor<?x32xf32>, tensor<?xi32>
  }
}
