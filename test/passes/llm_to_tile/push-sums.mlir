// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers,llm-push-sums))" 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers,llm-push-sums),convert-llm-to-tile{target=sm_90a},cse)" 2>/dev/null | FileCheck %s
// A linear layer pushes the rows that the next kernel sums, if nothing else reads them and no kernel comes between.

// REMARK-DAG: remark: receives rows that layer.o pushes
// REMARK-DAG: remark: pushes its rows itself: no linear layer computes its rows
// REMARK-DAG: remark: pushes its rows itself: its rows are read elsewhere too
// REMARK-DAG: remark: pushes its rows itself: the ranks exchange other rows before it
// REMARK-DAG: remark: pushes its rows itself: another kernel runs between that of its rows and its own
// REMARK-DAG: remark: pushes its rows itself: the library cublaslt computes its rows
// REMARK-COUNT-2: llm.all_reduce %{{.*}} pushed early : tensor<?x64xbf16>
// REMARK-NOT: pushed

// CHECK-LABEL: tile.program @step_o(
// CHECK: tile.store %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}] through <ranks = 2, rows = 8> : tensor<{{.*}}xbf16>, <?x64xbf16, output, tokens>
// CHECK-LABEL: tile.program @step_o_sum(
// CHECK: tile.receive_sum %{{.*}} through <ranks = 2, rows = 8> pushed early : <?x64xbf16, activation, tokens>
// CHECK-LABEL: tile.program @step_codes_sum(
// CHECK: tile.receive_sum %{{.*}} through <ranks = 2, rows = 8> pushed early : <?x64xbf16, activation, tokens> -> tensor<1x64xbf16>
// CHECK-LABEL: tile.program @step_plain_sum(
// CHECK: tile.receive_sum %{{.*}} through <ranks = 2, rows = 8> : <?x64xbf16, activation, tokens>
// CHECK-LABEL: tile.program @step_read(
// CHECK-NOT: through
// CHECK: tile.store %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}] : tensor
module attributes {llm.model = {max_model_len = 64 : i64}, llm.ranks = 2 : i64} {
  llm.weight @table : tensor<8x64xbf16> from ["table"]
  llm.weight @w : tensor<64x64xbf16> from ["w"]
  llm.weight @norm : tensor<64xbf16> from ["norm"]
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> (tensor<?x64xbf16>, tensor<?x64xbf16>)
      attributes {llm.entry = {kind = "decode", max_tokens = 8 : i64, max_sequences = 8 : i64}} {
    %r = llm.group "r" family("rows") -> tensor<?x64xbf16> {
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %o = llm.group "layer.o" family("generic") -> tensor<?x64xbf16> {
      %v = llm.linear %r, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %x = llm.group "layer.o_sum" family("collective") -> tensor<?x64xbf16> {
      %sum = llm.all_reduce %o : tensor<?x64xbf16>
      %v = llm.add %r, %sum : tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %codes_o = llm.group "layer.codes_o" family("generic") -> tensor<?x64xbf16> {
      %v = llm.linear %x, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %c:3 = llm.group "codes_sum" family("collective") -> tensor<?x64xbf16>, tensor<?x64xf8E4M3FN>, tensor<?x1xf32> {
      %sum = llm.all_reduce %codes_o : tensor<?x64xbf16>
      %v = llm.add %x, %sum : tensor<?x64xbf16>
      %n = llm.rms_norm %v, @norm {eps = 1.0e-05 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      %codes, %scales = llm.quantize f8e4m3 %n : tensor<?x64xbf16> -> tensor<?x64xf8E4M3FN>, tensor<?x1xf32>
      llm.yield %v, %codes, %scales : tensor<?x64xbf16>, tensor<?x64xf8E4M3FN>, tensor<?x1xf32>
    }
    %x1 = llm.group "plain_sum" family("collective") -> tensor<?x64xbf16> {
      %sum = llm.all_reduce %r : tensor<?x64xbf16>
      %v = llm.add %c#0, %sum : tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %read = llm.group "read" family("generic") -> tensor<?x64xbf16> {
      %v = llm.linear %x1, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %x2 = llm.group "read_sum" family("collective") -> tensor<?x64xbf16> {
      %sum = llm.all_reduce %read : tensor<?x64xbf16>
      %v = llm.add %x1, %sum : tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %early = llm.group "early" family("generic") -> tensor<?x64xbf16> {
      %v = llm.linear %x2, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %between = llm.group "between" family("collective") -> tensor<?x64xbf16> {
      %sum = llm.all_reduce %x2 : tensor<?x64xbf16>
      llm.yield %sum : tensor<?x64xbf16>
    }
    %x3 = llm.group "early_sum" family("collective") -> tensor<?x64xbf16> {
      %sum = llm.all_reduce %early : tensor<?x64xbf16>
      %v = llm.add %between, %sum : tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %apart = llm.group "apart" family("generic") -> tensor<?x64xbf16> {
      %v = llm.linear %x3, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %r1 = llm.group "r1" family("rows") -> tensor<?x64xbf16> {
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %x5 = llm.group "apart_sum" family("collective") -> tensor<?x64xbf16> {
      %sum = llm.all_reduce %apart : tensor<?x64xbf16>
      %v = llm.add %r1, %sum : tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %library = llm.group "library" family("cublaslt") -> tensor<?x64xbf16> {
      %v = llm.linear %x5, @w {library = "cublaslt"} : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    %x4 = llm.group "library_sum" family("collective") -> tensor<?x64xbf16> {
      %sum = llm.all_reduce %library : tensor<?x64xbf16>
      %v = llm.add %x5, %sum : tensor<?x64xbf16>
      llm.yield %v : tensor<?x64xbf16>
    }
    return %x4, %read : tensor<?x64xbf16>, tensor<?x64xbf16>
  }
}
