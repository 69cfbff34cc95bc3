// RUN: inlay-opt %s --split-input-file --llm-quantize-activations="target=sm_90a max-rows=2048" | FileCheck %s
// RUN: inlay-opt %s --split-input-file --llm-quantize-activations="target=sm_90a max-rows=2048" --llm-form-groups="target=sm_90a max-rows=2048" | FileCheck %s --check-prefix=GROUPS
// RUN: inlay-opt %s --split-input-file --llm-quantize-activations="target=sm_90a max-rows=8" | FileCheck %s --check-prefix=FEW
// RUN: inlay-opt %s --split-input-file --llm-quantize-activations="target=sm_90a max-rows=128" --llm-form-groups="target=sm_90a max-rows=128" | FileCheck %s --check-prefix=SWAPPED
// RUN: inlay-opt %s --split-input-file --llm-quantize-activations="target=sm_90a max-rows=256" --llm-form-groups="target=sm_90a max-rows=256" | FileCheck %s --check-prefix=MANY
// RUN: inlay-opt %s --split-input-file --llm-quantize-activations="target=sm_90a max-rows=2048" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Products of one value share its codes, which join the kernel of the norm. The rows of logits stay floats.
// CHECK-LABEL: func.func @tokens
// CHECK: %[[N:.*]] = llm.rms_norm
// CHECK-NEXT: %[[C:.*]], %[[S:.*]] = llm.quantize f8e4m3 %[[N]] : tensor<?x64xbf16> -> tensor<?x64xf8E4M3FN>, tensor<?x1xf32>
// CHECK-NEXT: llm.linear %[[C]] scales %[[S]], @w : (tensor<?x64xf8E4M3FN>, tensor<?x1xf32>) -> tensor<?x32xbf16>
// CHECK-NEXT: llm.linear %[[C]] scales %[[S]], @w
// CHECK: llm.linear %{{.*}}, @w : (tensor<?x64xbf16>) -> tensor<?x32xbf16>
// GROUPS-LABEL: func.func @tokens
// GROUPS: llm.group "norm" family("rows") -> tensor<?x64xf8E4M3FN>, tensor<?x1xf32> {
// GROUPS-NEXT: llm.rms_norm
// GROUPS-NEXT: llm.quantize
// GROUPS-NEXT: llm.yield
// GROUPS: llm.group "a" family("gemm")
// GROUPS: llm.group "head" family("generic")
// FEW-LABEL: func.func @tokens
// FEW-NOT: = llm.quantize
// REMARK: remark: {{.*}}activations are quantized to f8e4m3, with a scale for each row
// REMARK: remark: {{.*}}activations stay floats: a step has few rows of logits
llm.weight @norm : tensor<64xbf16> from ["norm"]
llm.weight @s : tensor<32x1xf32> from ["s"]
llm.weight @w : tensor<32x64xf8E4M3FN> from ["w"] {quantized = #llm.quantized<f8e4m3, scales = @s, group = 64, activations = <f8e4m3>>}
func.func @tokens(%ids: tensor<?xi32>, %x: tensor<?x64xbf16>, %batch: !llm.batch) -> (tensor<?x32xbf16>, tensor<?x32xbf16>, tensor<?x32xbf16>) {
  %n = llm.rms_norm %x, @norm {eps = 1.0e-6 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("norm")
  %a = llm.linear %n, @w : (tensor<?x64xbf16>) -> tensor<?x32xbf16> loc("a")
  %b = llm.linear %n, @w : (tensor<?x64xbf16>) -> tensor<?x32xbf16> loc("b")
  %g = llm.gather_rows %x, %batch : (tensor<?x64xbf16>, !llm.batch) -> tensor<?x64xbf16> loc("gather")
  %h = llm.rms_norm %g, @norm {eps = 1.0e-6 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("last")
  %c = llm.linear %h, @w : (tensor<?x64xbf16>) -> tensor<?x32xbf16> loc("head")
  return %a, %b, %c : tensor<?x32xbf16>, tensor<?x32xbf16>, tensor<?x32xbf16>
}

// -----

// A scale of the checkpoint.
// CHECK-LABEL: func.func @static
// CHECK: llm.quantize i8 %{{.*}} scale @in : tensor<?x64xbf16> -> tensor<?x64xi8>, tensor<?x1xf32>
// REMARK: remark: {{.*}}activations are quantized to i8, with the scale 'in' for all rows
llm.weight @in : tensor<1x1xf32> from ["in"]
llm.weight @s : tensor<32x1xf32> from ["s"]
llm.weight @w : tensor<32x64xi8> from ["w"] {quantized = #llm.quantized<i8, scales = @s, group = 64, activations = <i8, scale = @in>>}
func.func @static(%x: tensor<?x64xbf16>) -> tensor<?x32xbf16> {
  %a = llm.linear %x, @w : (tensor<?x64xbf16>) -> tensor<?x32xbf16>
  return %a : tensor<?x32xbf16>
}

// -----

// A scale for each 128 columns: products of one value share its codes, and a norm has them in its kernel. Weights with
// scales for groups of columns take scales of rows, too.
// CHECK-LABEL: func.func @blocks
// CHECK: %[[N:.*]] = llm.rms_norm
// CHECK-NEXT: %[[R:.*]], %[[RS:.*]] = llm.quantize f8e4m3 %[[N]] {packing = #llm<packing codes_16x128>} : tensor<?x256xbf16> -> tensor<?x256xf8E4M3FN>, tensor<?x1xf32>
// CHECK-NEXT: %[[C:.*]], %[[S:.*]] = llm.quantize f8e4m3 %[[N]] {group = 128 : i64, packing = #llm<packing codes_16x128>} : tensor<?x256xbf16> -> tensor<?x256xf8E4M3FN>, tensor<?x2xf32>
// CHECK-NEXT: llm.linear %[[C]] scales %[[S]], @w
// CHECK-NEXT: llm.linear %[[C]] scales %[[S]], @w
// CHECK-NEXT: llm.linear %[[R]] scales %[[RS]], @rows
// REMARK: remark: loc("a"): activations are quantized to f8e4m3, with a scale for each 128 columns
// REMARK: remark: loc("c"): activations are quantized to f8e4m3, with a scale for each row
// GROUPS-LABEL: func.func @blocks
// GROUPS: llm.group "norm" family("rows")
// GROUPS-NEXT: llm.rms_norm
// GROUPS-NEXT: llm.quantize
// GROUPS: llm.group "a" family("gemm")
// SWAPPED-LABEL: func.func @blocks
// SWAPPED: llm.group "a" family("swap_ab")
// FEW-LABEL: func.func @blocks
// FEW-NOT: = llm.quantize
llm.weight @norm : tensor<256xbf16> from ["norm"]
llm.weight @s : tensor<32x2xf32> from ["s"] {packing = #llm<packing rows_16>}
llm.weight @w : tensor<32x256xf8E4M3FN> from ["w"]
    {packing = #llm<packing codes_16x128>, quantized = #llm.quantized<f8e4m3, scales = @s, group = 128, activations = <f8e4m3, group = 128>>}
llm.weight @rows : tensor<32x256xf8E4M3FN> from ["rows"]
    {packing = #llm<packing codes_16x128>, quantized = #llm.quantized<f8e4m3, scales = @s, group = 128, activations = <f8e4m3>>}
func.func @blocks(%x: tensor<?x256xbf16>) -> (tensor<?x32xbf16>, tensor<?x32xbf16>, tensor<?x32xbf16>) {
  %n = llm.rms_norm %x, @norm {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16> loc("norm")
  %a = llm.linear %n, @w : (tensor<?x256xbf16>) -> tensor<?x32xbf16> loc("a")
  %b = llm.linear %n, @w : (tensor<?x256xbf16>) -> tensor<?x32xbf16> loc("b")
  %c = llm.linear %n, @rows : (tensor<?x256xbf16>) -> tensor<?x32xbf16> loc("c")
  return %a, %b, %c : tensor<?x32xbf16>, tensor<?x32xbf16>, tensor<?x32xbf16>
}

// -----

// CHECK-LABEL: func.func @refused
// CHECK-NOT: = llm.quantize
// REMARK: remark: {{.*}}activations stay floats: its format has a scale for each 64 columns, expected one for each row or for each 128
// REMARK: remark: {{.*}}activations stay floats: its rows have 192 columns, expected a multiple of 128
// REMARK: remark: {{.*}}activations stay floats: its format has a scale for each 128 columns of i8, expected f8e4m3
// REMARK: remark: {{.*}}activations stay floats: its weight has a scale for each row and its format one for each 128 columns, expected groups in both
// REMARK: remark: {{.*}}activations stay floats: its weight has a scale for each 128 columns, and is not packed as codes_16x128
// REMARK: remark: {{.*}}activations stay floats: its weight has a scale for each 32 columns of i8, expected one for each row, or f8e4m3 with multiples of 128
// REMARK: remark: {{.*}}activations stay floats: its weight has a scale for each 48 columns and its format one for each 128, expected multiples of each other
// REMARK: remark: {{.*}}activations stay floats: its scales of tokens have an upper bound
llm.weight @s : tensor<32x1xf32> from ["s"]
llm.weight @s2 : tensor<32x2xf32> from ["s2"]
llm.weight @s8 : tensor<32x8xf32> from ["s8"]
llm.weight @half : tensor<32x64xf8E4M3FN> from ["w"] {quantized = #llm.quantized<f8e4m3, scales = @s, group = 64, activations = <f8e4m3, group = 64>>}
llm.weight @part : tensor<32x192xf8E4M3FN> from ["w"] {quantized = #llm.quantized<f8e4m3, scales = @s, group = 192, activations = <f8e4m3, group = 128>>}
llm.weight @integers : tensor<32x256xi8> from ["w"] {quantized = #llm.quantized<i8, scales = @s2, group = 128, activations = <i8, group = 128>>}
llm.weight @rows : tensor<32x256xf8E4M3FN> from ["w"] {quantized = #llm.quantized<f8e4m3, scales = @s, group = 256, activations = <f8e4m3, group = 128>>}
llm.weight @unpacked : tensor<32x256xf8E4M3FN> from ["w"] {quantized = #llm.quantized<f8e4m3, scales = @s2, group = 128, activations = <f8e4m3, group = 128>>}
llm.weight @groups : tensor<32x64xi8> from ["v"] {quantized = #llm.quantized<i8, scales = @s2, group = 32, activations = <i8>>}
llm.weight @odd : tensor<32x384xf8E4M3FN> from ["w"] {quantized = #llm.quantized<f8e4m3, scales = @s8, group = 48, activations = <f8e4m3, group = 128>>}
llm.weight @bounded : tensor<32x64xf8E4M3FN> from ["u"] {quantized = #llm.quantized<f8e4m3, scales = @s, group = 64, activation_obstacle = "its scales of tokens have an upper bound">}
func.func @refused(%x: tensor<?x64xbf16>, %y: tensor<?x192xbf16>, %z: tensor<?x256xbf16>, %v: tensor<?x384xbf16>) {
  llm.linear %x, @half : (tensor<?x64xbf16>) -> tensor<?x32xbf16>
  llm.linear %y, @part : (tensor<?x192xbf16>) -> tensor<?x32xbf16>
  llm.linear %z, @integers : (tensor<?x256xbf16>) -> tensor<?x32xbf16>
  llm.linear %z, @rows : (tensor<?x256xbf16>) -> tensor<?x32xbf16>
  llm.linear %z, @unpacked : (tensor<?x256xbf16>) -> tensor<?x32xbf16>
  llm.linear %x, @groups : (tensor<?x64xbf16>) -> tensor<?x32xbf16>
  llm.linear %v, @odd : (tensor<?x384xbf16>) -> tensor<?x32xbf16>
  llm.linear %x, @bounded : (tensor<?x64xbf16>) -> tensor<?x32xbf16>
  return
}

// -----

// 132,112 products of 127 * 128 are more than an i32 holds.
// CHECK-LABEL: func.func @wide
// CHECK-NOT: = llm.quantize
// REMARK: remark: {{.*}}activations stay floats: its rows have 132112 columns, expected at most 132104 of i8, whose products are summed as i32
llm.weight @s : tensor<16x1xf32> from ["s"]
llm.weight @w : tensor<16x132112xi8> from ["w"] {quantized = #llm.quantized<i8, scales = @s, group = 132112, activations = <i8>>}
func.func @wide(%x: tensor<?x132112xbf16>) -> tensor<?x16xbf16> {
  %a = llm.linear %x, @w : (tensor<?x132112xbf16>) -> tensor<?x16xbf16>
  return %a : tensor<?x16xbf16>
}

// -----

// Packed codes of up to 128 rows are multiplied with the weights on the left.
// CHECK-LABEL: func.func @packed
// CHECK: llm.quantize
// FEW-LABEL: func.func @packed
// FEW-NOT: = llm.quantize
// MANY-LABEL: func.func @packed
// MANY: llm.group "a" family("gemm")
// SWAPPED-LABEL: func.func @packed
// SWAPPED: llm.quantize f8e4m3 %{{.*}} {packing = #llm<packing codes_16x128>}
// SWAPPED: llm.group "a" family("swap_ab")
llm.weight @s : tensor<64x1xf32> from ["s"]
llm.weight @w : tensor<64x128xf8E4M3FN> from ["w"]
    {packing = #llm<packing codes_16x128>, quantized = #llm.quantized<f8e4m3, scales = @s, group = 128, activations = <f8e4m3>>}
func.func @packed(%x: tensor<?x128xbf16>) -> tensor<?x64xbf16> {
  %a = llm.linear %x, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("a")
  return %a : tensor<?x64xbf16>
}
