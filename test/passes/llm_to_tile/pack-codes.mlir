// RUN: inlay-opt %s --llm-pack-weights 2>&1 | FileCheck %s
// Codes are packed with the scales of their groups; scales of rows stay a vector. Groups that cut pieces of 16 bytes leave codes
// in rows.

// CHECK: remark: multiplies by 'cut', whose codes stay rows: 144 columns in groups of 48 are no multiples of 32
// CHECK: llm.weight @s_rows : tensor<64x1xf32> from ["s0"]{{$}}
// CHECK: llm.weight @s_groups : tensor<64x2xf32> from ["s1"] {packing = #llm<packing rows_16>}
// CHECK: llm.weight @s_cut : tensor<64x3xf32> from ["s2"]{{$}}
// CHECK: llm.weight @rows : tensor<64x256xi8> from ["a"] {packing = #llm<packing codes_16x128>
// CHECK: llm.weight @groups : tensor<64x256xi4> from ["b"] {packing = #llm<packing codes_16x128>
// CHECK: llm.weight @cut : tensor<64x144xi4> from ["c"] {quantized
llm.weight @s_rows : tensor<64x1xf32> from ["s0"]
llm.weight @s_groups : tensor<64x2xf32> from ["s1"]
llm.weight @s_cut : tensor<64x3xf32> from ["s2"]
llm.weight @rows : tensor<64x256xi8> from ["a"] {quantized = #llm.quantized<i8, scales = @s_rows, group = 256>}
llm.weight @groups : tensor<64x256xi4> from ["b"] {quantized = #llm.quantized<u4, scales = @s_groups, zero_point = 8, group = 128>}
llm.weight @cut : tensor<64x144xi4> from ["c"] {quantized = #llm.quantized<u4, scales = @s_cut, zero_point = 8, group = 48>}
func.func @step(%x: tensor<?x256xbf16>, %z: tensor<?x144xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>) {
  %0 = llm.linear %x, @rows : (tensor<?x256xbf16>) -> tensor<?x64xbf16>
  %1 = llm.linear %x, @groups : (tensor<?x256xbf16>) -> tensor<?x64xbf16>
  %2 = llm.linear %z, @cut : (tensor<?x144xbf16>) -> tensor<?x64xbf16>
  return %0, %1, %2 : tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>
}
