// RUN: inlay-opt %s --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a})" --verify-diagnostics
// A block receives a whole row once, and holds it while it norms and quantizes it.
module attributes {llm.model = {max_model_len = 64 : i64}, llm.ranks = 2 : i64} {
  llm.weight @table : tensor<8x16384xbf16> from ["table"]
  llm.weight @norm : tensor<16384xbf16> from ["norm"]
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x16384xbf16>
      attributes {llm.entry = {kind = "decode", max_tokens = 8 : i64, max_sequences = 8 : i64}} {
    %x = llm.group "x" family("rows") -> tensor<?x16384xbf16> {
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> tensor<?x16384xbf16>
      llm.yield %v : tensor<?x16384xbf16>
    }
    %y:3 = llm.group "exchange" family("collective") -> tensor<?x16384xbf16>, tensor<?x16384xf8E4M3FN>, tensor<?x1xf32> {
      // expected-error @+1 {{is of rows of 16384 columns, expected at most 8192 where a norm of whole rows follows in its kernel; run llm-form-groups, which keeps the norm apart}}
      %sum = llm.all_reduce %x : tensor<?x16384xbf16>
      %n = llm.rms_norm %sum, @norm {eps = 1.0e-05 : f64} : (tensor<?x16384xbf16>) -> tensor<?x16384xbf16>
      %codes, %scales = llm.quantize f8e4m3 %n : tensor<?x16384xbf16> -> tensor<?x16384xf8E4M3FN>, tensor<?x1xf32>
      llm.yield %sum, %codes, %scales : tensor<?x16384xbf16>, tensor<?x16384xf8E4M3FN>, tensor<?x1xf32>
    }
    return %y#0 : tensor<?x16384xbf16>
  }
}
