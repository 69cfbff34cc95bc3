// RUN: inlay-opt %s | inlay-opt | FileCheck %s
// One layer of Llama with tied embeddings, as the frontend writes it.

// CHECK: llm.weight @model.embed_tokens.weight : tensor<1000x256xbf16> from ["model.embed_tokens.weight"]
// CHECK: llm.paged_attention
module attributes {llm.model = {architecture = "llama", vocab_size = 1000 : i64, hidden_size = 256 : i64, layers = 1 : i64,
                                heads = 8 : i64, kv_heads = 2 : i64, head_dim = 32 : i64, max_model_len = 128 : i64}} {
  llm.weight @model.embed_tokens.weight : tensor<1000x256xbf16> from ["model.embed_tokens.weight"]
  llm.weight @model.norm.weight : tensor<256xbf16> from ["model.norm.weight"]
  llm.weight @model.layers.0.input_layernorm.weight : tensor<256xbf16> from ["model.layers.0.input_layernorm.weight"]
  llm.weight @model.layers.0.self_attn.q_proj.weight : tensor<256x256xbf16> from ["model.layers.0.self_attn.q_proj.weight"]
  llm.weight @model.layers.0.self_attn.k_proj.weight : tensor<64x256xbf16> from ["model.layers.0.self_attn.k_proj.weight"]
  llm.weight @model.layers.0.self_attn.v_proj.weight : tensor<64x256xbf16> from ["model.layers.0.self_attn.v_proj.weight"]
  llm.weight @model.layers.0.self_attn.o_proj.weight : tensor<256x256xbf16> from ["model.layers.0.self_attn.o_proj.weight"]
  llm.weight @model.layers.0.post_attention_layernorm.weight : tensor<256xbf16> from ["model.layers.0.post_attention_layernorm.weight"]
  llm.weight @model.layers.0.mlp.gate_proj.weight : tensor<512x256xbf16> from ["model.layers.0.mlp.gate_proj.weight"]
  llm.weight @model.layers.0.mlp.up_proj.weight : tensor<512x256xbf16> from ["model.layers.0.mlp.up_proj.weight"]
  llm.weight @model.layers.0.mlp.down_proj.weight : tensor<256x512xbf16> from ["model.layers.0.mlp.down_proj.weight"]
  llm.rope_table @rope : tensor<128x32xf32> {inv_freq = array<f64: 1.0, 0.56, 0.316, 0.178, 0.1, 0.056, 0.0316, 0.0178, 0.01, 0.0056, 0.00316, 0.00178, 0.001, 0.00056, 0.000316, 0.000178>}
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache)
      -> (tensor<?x1000xf32>, tensor<?xi32>, !llm.kv_cache) {
    %x0 = llm.embedding %tokens, @model.embed_tokens.weight : (tensor<?xi32>) -> tensor<?x256xbf16>
    %n0 = llm.rms_norm %x0, @model.layers.0.input_layernorm.weight {eps = 1.0e-5 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
    %q = llm.linear %n0, @model.layers.0.self_attn.q_proj.weight : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
    %k = llm.linear %n0, @model.layers.0.self_attn.k_proj.weight : (tensor<?x256xbf16>) -> tensor<?x64xbf16>
    %v = llm.linear %n0, @model.layers.0.self_attn.v_proj.weight : (tensor<?x256xbf16>) -> tensor<?x64xbf16>
    %qr = llm.rope %q, %batch, @rope {head_dim = 32 : i64} : (tensor<?x256xbf16>, !llm.batch) -> tensor<?x256xbf16>
    %kr = llm.rope %k, %batch, @rope {head_dim = 32 : i64} : (tensor<?x64xbf16>, !llm.batch) -> tensor<?x64xbf16>
    %kv1 = llm.kv_append %kv, %kr, %v, %batch {layer = 0 : i64, head_dim = 32 : i64}
        : (!llm.kv_cache, tensor<?x64xbf16>, tensor<?x64xbf16>, !llm.batch) -> !llm.kv_cache
    %a = llm.paged_attention %qr, %kv1, %batch {layer = 0 : i64, heads = 8 : i64, kv_heads = 2 : i64, head_dim = 32 : i64, scale = 0.17677669529663687 : f64}
        : (tensor<?x256xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x256xbf16>
    %o = llm.linear %a, @model.layers.0.self_attn.o_proj.weight : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
    %x1 = llm.add %x0, %o : tensor<?x256xbf16>
    %n1 = llm.rms_norm %x1, @model.layers.0.post_attention_layernorm.weight {eps = 1.0e-5 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
    %g = llm.linear %n1, @model.layers.0.mlp.gate_proj.weight : (tensor<?x256xbf16>) -> tensor<?x512xbf16>
    %u = llm.linear %n1, @model.layers.0.mlp.up_proj.weight : (tensor<?x256xbf16>) -> tensor<?x512xbf16>
    %h = llm.gated_activation silu %g, %u : tensor<?x512xbf16>
    %d = llm.linear %h, @model.layers.0.mlp.down_proj.weight : (tensor<?x512xbf16>) -> tensor<?x256xbf16>
    %x2 = llm.add %x1, %d : tensor<?x256xbf16>
    %last = llm.gather_rows %x2, %batch : (tensor<?x256xbf16>, !llm.batch) -> tensor<?x256xbf16>
    %nf = llm.rms_norm %last, @model.norm.weight {eps = 1.0e-5 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
    %logits = llm.linear %nf, @model.embed_tokens.weight : (tensor<?x256xbf16>) -> tensor<?x1000xf32>
    %next = llm.sample %logits, %batch : (tensor<?x1000xf32>, !llm.batch) -> tensor<?xi32>
    return %logits, %next, %kv1 : tensor<?x1000xf32>, tensor<?xi32>, !llm.kv_cache
  }
}
