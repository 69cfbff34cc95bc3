// RUN: inlay-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)" | FileCheck %s
// On a GPU a step along K is at most 64 columns, of whole groups or in one, and codes become numbers of the type of the
// activations.

// CHECK-LABEL: tile.program @step_int4
// CHECK-SAME: !tile.view<64x48xi8, weight>
// CHECK-SAME: schedule #tile.generic<>
// CHECK: scf.for {{.*}} step %c32
// CHECK: tile.load {{.*}} -> tensor<32x16xi8>
// CHECK: %[[W:.*]] = tile.dequantize {{ *}}u4 {{.*}} {group = 32 : i64, zero_point = 8 : i64} : tensor<32x16xi8>, tensor<32x1xf32> -> tensor<32x32xbf16>
// CHECK: tile.dot %{{.*}}, %[[W]], %{{.*}} transpose_rhs : tensor<16x32xbf16>, tensor<32x32xbf16>, tensor<16x32xf32>
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<32x96xbf16> from ["embed"]
  llm.weight @s : tensor<64x3xf32> from ["s"]
  llm.weight @w : tensor<64x96xi4> from ["w"] {quantized = #llm.quantized<u4, scales = @s, zero_point = 8, group = 32>}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x64xf32>
      attributes {llm.entry = {kind = "decode", max_tokens = 1 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "embed" family("rows") -> tensor<?x96xbf16> {
      %v = llm.embedding %ids, @embed : (tensor<?xi32>) -> tensor<?x96xbf16>
      llm.yield %v : tensor<?x96xbf16>
    }
    %y = llm.group "int4" family("generic") -> tensor<?x64xf32> {
      %v = llm.linear %x, @w : (tensor<?x96xbf16>) -> tensor<?x64xf32>
      llm.yield %v : tensor<?x64xf32>
    }
    return %y : tensor<?x64xf32>
  }
}

// -----

module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<32x96xbf16> from ["embed"]
  llm.weight @s : tensor<64x4xf32> from ["s"]
  llm.weight @w : tensor<64x96xi8> from ["w"] {quantized = #llm.quantized<i8, scales = @s, group = 24>}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x64xf32>
      attributes {llm.entry = {kind = "decode", max_tokens = 1 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "embed" family("rows") -> tensor<?x96xbf16> {
      %v = llm.embedding %ids, @embed : (tensor<?xi32>) -> tensor<?x96xbf16>
      llm.yield %v : tensor<?x96xbf16>
    }
    %y = llm.group "int8" family("generic") -> tensor<?x64xf32> {
      // expected-error @+1 {{has the quantized weight 'w' with groups of 24 of 96 columns; expected multiples of 16}}
      %v = llm.linear %x, @w : (tensor<?x96xbf16>) -> tensor<?x64xf32>
      llm.yield %v : tensor<?x64xf32>
    }
    return %y : tensor<?x64xf32>
  }
}

// -----

// Packed codes are elements of 4 bits. Scales of rows multiply the sums.
// CHECK-LABEL: tile.program @step_packed
// CHECK-SAME: (%[[CODES:.*]]: !tile.view<64x128xi4, weight> {tile.packing = "codes_16x128"}, %[[X:.*]]: {{.*}}, %[[SCALES:.*]]: !tile.view<64xf32, weight>,
// CHECK: %[[SUMS:.*]] = scf.for {{.*}} step %c64
// CHECK: %[[TILE:.*]] = tile.load %[[CODES]]{{.*}} -> tensor<32x64xi4>
// CHECK: tile.dequantize {{ *}}u4 %[[TILE]] {zero_point = 8 : i64} : tensor<32x64xi4> -> tensor<32x64xbf16>
// CHECK: %[[S:.*]] = tile.load %[[SCALES]]{{.*}} -> tensor<32xf32>
// CHECK: %[[B:.*]] = tile.broadcast %[[S]]
// CHECK: arith.mulf %[[SUMS]], %[[B]]
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<32x128xbf16> from ["embed"]
  llm.weight @s : tensor<64x1xf32> from ["s"]
  llm.weight @w : tensor<64x128xi4> from ["w"] {packing = #llm<packing codes_16x128>, quantized = #llm.quantized<u4, scales = @s, zero_point = 8, group = 128>}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x64xf32>
      attributes {llm.entry = {kind = "decode", max_tokens = 1 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "embed" family("rows") -> tensor<?x128xbf16> {
      %v = llm.embedding %ids, @embed : (tensor<?xi32>) -> tensor<?x128xbf16>
      llm.yield %v : tensor<?x128xbf16>
    }
    %y = llm.group "packed" family("generic") -> tensor<?x64xf32> {
      %v = llm.linear %x, @w : (tensor<?x128xbf16>) -> tensor<?x64xf32>
      llm.yield %v : tensor<?x64xf32>
    }
    return %y : tensor<?x64xf32>
  }
}
