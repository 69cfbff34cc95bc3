// RUN: inlay-opt %s --split-input-file --verify-diagnostics

llm.weight @s : tensor<8x2xf32> from ["s"]
// expected-error @+1 {{has codes u4, which are a matrix of 'i4', found 'tensor<8x64xi8>'}}
llm.weight @w : tensor<8x64xi8> from ["w"] {quantized = #llm.quantized<u4, scales = @s, group = 32>}

// -----

// expected-error @+1 {{reads 's', expected the name of an llm.weight}}
llm.weight @w : tensor<8x64xi4> from ["w"] {quantized = #llm.quantized<u4, scales = @s, group = 32>}

// -----

llm.weight @s : tensor<8x2xf32> from ["s"]
// expected-error @+1 {{reads 's' of shape 8x2, expected 8x4}}
llm.weight @w : tensor<8x64xi4> from ["w"] {quantized = #llm.quantized<u4, scales = @s, group = 16>}

// -----

llm.weight @s : tensor<8x2xbf16> from ["s"]
// expected-error @+1 {{reads 's' of 'tensor<8x2xbf16>', expected f32}}
llm.weight @w : tensor<8x64xi4> from ["w"] {quantized = #llm.quantized<u4, scales = @s, group = 32>}

// -----

llm.weight @s : tensor<8x2xf32> from ["s"]
// expected-error @+1 {{is stored in another row order than 's'}}
llm.weight @w : tensor<8x64xi4> from ["w"]
    {quantized = #llm.quantized<u4, scales = @s, group = 32>, row_order = #llm<row_order half_pairs>, head_dim = 4 : i64}

// -----

llm.weight @s : tensor<8x2xf32> from ["s"]
llm.weight @w : tensor<8x64xi4> from ["w"] {quantized = #llm.quantized<u4, scales = @s, group = 32>}
func.func @embed(%ids: tensor<?xi32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{reads 'w', which is quantized; expected a weight of floats}}
  %x = llm.embedding %ids, @w : (tensor<?xi32>) -> tensor<?x64xf32>
  return %x : tensor<?x64xf32>
}

// -----

// expected-error @+1 {{a scale is for 0 columns, expected at least 1}}
llm.weight @w : tensor<8x64xi4> from ["w"] {quantized = #llm.quantized<u4, scales = @s, group = 0>}

// -----

// expected-error @+1 {{a weight has zero points in 'z' or one for all, found both}}
llm.weight @w : tensor<8x64xi4> from ["w"] {quantized = #llm.quantized<u4, scales = @s, zero_points = @z, zero_point = 8, group = 32>}

// -----

// expected-error @+1 {{fields have 3 bits, expected 4 or 8}}
llm.weight @w : tensor<8x64xf32> from [#llm.source<"w", storage = #llm.storage<bits = 3>>]

// -----

// expected-error @+1 {{the order awq is that of 8 fields of 4 bits, found words of 32 and fields of 8}}
llm.weight @w : tensor<8x64xf32> from [#llm.source<"w", storage = #llm.storage<bits = 8, order = awq>>]

// -----

// expected-error @+1 {{a storage without bits has no fields, and nothing to say of them}}
llm.weight @w : tensor<8x64xf32> from [#llm.source<"w", storage = #llm.storage<addend = 1>>]

// -----

// expected-error @+1 {{scales are multiplied by a finite number that is not 0}}
llm.weight @w : tensor<8x64xf32> from [#llm.source<"w", storage = #llm.storage<scale = 0.0 : f64>>]

// -----

// expected-error @+1 {{a quantizer makes codes of u4, i8 or f8e4m3, found nf4}}
#q = #llm.quantizer<nf4, group = 32>

// -----

// expected-error @+1 {{a quantizer has groups of 0 columns, expected at least 1}}
#q = #llm.quantizer<u4, group = 0>

// -----

// expected-error @+1 {{nested scales have blocks of 0 codes, expected at least 1}}
#n = #llm.nested<table = "t", scales = "s", block = 0, offset = 0.0 : f64>

// -----

// expected-error @+1 {{nested scales are stored one by one, found a storage without a scale}}
llm.weight @w : tensor<8x64xf32> from [#llm.source<"w", storage = #llm.storage<flat = true, nested = <table = "t", scales = "s", block = 256, offset = 0.0 : f64>>>]

// -----

// expected-error @+1 {{a quantizer reads floats one by one, found a storage of fields, repeated rows or scales}}
llm.weight @w : tensor<8x64xi4> from [#llm.source<"w", storage = #llm.storage<bits = 4, quantizer = <u4, group = 32>>>]

// -----

// expected-error @+1 {{floats are fields of 4 bits along rows to which nothing is added, found 8 bits}}
llm.weight @w : tensor<8x64xf8E4M3FN> from [#llm.source<"w", storage = #llm.storage<bits = 8, word = 8, floats = true>>]

// -----

// expected-error @+1 {{exponents stand for scales one by one, found a storage without a scale}}
llm.weight @w : tensor<8x64xf32> from [#llm.source<"w", storage = #llm.storage<exponents = true>>]

// -----

// expected-error @+1 {{columns are in groups of 0, expected at least 1}}
#o = #llm.column_order<groups = "g_idx", size = 0>

// -----

// expected-error @+1 {{a storage with an order of columns has codes, found scales, floats or fields along rows}}
llm.weight @w : tensor<8x64xf32> from [#llm.source<"w", storage = #llm.storage<scale = 1.0 : f64, column_order = <groups = "g_idx", size = 32>>>]

// -----

// expected-error @+1 {{a storage that is an order of columns is flat, and nothing else}}
llm.weight @w : tensor<1x64xi32> from [#llm.source<"g_idx", storage = #llm.storage<column_order = <size = 32>>>]

// -----

llm.weight @order : tensor<1x32xi32> from [#llm.source<"g_idx", storage = #llm.storage<flat = true, column_order = <size = 32>>>]
func.func @columns(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{reads 'order' of shape 1x32, expected 1x64}}
  %y = llm.gather_columns %x, @order : tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

llm.weight @order : tensor<1x64xf32> from ["order"]
func.func @floats(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{reads 'order' of 'tensor<1x64xf32>', expected i32}}
  %y = llm.gather_columns %x, @order : tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
