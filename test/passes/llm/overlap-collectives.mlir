// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-overlap-collectives))" --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s --check-prefix=REMARKS
// RUN: FileCheck %s < %t
// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-overlap-collectives{least-rows=100}))" 2>/dev/null | FileCheck %s --check-prefix=FEW
// RUN: not inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-overlap-collectives{least-rows=31}))" --mlir-print-op-on-diagnostic=false 2>&1 | FileCheck %s --check-prefix=ERROR
// Between attention and the rows whose logits are wanted, groups run in halves of the rows, the sum of one half beside
// the groups of the other one.

// REMARKS: loc("o"): runs in two halves of the rows in steps of at least 1024{{$}}
// REMARKS: loc("sum"): runs in two halves of the rows in steps of at least 1024, beside the kernels of the other half
// REMARKS: loc("mlp"): runs in two halves of the rows in steps of at least 1024{{$}}
// REMARKS: loc("gathered_sum"): is summed for all rows at once: its rows are those whose logits are wanted
// ERROR: runs steps of 31 rows in halves, expected at least 32

// CHECK-LABEL: func.func @step
// CHECK-SAME: llm.halves_of_steps = {least_rows = 1024 : i64, multiple = 128 : i64}
// FEW: llm.halves_of_steps = {least_rows = 100 : i64, multiple = 32 : i64}
// CHECK: llm.group "qkv" family("gemm") ->
// CHECK: llm.group "attention" family("attention") ->
// CHECK: llm.group "o" family("gemm") attributes {llm.halves = "main"}
// CHECK: llm.group "sum" family("collective") attributes {llm.halves = "side"}
// CHECK: llm.group "mlp" family("gemm") attributes {llm.halves = "main"}
// CHECK: llm.group "gather" family("rows") ->
// CHECK: llm.group "gathered_sum" family("collective") ->
module attributes {llm.ranks = 2 : i64} {
  llm.weight @w : tensor<64x64xbf16> from ["w"]
  llm.weight @qkv : tensor<192x64xbf16> from ["qkv"]
  func.func @step(%x: tensor<?x64xbf16>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x64xbf16> {
    %q:3 = llm.group "qkv" family("gemm") -> tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16> {
      %y:3 = llm.linear %x, @qkv : (tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>)
      llm.yield %y#0, %y#1, %y#2 : tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>
    } loc("qkv")
    %a = llm.group "attention" family("attention") -> tensor<?x64xbf16> {
      %kv1 = llm.kv_append %kv, %q#1, %q#2, %batch {layer = 0 : i64, head_dim = 64 : i64}
          : (!llm.kv_cache, tensor<?x64xbf16>, tensor<?x64xbf16>, !llm.batch) -> !llm.kv_cache
      %y = llm.paged_attention %q#0, %kv1, %batch {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 64 : i64, scale = 0.125 : f64}
          : (tensor<?x64xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x64xbf16>
      llm.yield %y : tensor<?x64xbf16>
    } loc("attention")
    %o = llm.group "o" family("gemm") -> tensor<?x64xbf16> {
      %y = llm.linear %a, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %y : tensor<?x64xbf16>
    } loc("o")
    %s = llm.group "sum" family("collective") -> tensor<?x64xbf16> {
      %y = llm.all_reduce %o : tensor<?x64xbf16>
      llm.yield %y : tensor<?x64xbf16>
    } loc("sum")
    %m = llm.group "mlp" family("gemm") -> tensor<?x64xbf16> {
      %y = llm.linear %s, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %y : tensor<?x64xbf16>
    } loc("mlp")
    %g = llm.group "gather" family("rows") -> tensor<?x64xbf16> {
      %y = llm.gather_rows %m, %batch : (tensor<?x64xbf16>, !llm.batch) -> tensor<?x64xbf16>
      llm.yield %y : tensor<?x64xbf16>
    } loc("gather")
    %l = llm.group "gathered_sum" family("collective") -> tensor<?x64xbf16> {
      %y = llm.all_reduce %g : tensor<?x64xbf16>
      llm.yield %y : tensor<?x64xbf16>
    } loc("gathered_sum")
    return %l : tensor<?x64xbf16>
  }
}
