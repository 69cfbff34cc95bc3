// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers,llm-push-sums),convert-llm-to-tile{target=sm_90a},cse)" 2>/dev/null | FileCheck %s
// RUN: sed 's/%%y:2 = llm.group "y"/%%other = llm.group "other" family("collective") -> tensor<?x64xbf16> { %%v = llm.all_reduce %%r : tensor<?x64xbf16> llm.yield %%v : tensor<?x64xbf16> } %%y:2 = llm.group "y"/' %s \
// RUN:   | not inlay-opt --pass-pipeline="builtin.module(func.func(llm-plan-buffers,llm-push-sums))" 2>&1 | FileCheck %s --check-prefix=ERROR
// RUN: not inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a})" 2>&1 | FileCheck %s --check-prefix=UNPUSHED
// RUN: sed 's/all_reduce %%p/all_reduce %%p pushed early/' %s | not inlay-opt --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a})" 2>&1 | FileCheck %s --check-prefix=EARLY
// A product whose rows are a sum over ranks and a residual. The rows of this rank are the first argument, and the new
// residual has memory of its own, since other blocks may still read the old one.

// CHECK: tile.launch model @step_y(workspace 256, weight @w, weight @norm, workspace 0, workspace 768, workspace
// CHECK-LABEL: tile.program @step_y(
// CHECK-SAME: %[[X:[^:]*]]: !tile.view<?x64xbf16, activation, tokens>, %[[W:[^:]*]]: !tile.view<32x64xbf16, weight>{{.*}}, %[[NORM:[^:]*]]: !tile.view<64xbf16, weight>, %[[OLD:[^:]*]]: !tile.view<?x64xbf16, activation, tokens>, %[[NEW:[^:]*]]: !tile.view<?x64xbf16, output, tokens>, %[[Y:[^:]*]]: !tile.view<?x32xbf16, output, tokens>
// CHECK: scf.for %[[K:[^ ]*]] =
// CHECK-NEXT: %[[SUM:.*]] = tile.receive_sum %[[X]][%[[ROW:.*]], %[[K]]] through <ranks = 2, rows = 1> pushed :
// CHECK-NEXT: %[[R:.*]] = tile.load %[[OLD]][%[[ROW]], %[[K]]]
// CHECK: arith.addf
// CHECK-NEXT: %[[ROUNDED:.*]] = arith.truncf
// CHECK-NEXT: tile.store %[[ROUNDED]], %[[NEW]][%[[ROW]], %[[K]]]
// CHECK-NEXT: arith.extf %[[ROUNDED]]
// CHECK: tile.load %[[NORM]][%[[K]]]
// CHECK: tile.load %[[W]]
// CHECK: tile.dot
// ERROR: sums rows in front of a product, whose kernel only receives them, but no kernel pushes them: the ranks exchange other rows before it; run llm-form-groups without sum-prologues
// EARLY: is early in front of a product, whose warps wait for earlier launches; expected a sum without early (llm-push-sums)
// UNPUSHED: cannot be applied while 'llm.linear' stages its input; expected a whole-row norm, gather_rows, or a sum over ranks that is pushed and a residual
module attributes {llm.model = {max_model_len = 64 : i64}, llm.ranks = 2 : i64} {
  llm.weight @table : tensor<8x64xbf16> from ["table"]
  llm.weight @norm : tensor<64xbf16> from ["norm"]
  llm.weight @o : tensor<64x64xbf16> from ["o"] {packing = #llm<packing atom_8x64>}
  llm.weight @w : tensor<32x64xbf16> from ["w"] {packing = #llm<packing atom_8x64>}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x64xbf16>
      attributes {llm.entry = {kind = "decode", max_tokens = 1 : i64, max_sequences = 1 : i64}} {
    %r = llm.group "r" family("rows") -> tensor<?x64xbf16> {
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %p = llm.group "o" family("matvec") -> tensor<?x64xbf16> {
      %v = llm.linear %r, @o : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %y:2 = llm.group "y" family("matvec") -> tensor<?x32xbf16>, tensor<?x64xbf16> {
      %sum = llm.all_reduce %p : tensor<?x64xbf16>
      %x = llm.add %r, %sum : tensor<?x64xbf16>
      %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      %v = llm.linear %n, @w : (tensor<?x64xbf16>) -> tensor<?x32xbf16>
      llm.yield %v, %x : tensor<?x32xbf16>, tensor<?x64xbf16>
    }
    return %y#1 : tensor<?x64xbf16>
  }
}
