// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-form-groups{target=cpu max-rows=4},func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu},cse)" | FileCheck %s
// RUN: inlay-opt %s --llm-form-groups="target=sm_90a max-rows=4" --mlir-print-op-on-diagnostic=false -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK
// Columns in another order: a block writes one row. Projections of one value that have the same order take the same
// result.

// REMARK: loc("q.gather_columns"): is a kernel of its own: 'order' has the order in which the checkpoint sorted columns before it quantized them

// An index outside of the row reads zeros.
// CHECK-LABEL: tile.program @step_gather_columns
// CHECK-SAME: (%[[X:.*]]: !tile.view<?xbf16, activation>{{.*}}, %[[ORDER:.*]]: !tile.view<1536xi32, weight>, %[[Y:.*]]: !tile.view<?x1536xbf16, output, tokens>)
// CHECK: %[[ROW:.*]] = tile.program_id 0
// CHECK: %[[PLACE:.*]] = arith.muli %[[ROW]], %c1536
// CHECK: scf.for %[[AT:.*]] = %c0 to %c1536 step %c1024
// CHECK: %[[COLUMN:.*]] = tile.load %[[ORDER]][%[[AT]]] : <1536xi32, weight> -> tensor<1024xi32>
// CHECK: %[[INDEX:.*]] = arith.select %{{.*}}, %{{.*}}, %{{.*}} : tensor<1024xi1>, tensor<1024xi32>
// CHECK: %[[VALUES:.*]] = tile.gather %[[X]][%[[INDEX]]] : <?xbf16, activation>, tensor<1024xi32> -> tensor<1024xbf16>
// CHECK: %[[TILE:.*]] = tile.broadcast %[[VALUES]] axis 0
// CHECK: tile.store %[[TILE]], %[[Y]][%[[ROW]], %[[AT]]] : tensor<1x1024xbf16>, <?x1536xbf16, output, tokens>
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<32x1536xbf16> from ["embed"]
  llm.weight @order : tensor<1x1536xi32> from [#llm.source<"g_idx", storage = #llm.storage<flat = true, column_order = <size = 128>>>]
  llm.weight @q : tensor<16x1536xbf16> from ["q"]
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x16xbf16>
      attributes {llm.entry = {kind = "mixed", max_tokens = 4 : i64, max_sequences = 1 : i64}} {
    %x = llm.embedding %ids, @embed : (tensor<?xi32>) -> tensor<?x1536xbf16> loc("embed")
    %g = llm.gather_columns %x, @order : tensor<?x1536xbf16> loc("q.gather_columns")
    %y = llm.linear %g, @q : (tensor<?x1536xbf16>) -> tensor<?x16xbf16> loc("q")
    return %y : tensor<?x16xbf16>
  }
}
