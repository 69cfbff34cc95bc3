// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)" | FileCheck %s
// RUN: not inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu})" 2>&1 | FileCheck %s --check-prefix=CPU
// A sum over ranks and what follows it: the residual is loaded before the ranks wait for each other, and written in
// place. A block has a part of the norm of several rows.

// CHECK: tile.launch model @step_exchange(workspace [[X:[0-9]+]], workspace [[R:[0-9]+]], weight @norm, workspace {{[0-9]+}}, workspace {{[0-9]+}})
// CHECK-LABEL: tile.program @step_exchange(
// CHECK-SAME: %[[X:.*]]: !tile.view<?x256xbf16, activation, tokens>, %[[R:.*]]: !tile.view<?x256xbf16, state, tokens>, %[[WEIGHT:.*]]: !tile.view<256xbf16, weight>, %[[SCALED:.*]]: !tile.view<?x256xbf16, output, tokens>, %[[SQUARES:.*]]: !tile.view<?x4xf32, output, tokens>
// CHECK: %[[COLUMN:.*]] = arith.muli %{{.*}}, %c64
// CHECK: %[[ROW:.*]] = arith.muli %{{.*}}, %c16
// CHECK: tile.load %[[R]][%[[ROW]], %{{.*}}]
// CHECK: %[[SUM:.*]] = tile.receive_sum %[[X]][%[[ROW]], %[[COLUMN]]] through <ranks = 2, rows = 40> : <?x256xbf16, activation, tokens> -> tensor<16x64xbf16>
// CHECK: arith.extf %[[SUM]]
// CHECK: arith.addf
// CHECK: tile.load %[[WEIGHT]][%[[COLUMN]]]
// CHECK: tile.reduce add
// CHECK: tile.store %{{.*}}, %[[R]][%[[ROW]], %[[COLUMN]]]
// CHECK: tile.store %{{.*}}, %[[SCALED]][%[[ROW]], %[[COLUMN]]]
// CHECK: tile.store %{{.*}}, %[[SQUARES]][
// With parts of 256 columns a tile has fewer rows.
// CHECK-LABEL: tile.program @wide_exchange(
// CHECK-SAME: !tile.view<?x2xf32, output, tokens>
// CHECK: %[[WIDE_COLUMN:.*]] = arith.muli %{{.*}}, %c256
// CHECK: tile.receive_sum %{{.*}}[%{{.*}}, %[[WIDE_COLUMN]]] {{.*}} -> tensor<4x256xbf16>
// CHECK: tile.reduce add
// CHECK: arith.divui %[[WIDE_COLUMN]], %c256
// What quantizes the norm of a row takes the whole of it: the residual and the weight are loaded before the ranks wait, and the norm
// takes the row with the bits that are stored.
// CHECK-LABEL: tile.program @codes_exchange(
// CHECK-SAME: %[[X:.*]]: !tile.view<?x256xbf16, activation, tokens>, %[[R:.*]]: !tile.view<?x256xbf16, state, tokens>, %[[WEIGHT:.*]]: !tile.view<256xbf16, weight>, %[[CODES:.*]]: !tile.view<?x256xf8E4M3FN, output, tokens> {tile.packing = "codes_16"}, %[[SCALES:.*]]: !tile.view<?x1xf32, output, tokens>)
// CHECK: %[[ROW:.*]] = tile.program_id 0
// CHECK: tile.load %[[R]][%[[ROW]], %c0]
// CHECK: tile.load %[[WEIGHT]][%c0]
// CHECK: tile.receive_sum %[[X]][%[[ROW]], %c0] {{.*}} -> tensor<1x256xbf16>
// CHECK: arith.addf
// CHECK: %[[NEW:.*]] = arith.truncf {{.*}} : tensor<1x256xf32> to tensor<1x256xbf16>
// CHECK: %[[WIDE:.*]] = arith.extf %[[NEW]]
// CHECK: arith.mulf %[[WIDE]], %[[WIDE]]
// CHECK: tile.reduce add
// CHECK: tile.reduce max
// CHECK: tile.store %{{.*}}, %[[SCALES]]
// CHECK: tile.store %{{.*}}, %[[R]]
// CHECK: tile.store %{{.*}}, %[[CODES]]
// CPU: has ops that follow a sum over ranks, which runs alone on the target cpu
module attributes {llm.model = {max_model_len = 64 : i64}, llm.ranks = 2 : i64} {
  llm.weight @table : tensor<8x256xbf16> from ["table"]
  llm.weight @norm : tensor<256xbf16> from ["norm"]
  llm.weight @wide_table : tensor<8x512xbf16> from ["wide_table"]
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x256xbf16>
      attributes {llm.entry = {kind = "mixed", max_tokens = 40 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "x" family("rows") -> tensor<?x256xbf16> {
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x256xbf16>
      llm.yield %v : tensor<?x256xbf16>
    }
    %r = llm.group "r" family("rows") -> tensor<?x256xbf16> {
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x256xbf16>
      llm.yield %v : tensor<?x256xbf16>
    }
    %y:3 = llm.group "exchange" family("collective") -> tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x4xf32> {
      %sum = llm.all_reduce %x : tensor<?x256xbf16>
      %v = llm.add %r, %sum : tensor<?x256xbf16>
      %scaled = llm.scale_columns %v, @norm {weight_offset = 1.0 : f64} : tensor<?x256xbf16>
      %squares = llm.sum_of_squares %v : (tensor<?x256xbf16>) -> tensor<?x4xf32>
      llm.yield %v, %scaled, %squares : tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x4xf32>
    }
    return %y#0 : tensor<?x256xbf16>
  }
  func.func @wide(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x512xbf16>
      attributes {llm.entry = {kind = "mixed", max_tokens = 40 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "x" family("rows") -> tensor<?x512xbf16> {
      %v = llm.embedding %ids, @wide_table : (tensor<?xi32>) -> tensor<?x512xbf16>
      llm.yield %v : tensor<?x512xbf16>
    }
    %r = llm.group "r" family("rows") -> tensor<?x512xbf16> {
      %v = llm.embedding %ids, @wide_table : (tensor<?xi32>) -> tensor<?x512xbf16>
      llm.yield %v : tensor<?x512xbf16>
    }
    %y:2 = llm.group "exchange" family("collective") -> tensor<?x512xbf16>, tensor<?x2xf32> {
      %sum = llm.all_reduce %x : tensor<?x512xbf16>
      %v = llm.add %r, %sum : tensor<?x512xbf16>
      %squares = llm.sum_of_squares %v : (tensor<?x512xbf16>) -> tensor<?x2xf32>
      llm.yield %v, %squares : tensor<?x512xbf16>, tensor<?x2xf32>
    }
    return %y#0 : tensor<?x512xbf16>
  }
  func.func @codes(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x256xbf16>
      attributes {llm.entry = {kind = "mixed", max_tokens = 40 : i64, max_sequences = 1 : i64}} {
    %x = llm.group "x" family("rows") -> tensor<?x256xbf16> {
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x256xbf16>
      llm.yield %v : tensor<?x256xbf16>
    }
    %r = llm.group "r" family("rows") -> tensor<?x256xbf16> {
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x256xbf16>
      llm.yield %v : tensor<?x256xbf16>
    }
    %y:3 = llm.group "exchange" family("collective") -> tensor<?x256xbf16>, tensor<?x256xf8E4M3FN>, tensor<?x1xf32> {
      %sum = llm.all_reduce %x : tensor<?x256xbf16>
      %v = llm.add %r, %sum : tensor<?x256xbf16>
      %n = llm.rms_norm %v, @norm {eps = 1.0e-5 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
      %c, %s = llm.quantize f8e4m3 %n {packing = #llm<packing codes_16x128>} : tensor<?x256xbf16> -> tensor<?x256xf8E4M3FN>, tensor<?x1xf32>
      llm.yield %v, %c, %s : tensor<?x256xbf16>, tensor<?x256xf8E4M3FN>, tensor<?x1xf32>
    }
    return %y#0 : tensor<?x256xbf16>
  }
}
