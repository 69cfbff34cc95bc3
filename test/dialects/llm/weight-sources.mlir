// RUN: inlay-opt %s | inlay-opt | FileCheck %s
// What a weight may be made of: whole tensors, rows of fused tensors, transposed tensors, rows of interleaved rope.

// CHECK: llm.weight @whole : tensor<4x2xf32> from ["a", #llm.source<"b">]
llm.weight @whole : tensor<4x2xf32> from ["a", #llm.source<"b">]
// CHECK: llm.weight @k : tensor<4x2xf32> from [#llm.source<"qkv", block = 6, offset = 2, count = 2>]
llm.weight @k : tensor<4x2xf32> from [#llm.source<"qkv", block = 6, offset = 2, count = 2>]
// Parameters may come in any order; they are applied in one.
// CHECK: llm.weight @q : tensor<64x2xf32> from [#llm.source<"c_attn", transposed, block = 192, offset = 0, count = 64, deinterleave = [16, 8]>]
llm.weight @q : tensor<64x2xf32> from [#llm.source<"c_attn", deinterleave = [16, 8], count = 64, block = 192, offset = 0, transposed>]
