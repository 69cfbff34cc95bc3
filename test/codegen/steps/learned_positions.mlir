// Learned positions, layer norms with biases, an MLP without a gate, slopes of ALiBi: what OPT, GPT-2 and BLOOM have.
module attributes {llm.model = {architecture = "test", vocab_size = 50 : i64, hidden_size = 48 : i64, layers = 1 : i64,
                                heads = 3 : i64, kv_heads = 3 : i64, head_dim = 16 : i64, max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<50x48xf32> from ["embed"]
  llm.weight @positions : tensor<66x48xf32> from ["positions"]
  llm.weight @embed_norm : tensor<48xf32> from ["embed_norm"]
  llm.weight @l0.norm : tensor<48xf32> from ["l0.norm"]
  llm.weight @l0.norm.bias : tensor<48xf32> from ["l0.norm.bias"]
  llm.weight @l0.q : tensor<48x48xf32> from ["l0.q"]
  llm.weight @l0.k : tensor<48x48xf32> from ["l0.k"]
  llm.weight @l0.v : tensor<48x48xf32> from ["l0.v"]
  llm.weight @l0.q.bias : tensor<48xf32> from ["l0.q.bias"]
  llm.weight @l0.k.bias : tensor<48xf32> from ["l0.k.bias"]
  llm.weight @l0.v.bias : tensor<48xf32> from ["l0.v.bias"]
  llm.weight @l0.o : tensor<48x48xf32> from ["l0.o"]
  llm.weight @l0.o.bias : tensor<48xf32> from ["l0.o.bias"]
  llm.weight @l0.mlp_norm : tensor<48xf32> from ["l0.mlp_norm"]
  llm.weight @l0.mlp_norm.bias : tensor<48xf32> from ["l0.mlp_norm.bias"]
  llm.weight @l0.fc1 : tensor<80x48xf32> from ["l0.fc1"]
  llm.weight @l0.fc1.bias : tensor<80xf32> from ["l0.fc1.bias"]
  llm.weight @l0.fc2 : tensor<48x80xf32> from ["l0.fc2"]
  llm.weight @norm : tensor<48xf32> from ["norm"]
  llm.weight @norm.bias : tensor<48xf32> from ["norm.bias"]

  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x50xf32>, tensor<?xi32>, !llm.kv_cache) {
    %e = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x48xf32> loc("embed")
    %p = llm.position_embedding %batch, @positions {offset = 2 : i64} : (!llm.batch) -> tensor<?x48xf32> loc("positions")
    %s = llm.add %e, %p : tensor<?x48xf32> loc("embed_add")
    %x0 = llm.rms_norm %s, @embed_norm {eps = 1.0e-5 : f64} : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("embed_norm")
    %n0 = llm.layer_norm %x0, @l0.norm bias @l0.norm.bias {eps = 1.0e-5 : f64} : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("l0.norm")
    %q = llm.linear %n0, @l0.q bias @l0.q.bias : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("l0.q_proj")
    %k = llm.linear %n0, @l0.k bias @l0.k.bias : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("l0.k_proj")
    %v = llm.linear %n0, @l0.v bias @l0.v.bias : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("l0.v_proj")
    %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 16 : i64}
        : (!llm.kv_cache, tensor<?x48xf32>, tensor<?x48xf32>, !llm.batch) -> !llm.kv_cache loc("l0.kv_append")
    %a = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 3 : i64, kv_heads = 3 : i64, head_dim = 16 : i64, scale = 0.25 : f64,
                                               alibi = array<f64: 0.5, 0.125, 0.03125>}
        : (tensor<?x48xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x48xf32> loc("l0.attention")
    %o = llm.linear %a, @l0.o bias @l0.o.bias : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("l0.o_proj")
    %x1 = llm.add %x0, %o : tensor<?x48xf32> loc("l0.residual")
    %n1 = llm.layer_norm %x1, @l0.mlp_norm bias @l0.mlp_norm.bias {eps = 1.0e-5 : f64, weight_offset = 1.0 : f64} : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("l0.mlp_norm")
    %h = llm.linear %n1, @l0.fc1 bias @l0.fc1.bias : (tensor<?x48xf32>) -> tensor<?x80xf32> loc("l0.fc1")
    %r = llm.activation relu %h : tensor<?x80xf32> loc("l0.activation")
    %m = llm.linear %r, @l0.fc2 : (tensor<?x80xf32>) -> tensor<?x48xf32> loc("l0.fc2")
    %x2 = llm.add %x1, %m : tensor<?x48xf32> loc("l0.mlp_residual")
    %g = llm.gather_rows %x2, %batch : (tensor<?x48xf32>, !llm.batch) -> tensor<?x48xf32> loc("gather")
    %n = llm.layer_norm %g, @norm bias @norm.bias {eps = 1.0e-5 : f64} : (tensor<?x48xf32>) -> tensor<?x48xf32> loc("norm")
    %logits = llm.linear %n, @embed : (tensor<?x48xf32>) -> tensor<?x50xf32> loc("lm_head")
    %next = llm.sample %logits, %batch : (tensor<?x50xf32>, !llm.batch) -> tensor<?xi32> loc("sample")
    return %logits, %next, %kv1 : tensor<?x50xf32>, tensor<?xi32>, !llm.kv_cache
  }
}
