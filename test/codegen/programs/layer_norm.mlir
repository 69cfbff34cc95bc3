// A norm that subtracts the mean in front of a product of several rows: streamed, with a K of which a warp takes its part
// in two turns and the last warp has less, and by the generic lowering, with a K that its steps do not divide.
module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @wide : tensor<32x4160xbf16> from ["wide"]
  llm.weight @wide.norm : tensor<4160xbf16> from ["wide.norm"]
  llm.weight @wide.bias : tensor<4160xbf16> from ["wide.bias"]
  llm.weight @wide.proj : tensor<48x4160xbf16> from ["wide.proj"]
  llm.weight @narrow : tensor<32x200xbf16> from ["narrow"]
  llm.weight @narrow.norm : tensor<200xbf16> from ["narrow.norm"]
  llm.weight @narrow.proj : tensor<48x200xbf16> from ["narrow.proj"]
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x48xf32>
      attributes {llm.entry = {kind = "decode", max_tokens = 8 : i64, max_sequences = 8 : i64}} {
    %x = llm.group "wide" family("rows") -> tensor<?x4160xbf16> {
      %v = llm.embedding %ids, @wide : (tensor<?xi32>) -> tensor<?x4160xbf16>
      llm.yield %v : tensor<?x4160xbf16>
    }
    %y = llm.group "streamed" family("matvec") -> tensor<?x48xf32> {
      %n = llm.layer_norm %x, @wide.norm bias @wide.bias {eps = 1.0e-5 : f64} : (tensor<?x4160xbf16>) -> tensor<?x4160xbf16>
      %v = llm.linear %n, @wide.proj : (tensor<?x4160xbf16>) -> tensor<?x48xf32>
      llm.yield %v : tensor<?x48xf32>
    }
    %s = llm.group "narrow" family("rows") -> tensor<?x200xbf16> {
      %v = llm.embedding %ids, @narrow : (tensor<?xi32>) -> tensor<?x200xbf16>
      llm.yield %v : tensor<?x200xbf16>
    }
    %g = llm.group "gathered" family("matvec") -> tensor<?x48xf32> {
      %r = llm.gather_rows %s, %batch : (tensor<?x200xbf16>, !llm.batch) -> tensor<?x200xbf16>
      %n = llm.layer_norm %r {eps = 1.0e-5 : f64} : (tensor<?x200xbf16>) -> tensor<?x200xbf16>
      %v = llm.linear %n, @narrow.proj : (tensor<?x200xbf16>) -> tensor<?x48xf32>
      llm.yield %v : tensor<?x48xf32>
    }
    %z = llm.group "generic" family("generic") -> tensor<?x48xf32> {
      %n = llm.layer_norm %s, @narrow.norm {eps = 1.0e-5 : f64, weight_offset = 1.0 : f64} : (tensor<?x200xbf16>) -> tensor<?x200xbf16>
      %v = llm.linear %n, @narrow.proj : (tensor<?x200xbf16>) -> tensor<?x48xf32>
      llm.yield %v : tensor<?x48xf32>
    }
    return %y : tensor<?x48xf32>
  }
}
