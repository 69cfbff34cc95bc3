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
