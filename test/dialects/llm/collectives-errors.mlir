// RUN: inlay-opt %s --split-input-file --verify-diagnostics

func.func @early(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  // expected-error @+1 {{is early and not pushed; expected rows that the kernel before pushes (llm-push-sums)}}
  %y = llm.all_reduce %x early : tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @gather(%x: tensor<?x2xf32>) -> tensor<?x5xf32> {
  // expected-error @+1 {{makes 5 columns of 2 on each of 1 ranks, expected at most 2}}
  %y = llm.all_gather %x : (tensor<?x2xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// -----

func.func @gather(%x: tensor<?x2xf32>) -> tensor<?x2xbf16> {
  // expected-error @+1 {{makes 'tensor<?x2xbf16>' of 'tensor<?x2xf32>'}}
  %y = llm.all_gather %x : (tensor<?x2xf32>) -> tensor<?x2xbf16>
  return %y : tensor<?x2xbf16>
}

// -----

llm.weight @bias : tensor<3xf32> from ["bias"]
func.func @bias_of_others(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  // expected-error @+1 {{reads 'bias' of shape 3, expected 2}}
  %y = llm.add_bias %x, @bias : tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @squares(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  // expected-error @+1 {{has sums of squares 'tensor<?x2xf32>' of 'tensor<?x3xf32>', expected an f32 for each of equal parts of a row}}
  %y = llm.sum_of_squares %x : (tensor<?x3xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @rounded_squares(%x: tensor<?x2xbf16>) -> tensor<?x1xbf16> {
  // expected-error @+1 {{has sums of squares 'tensor<?x1xbf16>' of 'tensor<?x2xbf16>', expected an f32 for each of equal parts of a row}}
  %y = llm.sum_of_squares %x : (tensor<?x2xbf16>) -> tensor<?x1xbf16>
  return %y : tensor<?x1xbf16>
}

// -----

func.func @parts(%x: tensor<?x2xf32>, %squares: tensor<?x2xf32>) -> tensor<?x2xf32> {
  // expected-error @+1 {{has sums of squares 'tensor<?x2xf32>', expected tensor<?x1xf32>}}
  %y = llm.rms_scale %x, %squares {eps = 0.0 : f64, columns = 2 : i64} : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

llm.weight @short : tensor<3xf32> from ["short"]
func.func @scale_columns(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  // expected-error @+1 {{reads 'short' of shape 3, expected 2}}
  %y = llm.scale_columns %x, @short : tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

llm.weight @w : tensor<3x2xf32> from ["w"]
func.func @without_squares(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  // expected-error @+1 {{has sums of squares or an eps, expected both, no scales and no library}}
  %y = llm.linear %x, @w {eps = 0.0 : f64} : (tensor<?x2xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

llm.weight @w : tensor<3x2xf32> from ["w"]
func.func @without_eps(%x: tensor<?x2xf32>, %squares: tensor<?x1xf32>) -> tensor<?x3xf32> {
  // expected-error @+1 {{has sums of squares or an eps, expected both, no scales and no library}}
  %y = llm.linear %x, @w norm %squares : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

func.func @scale(%x: tensor<?x2xf32>, %squares: tensor<?x1xf32>) -> tensor<?x2xf32> {
  // expected-error @+1 {{has 2 of 1 columns of a row}}
  %y = llm.rms_scale %x, %squares {eps = 0.0 : f64, columns = 1 : i64} : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// expected-error @+1 {{a shard is one of 0 parts, expected at least 1}}
llm.weight @w : tensor<2xf32> from [#llm.source<"w", shard = #llm.shard<rows, parts = 0>>]

// -----

// expected-error @+1 {{a shard has parts of 4 columns; only parts of rows have a size, above 0}}
llm.weight @w : tensor<2x2xf32> from [#llm.source<"w", shard = #llm.shard<columns, parts = 2, size = 4>>]

// -----

// expected-error @+1 {{a source is part 2 of 2 of its weight's rows; only rows without a size have parts 0 to 1}}
llm.weight @w : tensor<2x2xf32> from [#llm.source<"w", shard = #llm.shard<rows, parts = 2, index = 2>>]

// -----

module attributes {llm.ranks = 4 : i64} {
  // expected-error @+1 {{has a source of 3 parts on 4 ranks, expected a divisor}}
  llm.weight @w : tensor<2xf32> from [#llm.source<"w", shard = #llm.shard<rows, parts = 3>>]
}

// -----

module attributes {llm.ranks = 2 : i64} {
  // expected-error @+1 {{divides columns, but is a vector: 'tensor<2xf32>'}}
  llm.weight @w : tensor<2xf32> from [#llm.source<"w", shard = #llm.shard<columns, parts = 2>>]
}

// -----

module attributes {llm.ranks = 2 : i64} {
  func.func @slopes(%q: tensor<?x8xf32>, %kv: !llm.kv_cache, %batch: !llm.batch) -> tensor<?x8xf32> {
    // expected-error @+1 {{has 3 slopes of ALiBi for 4 heads}}
    %y = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, head_dim = 4 : i64,
        scale = 1.0 : f64, alibi = array<f64: 1.0, 0.5, 0.25>} : (tensor<?x8xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }
}

// -----

func.func @candidate(%x: tensor<?x2xf32>, %batch: !llm.batch) -> tensor<?x2xf32> {
  // expected-error @+1 {{has a vocabulary of 16777217 tokens, expected 1 to 16777216}}
  %y = llm.sample_candidate %x, %batch {vocabulary = 16777217 : i64} : (tensor<?x2xf32>, !llm.batch) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @candidate_columns(%x: tensor<?x2xf32>, %batch: !llm.batch) -> tensor<?x3xf32> {
  // expected-error @+1 {{makes 'tensor<?x3xf32>', expected a score and a token id, tensor<?x2xf32>}}
  %y = llm.sample_candidate %x, %batch {vocabulary = 2 : i64} : (tensor<?x2xf32>, !llm.batch) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

func.func @merge(%x: tensor<?x3xf32>) -> tensor<?xi32> {
  // expected-error @+1 {{takes 'tensor<?x3xf32>', expected two columns of f32 for each rank}}
  %y = llm.sample_merge %x : (tensor<?x3xf32>) -> tensor<?xi32>
  return %y : tensor<?xi32>
}
