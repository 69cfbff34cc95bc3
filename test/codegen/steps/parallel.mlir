// Attention and MLP side by side, rope of a part of each head, norms with a weight of each head before or after rope
// (layer 0); norms of the whole width, no rope and no norm weight (layer 1): what Cohere, GPT-NeoX, OLMo and others have.
module attributes {llm.model = {architecture = "test", vocab_size = 50 : i64, hidden_size = 64 : i64, layers = 2 : i64,
                                heads = 4 : i64, kv_heads = 2 : i64, head_dim = 20 : i64, max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<50x64xf32> from ["embed"]
  llm.weight @l0.norm : tensor<64xf32> from ["l0.norm"]
  llm.weight @l0.q : tensor<80x64xf32> from ["l0.q"]
  llm.weight @l0.k : tensor<40x64xf32> from ["l0.k"]
  llm.weight @l0.v : tensor<40x64xf32> from ["l0.v"]
  llm.weight @l0.q_norm : tensor<4x20xf32> from ["l0.q_norm"]
  llm.weight @l0.k_norm : tensor<40xf32> from ["l0.k_norm"]
  llm.weight @l0.k_norm.bias : tensor<20xf32> from ["l0.k_norm.bias"]
  llm.weight @l0.o : tensor<64x80xf32> from ["l0.o"]
  llm.weight @l0.fc1 : tensor<96x64xf32> from ["l0.fc1"]
  llm.weight @l0.fc2 : tensor<64x96xf32> from ["l0.fc2"]
  llm.weight @l1.q : tensor<80x64xf32> from ["l1.q"]
  llm.weight @l1.k : tensor<40x64xf32> from ["l1.k"]
  llm.weight @l1.v : tensor<40x64xf32> from ["l1.v"]
  llm.weight @l1.q_norm : tensor<80xf32> from ["l1.q_norm"]
  llm.weight @l1.k_norm : tensor<40xf32> from ["l1.k_norm"]
  llm.weight @l1.o : tensor<64x80xf32> from ["l1.o"]
  llm.weight @l1.fc1 : tensor<96x64xf32> from ["l1.fc1"]
  llm.weight @l1.fc2 : tensor<64x96xf32> from ["l1.fc2"]
  llm.rope_table @rope : tensor<64x8xf32> {inv_freq = array<f64: 1.0, 0.3, 0.1, 0.03>, attention_factor = 1.1 : f64}

  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x50xf32>, tensor<?xi32>, !llm.kv_cache) {
    %x0 = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x64xf32> loc("embed")
    %n0 = llm.layer_norm %x0, @l0.norm {eps = 1.0e-5 : f64} : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("l0.norm")
    %q = llm.linear %n0, @l0.q : (tensor<?x64xf32>) -> tensor<?x80xf32> loc("l0.q_proj")
    %k = llm.linear %n0, @l0.k : (tensor<?x64xf32>) -> tensor<?x40xf32> loc("l0.k_proj")
    %v = llm.linear %n0, @l0.v : (tensor<?x64xf32>) -> tensor<?x40xf32> loc("l0.v_proj")
    %qn = llm.layer_norm %q, @l0.q_norm {eps = 1.0e-5 : f64, group = 20 : i64} : (tensor<?x80xf32>) -> tensor<?x80xf32> loc("l0.q_norm")
    %qr = llm.rope %qn, %batch, @rope {head_dim = 20 : i64} : (tensor<?x80xf32>, !llm.batch) -> tensor<?x80xf32> loc("l0.q_rope")
    %kr = llm.rope %k, %batch, @rope {head_dim = 20 : i64} : (tensor<?x40xf32>, !llm.batch) -> tensor<?x40xf32> loc("l0.k_rope")
    %kn = llm.layer_norm %kr, @l0.k_norm bias @l0.k_norm.bias {eps = 1.0e-5 : f64, group = 20 : i64} : (tensor<?x40xf32>) -> tensor<?x40xf32> loc("l0.k_norm")
    %kv1 = llm.kv_append %kv, %kn, %v, %batch {layer = 0 : i64, head_dim = 20 : i64}
        : (!llm.kv_cache, tensor<?x40xf32>, tensor<?x40xf32>, !llm.batch) -> !llm.kv_cache loc("l0.kv_append")
    %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 20 : i64, scale = 0.2 : f64,
                                                alibi = array<f64: 0.5, 0.25, 0.125, 0.0625>}
        : (tensor<?x80xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x80xf32> loc("l0.attention")
    %o = llm.linear %a, @l0.o : (tensor<?x80xf32>) -> tensor<?x64xf32> loc("l0.o_proj")
    %h = llm.linear %n0, @l0.fc1 : (tensor<?x64xf32>) -> tensor<?x96xf32> loc("l0.fc1")
    %r = llm.activation relu2 %h : tensor<?x96xf32> loc("l0.activation")
    %m = llm.linear %r, @l0.fc2 : (tensor<?x96xf32>) -> tensor<?x64xf32> loc("l0.fc2")
    %y0 = llm.add %x0, %o : tensor<?x64xf32> loc("l0.residual")
    %x1 = llm.add %y0, %m : tensor<?x64xf32> loc("l0.mlp_residual")

    %q1 = llm.linear %x1, @l1.q : (tensor<?x64xf32>) -> tensor<?x80xf32> loc("l1.q_proj")
    %k1 = llm.linear %x1, @l1.k : (tensor<?x64xf32>) -> tensor<?x40xf32> loc("l1.k_proj")
    %v1 = llm.linear %x1, @l1.v : (tensor<?x64xf32>) -> tensor<?x40xf32> loc("l1.v_proj")
    %qn1 = llm.rms_norm %q1, @l1.q_norm {eps = 1.0e-5 : f64} : (tensor<?x80xf32>) -> tensor<?x80xf32> loc("l1.q_norm")
    %kn1 = llm.rms_norm %k1, @l1.k_norm {eps = 1.0e-5 : f64} : (tensor<?x40xf32>) -> tensor<?x40xf32> loc("l1.k_norm")
    %kv2 = llm.kv_append %kv1, %kn1, %v1, %batch {layer = 1 : i64, head_dim = 20 : i64}
        : (!llm.kv_cache, tensor<?x40xf32>, tensor<?x40xf32>, !llm.batch) -> !llm.kv_cache loc("l1.kv_append")
    %a1 = llm.paged_attention %qn1, %kv2, %batch {layer = 1 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 20 : i64, scale = 0.2 : f64}
        : (tensor<?x80xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x80xf32> loc("l1.attention")
    %o1 = llm.linear %a1, @l1.o : (tensor<?x80xf32>) -> tensor<?x64xf32> loc("l1.o_proj")
    %os = llm.scale %o1 {factor = 0.22 : f64} : tensor<?x64xf32> loc("l1.residual_scale")
    %y1 = llm.add %x1, %os : tensor<?x64xf32> loc("l1.residual")
    %n1 = llm.rms_norm %y1 {eps = 1.0e-5 : f64} : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("l1.norm")
    %h1 = llm.linear %n1, @l1.fc1 : (tensor<?x64xf32>) -> tensor<?x96xf32> loc("l1.fc1")
    %r1 = llm.activation gelu %h1 : tensor<?x96xf32> loc("l1.activation")
    %m1 = llm.linear %r1, @l1.fc2 : (tensor<?x96xf32>) -> tensor<?x64xf32> loc("l1.fc2")
    %x2 = llm.add %y1, %m1 : tensor<?x64xf32> loc("l1.mlp_residual")
    %g = llm.gather_rows %x2, %batch : (tensor<?x64xf32>, !llm.batch) -> tensor<?x64xf32> loc("gather")
    %n = llm.layer_norm %g {eps = 1.0e-5 : f64} : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("norm")
    %l = llm.linear %n, @embed : (tensor<?x64xf32>) -> tensor<?x50xf32> loc("lm_head")
    %logits = llm.scale %l {factor = 0.0625 : f64} : tensor<?x50xf32> loc("logits_scale")
    %next = llm.sample %logits, %batch : (tensor<?x50xf32>, !llm.batch) -> tensor<?xi32> loc("sample")
    return %logits, %next, %kv2 : tensor<?x50xf32>, tensor<?xi32>, !llm.kv_cache
  }
}
