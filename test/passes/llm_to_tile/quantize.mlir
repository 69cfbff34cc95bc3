// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)" | FileCheck %s
// A norm, the scale of its row and the codes in one program; a product of codes, whose steps along K are summed apart.

// Launches say which argument has the scales of rows, and what is multiplied by these.
// CHECK: tile.launch {{ *}}model @step_norm({{.*}}, workspace 294912) {llm.row_scales = {argument = 3 : i64, weights = ["w"]}
// CHECK: tile.launch {{ *}}model @step_whole({{.*}}, workspace 294912) {llm.row_scales = {argument = 2 : i64, weights = ["i"]}

// CHECK-LABEL: tile.program @step_norm
// CHECK-SAME: !tile.view<?x192xf8E4M3FN, output, tokens>
// CHECK-SAME: !tile.view<?x1xf32, output, tokens>
// CHECK: math.rsqrt
// CHECK: arith.mulf {{.*}} : tensor<1x256xf32>
// CHECK-NEXT: %[[Y:.*]] = arith.mulf {{.*}} : tensor<1x256xf32>
// CHECK-NEXT: math.absf %[[Y]]
// CHECK: %[[MAX:.*]] = tile.reduce {{ *}}max %{{.*}} axis 1 : tensor<1x256xf32> -> tensor<1xf32>
// CHECK: %[[PART:.*]] = arith.mulf %[[MAX]], %{{.*}} : tensor<1xf32>
// CHECK: %[[SCALE:.*]] = arith.maximumf %[[PART]], %{{.*}} : tensor<1xf32>
// CHECK: %[[INVERSE:.*]] = arith.divf %{{.*}}, %[[SCALE]] : tensor<1xf32>
// CHECK: tile.store %{{.*}} : tensor<1x1xf32>, <?x1xf32, output, tokens>
// CHECK: %[[X:.*]] = arith.mulf %[[Y]], %{{.*}} : tensor<1x256xf32>
// CHECK: %[[LOW:.*]] = arith.maximumf %[[X]]
// CHECK: %[[CLAMPED:.*]] = arith.minimumf %[[LOW]]
// CHECK: %[[CODES:.*]] = arith.truncf %[[CLAMPED]] : tensor<1x256xf32> to tensor<1x256xf8E4M3FN>
// CHECK: tile.store %[[CODES]]

// CHECK-LABEL: tile.program @step_product
// CHECK-SAME: !tile.view<?x192xf8E4M3FN, activation, tokens>
// CHECK-SAME: !tile.view<96x192xf8E4M3FN, weight>
// CHECK-SAME: schedule #tile.family<gemm>
// CHECK: %[[SUM:.*]] = scf.for %{{.*}} step %c128 iter_args(%[[CARRIED:.*]] = %{{.*}}) -> (tensor<128x128xf32>)
// CHECK: %[[PART:.*]] = tile.dot %{{.*}}, %{{.*}}, %cst{{.*}} transpose_rhs : tensor<128x128xf8E4M3FN>, tensor<128x128xf8E4M3FN>, tensor<128x128xf32>
// CHECK: arith.addf %[[CARRIED]], %[[PART]]
// CHECK: %[[ROWS:.*]] = tile.load {{.*}} : <?xf32, activation, tokens> -> tensor<128xf32>
// CHECK: %[[COLUMNS:.*]] = tile.load {{.*}} : <96xf32, weight> -> tensor<128xf32>

// CHECK-LABEL: tile.program @step_integers
// CHECK: tile.dot %{{.*}}, %{{.*}}, %{{.*}} transpose_rhs : tensor<128x128xi8>, tensor<128x128xi8>, tensor<128x128xi32>
// CHECK: arith.sitofp %{{.*}} : tensor<128x128xi32> to tensor<128x128xf32>

// With scales of groups, the row is a matrix whose rows are its groups. The buffer of 3 scales a row has 4, for TMA.
// CHECK-LABEL: tile.program @step_groups
// CHECK: %[[FLAT:.*]] = tensor.collapse_shape {{.*}} : tensor<1x512xf32> into tensor<512xf32>
// CHECK: %[[G:.*]] = tensor.expand_shape %[[FLAT]] {{.*}} : tensor<512xf32> into tensor<4x128xf32>
// CHECK: %[[MAGNITUDE:.*]] = math.absf %[[G]]
// CHECK: %[[MOST:.*]] = tile.reduce {{ *}}max %[[MAGNITUDE]] axis 1 : tensor<4x128xf32> -> tensor<4xf32>
// CHECK: %[[SCALES:.*]] = arith.maximumf {{.*}} : tensor<4xf32>
// CHECK: %[[INVERSES:.*]] = arith.divf %{{.*}}, %[[SCALES]] : tensor<4xf32>
// CHECK: arith.truncf {{.*}} : tensor<4x128xf32> to tensor<4x128xf8E4M3FN>
// CHECK: tile.store %{{.*}} : tensor<1x512xf8E4M3FN>, <?x384xf8E4M3FN, output, tokens>
// CHECK: tile.store %[[SCALES]], %{{.*}} : tensor<4xf32>, <?x4xf32, output, tokens>

