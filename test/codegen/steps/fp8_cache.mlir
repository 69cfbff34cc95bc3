// Keys and values in a cache of e4m3: after rope in the epilogue of a product with scales of each kv head (layer 0), after a
// norm of heads without scales (layer 1).
module attributes {llm.model = {architecture = "test", vocab_size = 50 : i64, hidden_size = 64 : i64, layers = 2 : i64,
                                heads = 4 : i64, kv_heads = 2 : i64, head_dim = 32 : i64, max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<50x64xf32> from ["embed"]
  llm.weight @l0.q : tensor<128x64xf32> from ["l0.q"]
  llm.weight @l0.k : tensor<64x64xf32> from ["l0.k"]
  llm.weight @l0.v : tensor<64x64xf32> from ["l0.v"]
  llm.weight @l0.k_scale : tensor<2xf32> from ["l0.k_scale"]
  llm.weight @l0.v_scale : tensor<2xf32> from ["l0.v_scale"]
  llm.weight @l0.o : tensor<64x128xf32> from ["l0.o"]
  llm.weight @l1.q : tensor<128x64xf32> from ["l1.q"]
  llm.weight @l1.k : tensor<64x64xf32> from ["l1.k"]
  llm.weight @l1.v : tensor<64x64xf32> from ["l1.v"]
  llm.weight @l1.k_norm : tensor<32xf32> from ["l1.k_norm"]
  llm.weight @l1.o : tensor<64x128xf32> from ["l1.o"]
  llm.rope_table @rope : tensor<64x32xf32> {inv_freq = array<f64: 1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0003>}

  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache<f8E4M3FN>)
      -> (tensor<?x50xf32>, tensor<?xi32>, !llm.kv_cache<f8E4M3FN>) {
    %x0 = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x64xf32> loc("embed")
    %q = llm.linear %x0, @l0.q : (tensor<?x64xf32>) -> tensor<?x128xf32> loc("l0.q_proj")
    %k = llm.linear %x0, @l0.k : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("l0.k_proj")
    %v = llm.linear %x0, @l0.v : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("l0.v_proj")
    %qr = llm.rope %q, %batch, @rope {head_dim = 32 : i64} : (tensor<?x128xf32>, !llm.batch) -> tensor<?x128xf32> loc("l0.q_rope")
    %kr = llm.rope %k, %batch, @rope {head_dim = 32 : i64} : (tensor<?x64xf32>, !llm.batch) -> tensor<?x64xf32> loc("l0.k_rope")
    %kv1 = llm.kv_append %kv, %kr, %v, %batch {layer = 0 : i64, head_dim = 32 : i64, key_scale = @l0.k_scale, value_scale = @l0.v_scale}
        : (!llm.kv_cache<f8E4M3FN>, tensor<?x64xf32>, tensor<?x64xf32>, !llm.batch) -> !llm.kv_cache<f8E4M3FN> loc("l0.kv_append")
    %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 32 : i64, scale = 0.2 : f64,
                                                softcap = 5.0 : f64, key_scale = @l0.k_scale, value_scale = @l0.v_scale}
        : (tensor<?x128xf32>, !llm.kv_cache<f8E4M3FN>, !llm.batch) -> tensor<?x128xf32> loc("l0.attention")
    %o = llm.linear %a, @l0.o : (tensor<?x128xf32>) -> tensor<?x64xf32> loc("l0.o_proj")
    %x1 = llm.add %x0, %o : tensor<?x64xf32> loc("l0.residual")

    %q1 = llm.linear %x1, @l1.q : (tensor<?x64xf32>) -> tensor<?x128xf32> loc("l1.q_proj")
    %k1 = llm.linear %x1, @l1.k : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("l1.k_proj")
    %v1 = llm.linear %x1, @l1.v : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("l1.v_proj")
    %kn1 = llm.rms_norm %k1, @l1.k_norm {eps = 1.0e-5 : f64, group = 32 : i64} : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("l1.k_norm")
    %kv2 = llm.kv_append %kv1, %kn1, %v1, %batch {layer = 1 : i64, head_dim = 32 : i64}
        : (!llm.kv_cache<f8E4M3FN>, tensor<?x64xf32>, tensor<?x64xf32>, !llm.batch) -> !llm.kv_cache<f8E4M3FN> loc("l1.kv_append")
    %a1 = llm.paged_attention %q1, %kv2, %batch {layer = 1 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 32 : i64, scale = 0.2 : f64}
        : (tensor<?x128xf32>, !llm.kv_cache<f8E4M3FN>, !llm.batch) -> tensor<?x128xf32> loc("l1.attention")
    %o1 = llm.linear %a1, @l1.o : (tensor<?x128xf32>) -> tensor<?x64xf32> loc("l1.o_proj")
    %x2 = llm.add %x1, %o1 : tensor<?x64xf32> loc("l1.residual")
    %g = llm.gather_rows %x2, %batch : (tensor<?x64xf32>, !llm.batch) -> tensor<?x64xf32> loc("gather")
    %logits = llm.linear %g, @embed : (tensor<?x64xf32>) -> tensor<?x50xf32> loc("lm_head")
    %next = llm.sample %logits, %batch : (tensor<?x50xf32>, !llm.batch) -> tensor<?xi32> loc("sample")
    return %logits, %next, %kv2 : tensor<?x50xf32>, tensor<?xi32>, !llm.kv_cache<f8E4M3FN>
  }
}
