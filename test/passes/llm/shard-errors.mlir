// RUN: inlay-opt %s --split-input-file --llm-shard=tensor-parallel-size=4 --verify-diagnostics

llm.weight @up : tensor<18x8xf32> from ["up"]
llm.weight @down : tensor<8x18xf32> from ["down"]
func.func @columns(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = llm.linear %x, @up : (tensor<?x8xf32>) -> tensor<?x18xf32>
  // expected-error @+1 {{has 18 columns, which 4 ranks cannot divide evenly; expected a tensor parallel size of 2, 3, 6, 9, 18}}
  %h = llm.activation silu %u : tensor<?x18xf32>
  %y = llm.linear %h, @down : (tensor<?x18xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// 45 groups of 64 columns: 3 and 5 ranks have whole ones, 4 have not.
llm.weight @up : tensor<2880x8xf32> from ["up"]
llm.weight @down : tensor<8x2880xi4> from ["down"] {quantized = #llm.quantized<u4, scales = @scale, zero_point = 8, group = 64>}
llm.weight @scale : tensor<8x45xf32> from ["scale"]
func.func @groups(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = llm.linear %x, @up : (tensor<?x8xf32>) -> tensor<?x2880xf32>
  %h = llm.activation silu %u : tensor<?x2880xf32>
  // expected-error @+1 {{has 2880 columns of 'down' in groups of 64, which 4 ranks cannot divide evenly; expected a tensor parallel size of 3, 5, 9, 15, 45}}
  %y = llm.linear %h, @down : (tensor<?x2880xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// 3 kv heads are not divided by 4 ranks, nor do they divide them.
llm.weight @k : tensor<12x8xf32> from ["k"]
llm.weight @v : tensor<12x8xf32> from ["v"]
func.func @kv_heads(%x: tensor<?x8xf32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> !llm.kv_cache {
  %k = llm.linear %x, @k : (tensor<?x8xf32>) -> tensor<?x12xf32>
  %v = llm.linear %x, @v : (tensor<?x8xf32>) -> tensor<?x12xf32>
  // expected-error @+1 {{has 3 kv heads, which 4 ranks cannot divide evenly; expected a tensor parallel size of 3, 6, 9,}}
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x12xf32>, tensor<?x12xf32>, !llm.batch) -> !llm.kv_cache
  return %kv1 : !llm.kv_cache
}

// -----

llm.weight @up : tensor<7x8xf32> from ["up"]
llm.weight @down : tensor<8x7xi8> from ["down"] {quantized = #llm.quantized<i8, scales = @scale, group = 3>}
llm.weight @scale : tensor<8x3xf32> from ["scale"]
func.func @no_ranks(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = llm.linear %x, @up : (tensor<?x8xf32>) -> tensor<?x7xf32>
  // expected-error @+1 {{has 7 columns, which 4 ranks cannot divide evenly; no number of ranks up to 64 can divide this model}}
  %h = llm.activation silu %u : tensor<?x7xf32>
  %y = llm.linear %h, @down : (tensor<?x7xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

func.func @no_product(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{divides its columns among ranks, but reads them from a parameter; expected a matrix product}}
  %h = llm.activation silu %x : tensor<?x8xf32>
  return %h : tensor<?x8xf32>
}

// -----

llm.weight @up : tensor<8x8xf32> from ["up"]
llm.weight @norm : tensor<8xf32> from ["norm"]
func.func @mean(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = llm.linear %x, @up : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{is over rows that 4 ranks divide, and subtracts their mean; only norms of mean squares are supported there}}
  %n = llm.layer_norm %u, @norm {eps = 1.0e-6 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %h = llm.activation silu %n : tensor<?x8xf32>
  return %h : tensor<?x8xf32>
}

// -----

// expected-error @+1 {{has inline contents, which ranks cannot divide; expected sources}}
llm.weight @up : tensor<8x8xf32> = dense<1.0> : tensor<8x8xf32>
func.func @inline(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = llm.linear %x, @up : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %h = llm.activation silu %u : tensor<?x8xf32>
  return %h : tensor<?x8xf32>
}

// -----

// expected-error @+1 {{has 2 sources for 4 parts; run llm-shard before they are concatenated}}
llm.weight @up : tensor<8x8xf32> from ["a", "b"]
func.func @concatenated(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = llm.linear %x, @up : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %h = llm.activation silu %u : tensor<?x8xf32>
  return %h : tensor<?x8xf32>
}

// -----

llm.weight @gate_up : tensor<16x8xf32> from ["gate_up"]
func.func @fused(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{makes 2 results; run llm-shard before llm-fuse-projections}}
  %g, %u = llm.linear %x, @gate_up : (tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
  %h = llm.gated_activation silu %g, %u : tensor<?x8xf32>
  return %h : tensor<?x8xf32>
}

// -----

// expected-error @+1 {{is divided among 2 ranks already}}
module attributes {llm.ranks = 2 : i64} {}

// -----

func.func @codes(%x: tensor<?x8xf32>) -> tensor<?x8xi8> {
  // expected-error @+1 {{quantizes rows that ranks may divide; run llm-shard before llm-quantize-activations}}
  %c, %s = llm.quantize i8 %x : tensor<?x8xf32> -> tensor<?x8xi8>, tensor<?x1xf32>
  return %c : tensor<?x8xi8>
}

// -----

llm.weight @up : tensor<16x8xf32> from ["up"]
llm.weight @order : tensor<1x16xi32> from [#llm.source<"g_idx", storage = #llm.storage<flat = true, column_order = <size = 8>>>]
llm.weight @down : tensor<8x16xf32> from ["down"]
func.func @sorted_columns(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = llm.linear %x, @up : (tensor<?x8xf32>) -> tensor<?x16xf32>
  %h = llm.activation silu %u : tensor<?x16xf32>
  // expected-error @+1 {{takes columns in the order of 'order', in which the checkpoint sorted them before it quantized them (desc_act, actorder); ranks that divide these columns would need those of others; expected a tensor parallel size of 1, or a checkpoint whose columns are in order}}
  %g = llm.gather_columns %h, @order : tensor<?x16xf32>
  %y = llm.linear %g, @down : (tensor<?x16xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