// Each step along K is scaled before it is added.
// CHECK-LABEL: tile.program @step_scaled
// CHECK: scf.for %[[K:.*]] = %c0 to %c384 step %c128 iter_args(%[[CARRIED:.*]] = %{{.*}})
// CHECK: %[[PART:.*]] = tile.dot {{.*}} transpose_rhs
// CHECK: %[[NUMBER:.*]] = arith.divui %[[K]], %c128
// CHECK: %[[W:.*]] = tile.load %{{.*}}, %[[NUMBER]]] : <64x3xf32, weight> -> tensor<{{[0-9]+}}x1xf32>
// CHECK: %[[X:.*]] = tile.load %{{.*}}, %{{.*}}] : <?x4xf32, activation, tokens> -> tensor<128x1xf32>
// CHECK: %[[FACTOR:.*]] = arith.mulf
// CHECK: %[[SCALED:.*]] = arith.mulf %[[PART]], %[[FACTOR]]
// CHECK: arith.addf %[[CARRIED]], %[[SCALED]]
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<32x192xbf16> from ["embed"]
  llm.weight @norm.weight : tensor<192xbf16> from ["norm"]
  llm.weight @s : tensor<96x1xf32> from ["s"]
  llm.weight @w : tensor<96x192xf8E4M3FN> from ["w"] {quantized = #llm.quantized<f8e4m3, scales = @s, group = 192>}
  llm.weight @wide : tensor<32x384xbf16> from ["wide"]
  llm.weight @gs : tensor<64x3xf32> from ["gs"] {packing = #llm<packing rows_16>}
  llm.weight @g : tensor<64x384xf8E4M3FN> from ["g"]
      {packing = #llm<packing codes_16x128>, quantized = #llm.quantized<f8e4m3, scales = @gs, group = 128>}
  llm.weight @i : tensor<96x192xi8> from ["i"] {quantized = #llm.quantized<i8, scales = @s, group = 192>}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> (tensor<?x96xf32>, tensor<?x96xf32>, tensor<?x64xf32>)
      attributes {llm.entry = {kind = "mixed", max_tokens = 512 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "embed" family("rows") -> tensor<?x192xbf16> {
      %v = llm.embedding %ids, @embed : (tensor<?xi32>) -> tensor<?x192xbf16>
      llm.yield %v : tensor<?x192xbf16>
    }
    %c, %r = llm.group "norm" family("rows") -> tensor<?x192xf8E4M3FN>, tensor<?x1xf32> {
      %n = llm.rms_norm %x, @norm.weight {eps = 1.0e-6 : f64} : (tensor<?x192xbf16>) -> tensor<?x192xbf16>
      %codes, %scales = llm.quantize f8e4m3 %n : tensor<?x192xbf16> -> tensor<?x192xf8E4M3FN>, tensor<?x1xf32>
      llm.yield %codes, %scales : tensor<?x192xf8E4M3FN>, tensor<?x1xf32>
    }
    %y = llm.group "product" family("gemm") -> tensor<?x96xf32> {
      %v = llm.linear %c scales %r, @w : (tensor<?x192xf8E4M3FN>, tensor<?x1xf32>) -> tensor<?x96xf32>
      llm.yield %v : tensor<?x96xf32>
    }
    %d, %q = llm.group "whole" family("rows") -> tensor<?x192xi8>, tensor<?x1xf32> {
      %codes, %scales = llm.quantize i8 %x : tensor<?x192xbf16> -> tensor<?x192xi8>, tensor<?x1xf32>
      llm.yield %codes, %scales : tensor<?x192xi8>, tensor<?x1xf32>
    }
    %z = llm.group "integers" family("gemm") -> tensor<?x96xf32> {
      %v = llm.linear %d scales %q, @i : (tensor<?x192xi8>, tensor<?x1xf32>) -> tensor<?x96xf32>
      llm.yield %v : tensor<?x96xf32>
    }
    %v = llm.group "wide" family("rows") -> tensor<?x384xbf16> {
      %e = llm.embedding %ids, @wide : (tensor<?xi32>) -> tensor<?x384xbf16>
      llm.yield %e : tensor<?x384xbf16>
    }
    %e, %f = llm.group "groups" family("rows") -> tensor<?x384xf8E4M3FN>, tensor<?x3xf32> {
      %codes, %scales = llm.quantize f8e4m3 %v {group = 128 : i64, packing = #llm<packing codes_16x128>} : tensor<?x384xbf16> -> tensor<?x384xf8E4M3FN>, tensor<?x3xf32>
      llm.yield %codes, %scales : tensor<?x384xf8E4M3FN>, tensor<?x3xf32>
    }
    %u = llm.group "scaled" family("gemm") -> tensor<?x64xf32> {
      %p = llm.linear %e scales %f, @g : (tensor<?x384xf8E4M3FN>, tensor<?x3xf32>) -> tensor<?x64xf32>
      llm.yield %p : tensor<?x64xf32>
    }
    return %y, %z, %u : tensor<?x96xf32>, tensor<?x96xf32>, tensor<?x64xf32>
  }
}
