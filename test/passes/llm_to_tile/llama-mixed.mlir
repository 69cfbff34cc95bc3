// RUN: inlay-opt %s --pass-pipeline="builtin.module(llm-pack-weights,func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a})" | FileCheck %s
// A step of prefill and decode rows for a GPU. Matrices are packed, and tiles have the sizes of wgmma.

// CHECK: llm.weight @qkv {{.*}}packing = #llm<packing atom_8x64>
// CHECK: tile.program @step_embed_tokens({{.*}}!tile.view<1000x256xbf16, weight> {tile.packing = "atom_8x64"}
// CHECK-LABEL: tile.program @step_o_proj
// CHECK: tensor<128x128xf32>
module attributes {llm.model = {architecture = "llama", vocab_size = 1000 : i64, hidden_size = 256 : i64, layers = 1 : i64,
                                heads = 8 : i64, kv_heads = 2 : i64, head_dim = 32 : i64, max_model_len = 128 : i64}} {
  llm.weight @model.embed_tokens.weight : tensor<1000x256xbf16> from ["model.embed_tokens.weight"]
  llm.weight @model.norm.weight : tensor<256xbf16> from ["model.norm.weight"]
  llm.weight @model.layers.0.input_layernorm.weight : tensor<256xbf16> from ["model.layers.0.input_layernorm.weight"]
  llm.weight @qkv : tensor<384x256xbf16> from ["q", "k", "v"] {row_order = #llm<row_order half_pairs>, head_dim = 32 : i64}
  llm.weight @model.layers.0.self_attn.o_proj.weight : tensor<256x256xbf16> from ["model.layers.0.self_attn.o_proj.weight"]
  llm.weight @model.layers.0.post_attention_layernorm.weight : tensor<256xbf16> from ["model.layers.0.post_attention_layernorm.weight"]
  llm.weight @gate_up : tensor<1024x256xbf16> from ["gate", "up"] {row_order = #llm<row_order alternate>}
  llm.weight @model.layers.0.mlp.down_proj.weight : tensor<256x512xbf16> from ["model.layers.0.mlp.down_proj.weight"]
  llm.rope_table @rope : tensor<128x32xf32> {inv_freq = array<f64: 1.0, 0.56, 0.316, 0.178, 0.1, 0.056, 0.0316, 0.0178, 0.01, 0.0056, 0.00316, 0.00178, 0.001, 0.00056, 0.000316, 0.000178>}
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache)
      -> (tensor<?x1000xf32>, tensor<?xi32>, !llm.kv_cache)
      attributes {llm.entry = {kind = "mixed", max_tokens = 64 : i64, max_sequences = 4 : i64}} {
    %x0 = llm.group "model.embed_tokens" family("rows") -> tensor<?x256xbf16> {
      %0 = llm.embedding %tokens, @model.embed_tokens.weight : (tensor<?xi32>) -> tensor<?x256xbf16>
      llm.yield %0 : tensor<?x256xbf16>
    }
    %q, %kv1 = llm.group "model.layers.0.self_attn.qkv" family("gemm") -> tensor<?x256xbf16>, !llm.kv_cache {
      %n0 = llm.rms_norm %x0, @model.layers.0.input_layernorm.weight {eps = 1.0e-5 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
      %0:3 = llm.linear %n0, @qkv : (tensor<?x256xbf16>) -> (tensor<?x256xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>)
      %qr = llm.rope %0#0, %batch, @rope {head_dim = 32 : i64} : (tensor<?x256xbf16>, !llm.batch) -> tensor<?x256xbf16>
      %kr = llm.rope %0#1, %batch, @rope {head_dim = 32 : i64} : (tensor<?x64xbf16>, !llm.batch) -> tensor<?x64xbf16>
      %1 = llm.kv_append %kv, %kr, %0#2, %batch {layer = 0 : i64, head_dim = 32 : i64}
          : (!llm.kv_cache, tensor<?x64xbf16>, tensor<?x64xbf16>, !llm.batch) -> !llm.kv_cache
      llm.yield %qr, %1 : tensor<?x256xbf16>, !llm.kv_cache
    }
    %a = llm.group "model.layers.0.self_attn.attention" family("attention") -> tensor<?x256xbf16> {
      %0 = llm.paged_attention %q, %kv1, %batch {layer = 0 : i64, heads = 8 : i64, kv_heads = 2 : i64, head_dim = 32 : i64, scale = 0.17677669529663687 : f64}
          : (tensor<?x256xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x256xbf16>
      llm.yield %0 : tensor<?x256xbf16>
    }
    %x1 = llm.group "model.layers.0.self_attn.o_proj" family("gemm") -> tensor<?x256xbf16> {
      %0 = llm.linear %a, @model.layers.0.self_attn.o_proj.weight : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
      %1 = llm.add %x0, %0 : tensor<?x256xbf16>
      llm.yield %1 : tensor<?x256xbf16>
    }
    %h = llm.group "model.layers.0.mlp.gate_up" family("gemm") -> tensor<?x512xbf16> {
      %n1 = llm.rms_norm %x1, @model.layers.0.post_attention_layernorm.weight {eps = 1.0e-5 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
      %0:2 = llm.linear %n1, @gate_up : (tensor<?x256xbf16>) -> (tensor<?x512xbf16>, tensor<?x512xbf16>)
      %1 = llm.gated_activation silu %0#0, %0#1 : tensor<?x512xbf16>
      llm.yield %1 : tensor<?x512xbf16>
    }
    %x2 = llm.group "model.layers.0.mlp.down_proj" family("gemm") -> tensor<?x256xbf16> {
      %0 = llm.linear %h, @model.layers.0.mlp.down_proj.weight : (tensor<?x512xbf16>) -> tensor<?x256xbf16>
      %1 = llm.add %x1, %0 : tensor<?x256xbf16>
      llm.yield %1 : tensor<?x256xbf16>
    }
    %logits = llm.group "lm_head" family("gemm") -> tensor<?x1000xf32> {
      %last = llm.gather_rows %x2, %batch : (tensor<?x256xbf16>, !llm.batch) -> tensor<?x256xbf16>
      %nf = llm.rms_norm %last, @model.norm.weight {eps = 1.0e-5 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
      %0 = llm.linear %nf, @model.embed_tokens.weight : (tensor<?x256xbf16>) -> tensor<?x1000xf32>
      llm.yield %0 : tensor<?x1000xf32>
    }
    %next = llm.group "sample" family("sample") -> tensor<?xi32> {
      %0 = llm.sample %logits, %batch : (tensor<?x1000xf32>, !llm.batch) -> tensor<?xi32>
      llm.yield %0 : tensor<?xi32>
    }
    return %logits, %next, %kv1 : tensor<?x1000xf32>, tensor<?xi32>, !llm.kv_cache
  }
}
