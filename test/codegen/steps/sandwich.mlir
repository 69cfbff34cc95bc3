// Norms before and after, with 1 + weight; norms of heads; soft-caps, a window, sinks, GeGLU: what the Gemma family and
// gpt-oss have. A row of 296 columns is handled in two parts on the cpu.
module attributes {llm.model = {architecture = "test", vocab_size = 50 : i64, hidden_size = 296 : i64, layers = 1 : i64,
                                heads = 4 : i64, kv_heads = 2 : i64, head_dim = 24 : i64, max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<50x296xf32> from ["embed"]
  llm.weight @l0.pre_norm : tensor<296xf32> from ["l0.pre_norm"]
  llm.weight @l0.q : tensor<96x296xf32> from ["l0.q"]
  llm.weight @l0.k : tensor<48x296xf32> from ["l0.k"]
  llm.weight @l0.v : tensor<48x296xf32> from ["l0.v"]
  llm.weight @l0.q_norm : tensor<24xf32> from ["l0.q_norm"]
  llm.weight @l0.k_norm : tensor<24xf32> from ["l0.k_norm"]
  llm.weight @l0.sinks : tensor<4xf32> from ["l0.sinks"]
  llm.weight @l0.o : tensor<296x96xf32> from ["l0.o"]
  llm.weight @l0.post_norm : tensor<296xf32> from ["l0.post_norm"]
  llm.weight @l0.pre_mlp_norm : tensor<296xf32> from ["l0.pre_mlp_norm"]
  llm.weight @l0.gate : tensor<80x296xf32> from ["l0.gate"]
  llm.weight @l0.up : tensor<80x296xf32> from ["l0.up"]
  llm.weight @l0.down : tensor<296x80xf32> from ["l0.down"]
  llm.weight @l0.post_mlp_norm : tensor<296xf32> from ["l0.post_mlp_norm"]
  llm.weight @l0.post_mlp_norm.bias : tensor<296xf32> from ["l0.post_mlp_norm.bias"]
  llm.weight @norm : tensor<296xf32> from ["norm"]
  llm.rope_table @rope : tensor<64x24xf32> {inv_freq = array<f64: 1.0, 0.5, 0.25, 0.125, 0.06, 0.03, 0.015, 0.007, 0.003, 0.001, 0.0005, 0.0002>}

  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x50xf32>, tensor<?xi32>, !llm.kv_cache) {
    %e = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x296xf32> loc("embed")
    %x0 = llm.scale %e {factor = 17.25 : f64} : tensor<?x296xf32> loc("embed_scale")
    %n0 = llm.rms_norm %x0, @l0.pre_norm {eps = 1.0e-6 : f64, weight_offset = 1.0 : f64} : (tensor<?x296xf32>) -> tensor<?x296xf32> loc("l0.pre_norm")
    %q = llm.linear %n0, @l0.q : (tensor<?x296xf32>) -> tensor<?x96xf32> loc("l0.q_proj")
    %k = llm.linear %n0, @l0.k : (tensor<?x296xf32>) -> tensor<?x48xf32> loc("l0.k_proj")
    %v = llm.linear %n0, @l0.v : (tensor<?x296xf32>) -> tensor<?x48xf32> loc("l0.v_proj")
    %qn = llm.rms_norm %q, @l0.q_norm {eps = 1.0e-6 : f64, group = 24 : i64, weight_offset = 1.0 : f64} : (tensor<?x96xf32>) -> tensor<?x96xf32> loc("l0.q_norm")
    %kn = llm.rms_norm %k, @l0.k_norm {eps = 1.0e-6 : f64, group = 24 : i64, weight_offset = 1.0 : f64} : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("l0.k_norm")
    %vn = llm.rms_norm %v {eps = 1.0e-6 : f64, group = 24 : i64} : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("l0.v_norm")
    %qr = llm.rope %qn, %batch, @rope {head_dim = 24 : i64} : (tensor<?x96xf32>, !llm.batch) -> tensor<?x96xf32> loc("l0.q_rope")
    %kr = llm.rope %kn, %batch, @rope {head_dim = 24 : i64} : (tensor<?x48xf32>, !llm.batch) -> tensor<?x48xf32> loc("l0.k_rope")
    %kv1 = llm.kv_append %kv, %kr, %vn, %batch {layer = 0 : i64, head_dim = 24 : i64}
        : (!llm.kv_cache, tensor<?x48xf32>, tensor<?x48xf32>, !llm.batch) -> !llm.kv_cache loc("l0.kv_append")
    %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 24 : i64, scale = 0.25 : f64,
                                                window = 5 : i64, softcap = 2.0 : f64, sinks = @l0.sinks}
        : (tensor<?x96xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x96xf32> loc("l0.attention")
    %o = llm.linear %a, @l0.o : (tensor<?x96xf32>) -> tensor<?x296xf32> loc("l0.o_proj")
    %on = llm.rms_norm %o, @l0.post_norm {eps = 1.0e-6 : f64, weight_offset = 1.0 : f64} : (tensor<?x296xf32>) -> tensor<?x296xf32> loc("l0.post_norm")
    %x1 = llm.add %x0, %on : tensor<?x296xf32> loc("l0.residual")
    %n1 = llm.rms_norm %x1, @l0.pre_mlp_norm {eps = 1.0e-6 : f64, weight_offset = 1.0 : f64} : (tensor<?x296xf32>) -> tensor<?x296xf32> loc("l0.pre_mlp_norm")
    %gate = llm.linear %n1, @l0.gate : (tensor<?x296xf32>) -> tensor<?x80xf32> loc("l0.gate_proj")
    %up = llm.linear %n1, @l0.up : (tensor<?x296xf32>) -> tensor<?x80xf32> loc("l0.up_proj")
    %h = llm.gated_activation gelu_tanh %gate, %up : tensor<?x80xf32> loc("l0.activation")
    %m = llm.linear %h, @l0.down : (tensor<?x80xf32>) -> tensor<?x296xf32> loc("l0.down_proj")
    %mn = llm.layer_norm %m, @l0.post_mlp_norm bias @l0.post_mlp_norm.bias {eps = 1.0e-6 : f64} : (tensor<?x296xf32>) -> tensor<?x296xf32> loc("l0.post_mlp_norm")
    %x2 = llm.add %mn, %x1 : tensor<?x296xf32> loc("l0.mlp_residual")
    %g = llm.gather_rows %x2, %batch : (tensor<?x296xf32>, !llm.batch) -> tensor<?x296xf32> loc("gather")
    %n = llm.rms_norm %g, @norm {eps = 1.0e-6 : f64} : (tensor<?x296xf32>) -> tensor<?x296xf32> loc("norm")
    %l = llm.linear %n, @embed : (tensor<?x296xf32>) -> tensor<?x50xf32> loc("lm_head")
    %logits = llm.softcap %l {cap = 3.0 : f64} : tensor<?x50xf32> loc("logits_softcap")
    %next = llm.sample %logits, %batch : (tensor<?x50xf32>, !llm.batch) -> tensor<?xi32> loc("sample")
    return %logits, %next, %kv1 : tensor<?x50xf32>, tensor<?xi32>, !llm.kv_cache
  }
}
