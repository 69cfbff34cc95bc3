// RUN: inlay-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=cpu})"

module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x8xf32> from ["embed"]
  func.func @two_norms(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xf32>
      attributes {llm.entry = {kind = "mixed", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %0 = llm.group "rows" family("rows") -> tensor<?x8xf32> {
      %x = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x8xf32>
      %y = llm.rms_norm %x {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
      // expected-error @+1 {{is the second norm of whole rows in one kernel}}
      %z = llm.layer_norm %y {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
      llm.yield %z : tensor<?x8xf32>
    }
    return %0 : tensor<?x8xf32>
  }
}

// -----

module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x8xf32> from ["embed"]
  func.func @gather_of_own(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xf32>
      attributes {llm.entry = {kind = "mixed", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %0 = llm.group "rows" family("rows") -> tensor<?x8xf32> {
      %x = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x8xf32>
      // expected-error @+1 {{gathers rows that its own kernel computes}}
      %y = llm.gather_rows %x, %batch : (tensor<?x8xf32>, !llm.batch) -> tensor<?x8xf32>
      llm.yield %y : tensor<?x8xf32>
    }
    return %0 : tensor<?x8xf32>
  }
}

// -----

module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x8xf32> from ["embed"]
  llm.rope_table @rope : tensor<64x4xf32> {inv_freq = array<f64: 1.0, 0.1>}
  func.func @heads(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x8xf32>, tensor<?x8xf32>)
      attributes {llm.entry = {kind = "mixed", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %0 = llm.group "embed" family("rows") -> tensor<?x8xf32> {
      %x = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x8xf32>
      llm.yield %x : tensor<?x8xf32>
    }
    %1, %2 = llm.group "heads" family("rows") -> tensor<?x8xf32>, tensor<?x8xf32> {
      %x = llm.rope %0, %batch, @rope {head_dim = 4 : i64} : (tensor<?x8xf32>, !llm.batch) -> tensor<?x8xf32>
      // expected-error @+1 {{has heads of 8 beside heads of 4 in one kernel}}
      %y = llm.rms_norm %0 {eps = 1.0e-5 : f64, group = 8 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
      llm.yield %x, %y : tensor<?x8xf32>, tensor<?x8xf32>
    }
    return %1, %2 : tensor<?x8xf32>, tensor<?x8xf32>
  }
}

// -----

module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<100x8xf32> from ["embed"]
  func.func @between(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> !llm.kv_cache
      attributes {llm.entry = {kind = "mixed", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %0 = llm.group "embed" family("rows") -> tensor<?x8xf32> {
      %x = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x8xf32>
      llm.yield %x : tensor<?x8xf32>
    }
    %1 = llm.group "heads" family("rows") -> !llm.kv_cache {
      // expected-error @+1 {{cannot stand between a product and the cache; expected a per-head norm or a rope}}
      %x = llm.scale %0 {factor = 2.0 : f64} : tensor<?x8xf32>
      %y = llm.kv_append %kv, %x, %x, %batch {layer = 0 : i64, head_dim = 4 : i64}
          : (!llm.kv_cache, tensor<?x8xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
      llm.yield %y : !llm.kv_cache
    }
    return %1 : !llm.kv_cache
  }
}

// -----

module attributes {llm.model = {max_model_len = 64 : i64}} {
  llm.weight @positions : tensor<65x8xf32> from ["positions"]
  func.func @few_positions(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xf32>
      attributes {llm.entry = {kind = "mixed", max_tokens = 4 : i64, max_sequences = 4 : i64}} {
    %0 = llm.group "rows" family("rows") -> tensor<?x8xf32> {
      // expected-error @+1 {{has learned positions for 63 tokens of a sequence, expected at least 64; lower --max-model-len}}
      %x = llm.position_embedding %batch, @positions {offset = 2 : i64} : (!llm.batch) -> tensor<?x8xf32>
      llm.yield %x : tensor<?x8xf32>
    }
    return %0 : tensor<?x8xf32>
  }
}
