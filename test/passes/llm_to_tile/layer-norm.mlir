// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-pack-weights,func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},tile-select-schedule)" | FileCheck %s
// A layer norm in front of a product. A loop over the row sums what is left without the mean of its first columns, and its
// squares: with d = x - near, the mean is near + mean(d) and the variance mean(d^2) - mean(d)^2.

// CHECK-LABEL: tile.program @step_proj
// CHECK-SAME: schedule #tile.stream<
// CHECK: %[[FIRST:.*]] = tile.load %{{.*}}[%{{.*}}, %c0] : {{.*}} -> tensor<1x64xbf16>
// CHECK: tile.reduce {{ *}}add
// CHECK: %[[NEAR:.*]] = arith.mulf
// CHECK: %[[SUMS:.*]]:2 = scf.for %{{.*}} = %c0 to %c128 step %c64
// CHECK:   %[[NEARS:.*]] = tile.broadcast %[[NEAR]] axis 1
// CHECK:   %[[LEFT:.*]] = arith.subf %{{.*}}, %[[NEARS]]
// CHECK:   tile.reduce {{ *}}add %[[LEFT]] axis 1
// CHECK:   %[[SQUARE:.*]] = arith.mulf %[[LEFT]], %[[LEFT]]
// CHECK:   tile.reduce {{ *}}add %[[SQUARE]] axis 1
// CHECK: %[[MEAN_LEFT:.*]] = arith.mulf %[[SUMS]]#0
// CHECK: %[[MEAN:.*]] = arith.addf %[[NEAR]], %[[MEAN_LEFT]]
// CHECK: %[[PRODUCT:.*]] = arith.mulf %[[SUMS]]#0, %[[MEAN_LEFT]]
// CHECK: %[[SQUARES:.*]] = arith.subf %[[SUMS]]#1, %[[PRODUCT]]
// CHECK: arith.maximumf %[[SQUARES]]
// CHECK: %[[INVERSE:.*]] = math.rsqrt
// CHECK: scf.for
// CHECK:   tile.broadcast %[[MEAN]] axis 1
// CHECK:   arith.subf
// CHECK:   tile.broadcast %[[INVERSE]] axis 1
// CHECK:   arith.mulf
// CHECK:   arith.mulf
// CHECK:   arith.addf
// CHECK:   %[[ROW:.*]] = arith.truncf
// CHECK:   tile.dot %[[ROW]]
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<32x128xbf16> from ["embed"]
  llm.weight @norm : tensor<128xbf16> from ["norm"]
  llm.weight @bias : tensor<128xbf16> from ["bias"]
  llm.weight @w : tensor<64x128xbf16> from ["w"]
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x64xf32>
      attributes {llm.entry = {kind = "decode", max_tokens = 1 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "embed" family("rows") -> tensor<?x128xbf16> {
      %v = llm.embedding %ids, @embed : (tensor<?xi32>) -> tensor<?x128xbf16>
      llm.yield %v : tensor<?x128xbf16>
    }
    %y = llm.group "proj" family("matvec") -> tensor<?x64xf32> {
      %n = llm.layer_norm %x, @norm bias @bias {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16>
      %v = llm.linear %n, @w : (tensor<?x128xbf16>) -> tensor<?x64xf32>
      llm.yield %v : tensor<?x64xf32>
    }
    return %y : tensor<?x64xf32>
  }
}
