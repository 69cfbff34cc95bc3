// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-pack-weights,func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},tile-select-schedule)" | FileCheck %s
// A layer norm in front of a product: its statistics are loops over the row before that of the product.

// CHECK-LABEL: tile.program @step_proj
// CHECK-SAME: schedule #tile.stream<
// CHECK: %[[SUM:.*]] = scf.for %{{.*}} = %c0 to %c64
// CHECK:   tile.reduce {{ *}}add
// CHECK: %[[MEAN:.*]] = arith.mulf %[[SUM]]
// CHECK: %[[SQUARES:.*]] = scf.for
// CHECK:   %[[MEANS:.*]] = tile.broadcast %[[MEAN]] axis 1
// CHECK:   %[[LEFT:.*]] = arith.subf %{{.*}}, %[[MEANS]]
// CHECK:   %[[SQUARE:.*]] = arith.mulf %[[LEFT]], %[[LEFT]]
// CHECK:   tile.reduce {{ *}}add %[[SQUARE]] axis 1
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
  llm.weight @embed : tensor<32x64xbf16> from ["embed"]
  llm.weight @norm : tensor<64xbf16> from ["norm"]
  llm.weight @bias : tensor<64xbf16> from ["bias"]
  llm.weight @w : tensor<64x64xbf16> from ["w"]
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x64xf32>
      attributes {llm.entry = {kind = "decode", max_tokens = 1 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "embed" family("rows") -> tensor<?x64xbf16> {
      %v = llm.embedding %ids, @embed : (tensor<?xi32>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %y = llm.group "proj" family("matvec") -> tensor<?x64xf32> {
      %n = llm.layer_norm %x, @norm bias @bias {eps = 1.0e-5 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      %v = llm.linear %n, @w : (tensor<?x64xbf16>) -> tensor<?x64xf32>
      llm.yield %v : tensor<?x64xf32>
    }
    return %y : tensor<?x64xf32>
  }
}
