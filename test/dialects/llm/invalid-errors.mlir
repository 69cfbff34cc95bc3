// RUN: inlay-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{is a tensor of static shape and rank 1 or 2, found 'tensor<?x2xf32>'}}
llm.weight @w : tensor<?x2xf32> from ["w"]

// -----

// expected-error @+1 {{is a tensor of static shape and rank 1 or 2, found 'f32'}}
llm.weight @w : f32 from ["w"]

// -----

// expected-error @+1 {{has either sources or a value}}
llm.weight @w : tensor<2xf32>

// -----

// expected-error @+1 {{is declared 'tensor<2xf32>' but holds 'tensor<3xf32>'}}
llm.weight @w : tensor<2xf32> = dense<0.0> : tensor<3xf32>

// -----

// expected-error @+1 {{stores rows as half_pairs, which needs head_dim}}
llm.weight @w : tensor<2xf32> from ["w"] {row_order = #llm<row_order half_pairs>}

// -----

// expected-error @+1 {{alternates the rows of two sources, found 1}}
llm.weight @w : tensor<2xf32> from ["w"] {row_order = #llm<row_order alternate>}

// -----

// expected-error @+1 {{'slice' is no part of a source; expected transposed, block, offset, count, deinterleave, storage or shard}}
llm.weight @w : tensor<2xf32> from [#llm.source<"w", slice = 3>]

// -----

// expected-error @+1 {{source 'w' takes 2 rows from 3 on of each 4, expected rows that lie in a block}}
llm.weight @w : tensor<2xf32> from [#llm.source<"w", block = 4, offset = 3, count = 2>]

// -----

// expected-error @+1 {{source 'w' takes 2 rows from 0 on of each 0}}
llm.weight @w : tensor<2xf32> from [#llm.source<"w", count = 2>]

// -----

// expected-error @+1 {{source 'w' deinterleaves 6 rows of heads of 4, expected an even number of rows that a head has}}
llm.weight @w : tensor<4xf32> from [#llm.source<"w", deinterleave = [4, 6]>]

// -----

// expected-error @+1 {{a source has the name of a tensor, found ""}}
llm.weight @w : tensor<4xf32> from [#llm.source<"">]

// -----

// expected-error @+1 {{transposes 'w', but is a vector: 'tensor<4xf32>'}}
llm.weight @w : tensor<4xf32> from [#llm.source<"w", transposed>]

// -----

// expected-error @+1 {{array of tensor names and #llm.source}}
llm.weight @w : tensor<4xf32> from [4 : i32]

// -----

// expected-error @+1 {{holds f32 rows of 4 cosines and sines, found 'tensor<8x6xf32>'}}
llm.rope_table @rope : tensor<8x6xf32> {inv_freq = array<f64: 1.0, 0.5>}

// -----

// expected-error @+1 {{has 8 rows for short sequences, expected fewer than its 8 rows}}
llm.rope_table @rope : tensor<8x4xf32> {inv_freq = array<f64: 1.0, 0.5, 1.0, 0.5>, short_rows = 8 : i64}

// -----

// expected-error @+1 {{has rows for short and for long sequences, which use 2 sets of frequencies, found 1}}
llm.rope_table @rope : tensor<8x4xf32> {inv_freq = array<f64: 1.0, 0.5>, short_rows = 3 : i64}

// -----

// expected-error @+1 {{has the temperature 1.000000e+00 : f64 for each 0 positions, expected a finite number and at least 1 position}}
llm.rope_table @rope : tensor<8x4xf32> {inv_freq = array<f64: 1.0, 0.5>, temperature_beta = 1.0 : f64, temperature_length = 0 : i64}

// -----

llm.weight @table : tensor<8x4xf32> from ["table"]
func.func @embedding(%tokens: tensor<?xi32>) {
  // expected-error @+1 {{reads 'table' of shape 8x4, expected ?x2}}
  %x = llm.embedding %tokens, @table : (tensor<?xi32>) -> tensor<?x2xf32>
  return
}

// -----

func.func @embedding_without_table(%tokens: tensor<?xi32>) {
  // expected-error @+1 {{reads 'table', expected the name of an llm.weight}}
  %x = llm.embedding %tokens, @table : (tensor<?xi32>) -> tensor<?x2xf32>
  return
}

// -----

llm.weight @w : tensor<8x4xf32> from ["w"]
func.func @linear_columns(%x: tensor<?x2xf32>) {
  // expected-error @+1 {{reads 'w' of shape 8x4, expected 8x2}}
  %y = llm.linear %x, @w : (tensor<?x2xf32>) -> tensor<?x8xf32>
  return
}

// -----

llm.weight @w : tensor<8x2xf32> from ["w"]
func.func @linear_rows(%x: tensor<?x2xf32>) {
  // expected-error @+1 {{reads 'w' of shape 8x2, expected 7x2}}
  %y:2 = llm.linear %x, @w : (tensor<?x2xf32>) -> (tensor<?x4xf32>, tensor<?x3xf32>)
  return
}

// -----

llm.weight @w : tensor<8x2xf32> from ["w"]
llm.weight @b : tensor<1x8xf32> from ["b"]
func.func @linear_bias(%x: tensor<?x2xf32>) {
  // expected-error @+1 {{reads 'b' of shape 1x8, expected 8}}
  %y = llm.linear %x, @w bias @b : (tensor<?x2xf32>) -> tensor<?x8xf32>
  return
}

// -----

llm.weight @w : tensor<8x2xf32> from ["w"]
func.func @linear_results(%x: tensor<?x2xf32>) {
  // expected-error @+1 {{has no result}}
  llm.linear %x, @w : (tensor<?x2xf32>) -> ()
  return
}

// -----

llm.weight @w : tensor<4xf32> from ["w"]
func.func @norm_weight(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{reads 'w' of shape 4, expected 8}}
  %y = llm.rms_norm %x, @w {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

llm.weight @w : tensor<3xf32> from ["w"]
func.func @norm_heads(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{has 8 columns of input, not a multiple of head_dim 3}}
  %y = llm.rms_norm %x, @w {eps = 1.0e-5 : f64, group = 3 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

llm.weight @w : tensor<8xf32> from ["w"]
func.func @norm_type(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{makes 'tensor<?x8xbf16>' of 'tensor<?x8xf32>'}}
  %y = llm.rms_norm %x, @w {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xbf16>
  return
}

// -----

llm.rope_table @rope : tensor<8x8xf32> {inv_freq = array<f64: 1.0, 0.5, 0.25, 0.125>}
func.func @rope_table(%x: tensor<?x8xf32>, %batch: !llm.batch) {
  // expected-error @+1 {{rotates heads of 4 by 'rope', which is for heads of 8}}
  %y = llm.rope %x, %batch, @rope {head_dim = 4 : i64} : (tensor<?x8xf32>, !llm.batch) -> tensor<?x8xf32>
  return
}

// -----

llm.weight @rope : tensor<8x4xf32> from ["rope"]
func.func @rope_kind(%x: tensor<?x4xf32>, %batch: !llm.batch) {
  // expected-error @+1 {{reads 'rope', expected the name of an llm.rope_table}}
  %y = llm.rope %x, %batch, @rope {head_dim = 4 : i64} : (tensor<?x4xf32>, !llm.batch) -> tensor<?x4xf32>
  return
}

// -----

func.func @rope_odd(%x: tensor<?x9xf32>, %batch: !llm.batch) {
  // expected-error @+1 {{rotates halves of a head, head_dim 3 is odd}}
  %y = llm.rope %x, %batch, @rope {head_dim = 3 : i64} : (tensor<?x9xf32>, !llm.batch) -> tensor<?x9xf32>
  return
}

// -----

func.func @append_columns(%kv: !llm.kv_cache, %k: tensor<?x4xf32>, %v: tensor<?x8xf32>, %batch: !llm.batch) {
  // expected-error @+1 {{has keys of 4 columns and values of 8}}
  %kv1 = llm.kv_append %kv, %k, %v, %batch {layer = 0 : i64, head_dim = 4 : i64}
      : (!llm.kv_cache, tensor<?x4xf32>, tensor<?x8xf32>, !llm.batch) -> !llm.kv_cache
  return
}

// -----

func.func @append_heads(%kv: !llm.kv_cache, %k: tensor<?x4xf32>, %batch: !llm.batch) {
  // expected-error @+1 {{has 4 columns of keys, not a multiple of head_dim 3}}
  %kv1 = llm.kv_append %kv, %k, %k, %batch {layer = 0 : i64, head_dim = 3 : i64}
      : (!llm.kv_cache, tensor<?x4xf32>, tensor<?x4xf32>, !llm.batch) -> !llm.kv_cache
  return
}

// -----

func.func @attention_heads(%q: tensor<?x12xf32>, %kv: !llm.kv_cache, %batch: !llm.batch) {
  // expected-error @+1 {{shares 2 kv heads among 3 query heads, not a multiple}}
  %y = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 3 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 1.0 : f64}
      : (tensor<?x12xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x12xf32>
  return
}

// -----

func.func @attention_columns(%q: tensor<?x12xf32>, %kv: !llm.kv_cache, %batch: !llm.batch) {
  // expected-error @+1 {{has queries of 12 columns for 4 heads of 4}}
  %y = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 1.0 : f64}
      : (tensor<?x12xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x12xf32>
  return
}

// -----

llm.weight @w : tensor<8x4xbf16> from ["w"]
func.func @other_library(%x: tensor<?x4xbf16>) {
  // expected-error @+1 {{is for the library 'cutlass', expected cublaslt}}
  %y = llm.linear %x, @w {library = "cutlass"} : (tensor<?x4xbf16>) -> tensor<?x8xbf16>
  return
}

// -----

llm.weight @w : tensor<8x4xbf16> from ["w"]
func.func @library_of_two(%x: tensor<?x4xbf16>) {
  // expected-error @+1 {{is for the library 'cublaslt', which writes one result without a bias}}
  %y, %z = llm.linear %x, @w {library = "cublaslt"} : (tensor<?x4xbf16>) -> (tensor<?x4xbf16>, tensor<?x4xbf16>)
  return
}

// -----

llm.weight @w : tensor<8x4xbf16> from ["w"] {packing = #llm<packing atom_8x64>}
func.func @library_of_packed(%x: tensor<?x4xbf16>) {
  // expected-error @+1 {{is for the library 'cublaslt', which reads a weight that is plain and row_major; 'w' is stored otherwise}}
  %y = llm.linear %x, @w {library = "cublaslt"} : (tensor<?x4xbf16>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @attention_window(%q: tensor<?x16xf32>, %kv: !llm.kv_cache, %batch: !llm.batch) {
  // expected-error @+1 {{has a window of 0 positions, expected at least 1}}
  %y = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 1.0 : f64, window = 0 : i64}
      : (tensor<?x16xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x16xf32>
  return
}

// -----

func.func @gather_type(%x: tensor<?x4xf32>, %batch: !llm.batch) {
  // expected-error @+1 {{makes 'tensor<?x8xf32>' of 'tensor<?x4xf32>'}}
  %y = llm.gather_rows %x, %batch : (tensor<?x4xf32>, !llm.batch) -> tensor<?x8xf32>
  return
}

// -----

func.func @group_results(%x: tensor<?x4xf32>) {
  // expected-error @+1 {{has results ('tensor<?x8xf32>') but yields ('tensor<?x4xf32>')}}
  %y = llm.group "sum" family("rows") -> tensor<?x8xf32> {
    %a = llm.add %x, %x : tensor<?x4xf32>
    llm.yield %a : tensor<?x4xf32>
  }
  return
}

// -----

llm.weight @w : tensor<8xf32> from ["w"]
llm.weight @b : tensor<4xf32> from ["b"]
func.func @layer_norm_bias(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{reads 'b' of shape 4, expected 8}}
  %y = llm.layer_norm %x, @w bias @b {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

llm.weight @w : tensor<3xf32> from ["w"]
func.func @layer_norm_heads(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{reads 'w' of shape 3, expected 4}}
  %y = llm.layer_norm %x, @w {eps = 1.0e-5 : f64, group = 4 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @layer_norm_type(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{makes 'tensor<?x8xbf16>' of 'tensor<?x8xf32>'}}
  %y = llm.layer_norm %x {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @offset_of_nothing(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{has a weight_offset without a weight; use 'llm.scale' for a constant factor}}
  %y = llm.rms_norm %x {eps = 1.0e-5 : f64, weight_offset = 1.0 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

llm.weight @table : tensor<8x4xf32> from ["table"]
func.func @position_columns(%batch: !llm.batch) {
  // expected-error @+1 {{reads 'table' of shape 8x4, expected ?x2}}
  %x = llm.position_embedding %batch, @table : (!llm.batch) -> tensor<?x2xf32>
  return
}

// -----

llm.weight @table : tensor<8x4xf32> from ["table"]
func.func @position_offset(%batch: !llm.batch) {
  // expected-error @+1 {{begins at row 8 of 'table', which has 8}}
  %x = llm.position_embedding %batch, @table {offset = 8 : i64} : (!llm.batch) -> tensor<?x4xf32>
  return
}

// -----

llm.weight @table : tensor<8x4xf32> from ["table"]
func.func @position_before(%batch: !llm.batch) {
  // expected-error @+1 {{has the offset -1, expected at least 0}}
  %x = llm.position_embedding %batch, @table {offset = -1 : i64} : (!llm.batch) -> tensor<?x4xf32>
  return
}

// -----

func.func @scale_factor(%x: tensor<?x4xf32>) {
  // expected-error @+1 {{has the factor 0x7FF0000000000000 : f64, expected a finite number}}
  %y = llm.scale %x {factor = 0x7FF0000000000000 : f64} : tensor<?x4xf32>
  return
}

// -----

func.func @softcap_of_zero(%x: tensor<?x4xf32>) {
  // expected-error @+1 {{has the soft-cap 0.000000e+00 : f64, expected a finite number above 0}}
  %y = llm.softcap %x {cap = 0.0 : f64} : tensor<?x4xf32>
  return
}

// -----

func.func @attention_softcap(%q: tensor<?x16xf32>, %kv: !llm.kv_cache, %batch: !llm.batch) {
  // expected-error @+1 {{has the soft-cap -1.000000e+00 : f64, expected a finite number above 0}}
  %y = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 1.0 : f64, softcap = -1.0 : f64}
      : (tensor<?x16xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x16xf32>
  return
}

// -----

func.func @attention_slopes(%q: tensor<?x16xf32>, %kv: !llm.kv_cache, %batch: !llm.batch) {
  // expected-error @+1 {{has 3 slopes of ALiBi for 4 heads}}
  %y = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 1.0 : f64, alibi = array<f64: 0.5, 0.25, 0.125>}
      : (tensor<?x16xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x16xf32>
  return
}

// -----

llm.weight @sinks : tensor<2xf32> from ["sinks"]
func.func @attention_sinks(%q: tensor<?x16xf32>, %kv: !llm.kv_cache, %batch: !llm.batch) {
  // expected-error @+1 {{reads 'sinks' of shape 2, expected 4}}
  %y = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 1.0 : f64, sinks = @sinks}
      : (tensor<?x16xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x16xf32>
  return
}
