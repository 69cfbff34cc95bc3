// RUN: inlay-opt %s | inlay-opt | FileCheck %s
// The syntax of quantized weights and of tensors that store several elements in a word.

// CHECK: llm.weight @s : tensor<8x2xf32> from [#llm.source<"scales", transposed, storage = #llm.storage<scale = 1.000000e+00 : f64>>]
llm.weight @s : tensor<8x2xf32> from [#llm.source<"scales", transposed, storage = #llm.storage<scale = 1.0 : f64>>]
// CHECK: llm.weight @z : tensor<8x2xf32> from [#llm.source<"qzeros", transposed, storage = #llm.storage<bits = 4, along_rows = true, order = awq, addend = 1, rows = 8>>]
llm.weight @z : tensor<8x2xf32> from [#llm.source<"qzeros", transposed, storage = #llm.storage<bits = 4, along_rows = true, order = awq, addend = 1, rows = 8>>]
// CHECK: {quantized = #llm.quantized<u4, scales = @s, zero_points = @z, group = 32>}
llm.weight @w : tensor<8x64xi4> from [#llm.source<"qweight", transposed, storage = #llm.storage<bits = 4>>]
    {quantized = #llm.quantized<u4, scales = @s, zero_points = @z, group = 32>}
// CHECK: llm.weight @absmax : tensor<8x1xf32> from [#llm.source<"absmax", storage = #llm.storage<flat = true, scale = 1.000000e+00 : f64, allows_zero = true>>]
llm.weight @absmax : tensor<8x1xf32> from [#llm.source<"absmax", storage = #llm.storage<flat = true, scale = 1.0 : f64, allows_zero = true>>]
// CHECK: {quantized = #llm.quantized<nf4, scales = @absmax, group = 64>}
llm.weight @nf4 : tensor<8x64xi4> from [#llm.source<"weight", storage = #llm.storage<flat = true, bits = 4, word = 8, order = high_first>>]
    {quantized = #llm.quantized<nf4, scales = @absmax, group = 64>}
// CHECK: llm.weight @f.scale : tensor<8x2xf32> from [#llm.source<"f", storage = #llm.storage<quantizer = <u4, group = 32, makes_scales = true>>>]
llm.weight @f.scale : tensor<8x2xf32> from [#llm.source<"f", storage = #llm.storage<quantizer = <u4, group = 32, makes_scales = true>>>]
// CHECK: llm.weight @f : tensor<8x64xi4> from [#llm.source<"f", transposed, storage = #llm.storage<quantizer = <u4, group = 32>>>]
llm.weight @f : tensor<8x64xi4> from [#llm.source<"f", transposed, storage = #llm.storage<quantizer = <u4, group = 32>>>]
    {quantized = #llm.quantized<u4, scales = @f.scale, zero_point = 8, group = 32>}
// CHECK: llm.weight @mx.scale : tensor<8x2xf32> from [#llm.source<"mx.weight_scale", storage = #llm.storage<scale = 1.000000e+00 : f64, exponents = true>>]
llm.weight @mx.scale : tensor<8x2xf32> from [#llm.source<"mx.weight_scale", storage = #llm.storage<scale = 1.0 : f64, exponents = true>>]
// CHECK: llm.weight @mx : tensor<8x64xf8E4M3FN> from [#llm.source<"mx.weight_packed", storage = #llm.storage<bits = 4, word = 8, floats = true>>]
llm.weight @mx : tensor<8x64xf8E4M3FN> from [#llm.source<"mx.weight_packed", storage = #llm.storage<bits = 4, word = 8, floats = true>>]
    {quantized = #llm.quantized<f8e4m3, scales = @mx.scale, group = 32>}

// Columns that were sorted before they were quantized.
// CHECK: llm.weight @order : tensor<1x64xi32> from [#llm.source<"g_idx", storage = #llm.storage<flat = true, column_order = <size = 32>>>]
llm.weight @order : tensor<1x64xi32> from [#llm.source<"g_idx", storage = #llm.storage<flat = true, column_order = <size = 32>>>]
// CHECK: llm.weight @sorted : tensor<8x64xi4> from [#llm.source<"qweight", transposed, storage = #llm.storage<bits = 4, column_order = <groups = "g_idx", size = 32>>>]
llm.weight @sorted : tensor<8x64xi4> from [#llm.source<"qweight", transposed, storage = #llm.storage<bits = 4, column_order = <groups = "g_idx", size = 32>>>]
    {quantized = #llm.quantized<u4, scales = @s, zero_points = @z, group = 32>}
// CHECK-LABEL: @gather
func.func @gather(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  // CHECK: llm.gather_columns %{{.*}}, @order : tensor<?x64xbf16>
  %y = llm.gather_columns %x, @order : tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}
