// Attention of a decode step of up to 2 sequences, grouped as llm-form-groups does it: 8 query heads of 64 over 2.
module attributes {llm.model = {architecture = "llama", vocab_size = 64 : i64, hidden_size = 512 : i64, layers = 1 : i64,
                                heads = 8 : i64, kv_heads = 2 : i64, head_dim = 64 : i64, max_model_len = 128 : i64}} {
  llm.weight @embed : tensor<64x512xbf16> from ["embed"]
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x512xbf16>, !llm.kv_cache)
      attributes {llm.entry = {kind = "decode", max_tokens = 2 : i64, max_sequences = 2 : i64}} {
    %q = llm.group "embed" family("rows") -> tensor<?x512xbf16> {
      %0 = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x512xbf16>
      llm.yield %0 : tensor<?x512xbf16>
    }
    %a = llm.group "attention" family("attention") -> tensor<?x512xbf16> {
      %0 = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 8 : i64, kv_heads = 2 : i64, head_dim = 64 : i64, scale = 0.125 : f64}
          : (tensor<?x512xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x512xbf16>
      llm.yield %0 : tensor<?x512xbf16>
    }
    return %a, %kv : tensor<?x512xbf16>, !llm.kv_cache
  }
}
