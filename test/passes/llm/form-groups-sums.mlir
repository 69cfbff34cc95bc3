// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=8" | FileCheck %s --check-prefixes=CHECK,FEW
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=16" --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s --check-prefix=REMARKS
// RUN: FileCheck %s --check-prefixes=CHECK,SPLIT < %t
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=9000" --mlir-print-op-on-diagnostic=false 2>&1 | FileCheck %s --check-prefix=MANY
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=cpu max-rows=8" | FileCheck %s --check-prefix=APART
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=8 separate-all" | FileCheck %s --check-prefix=APART
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=8 sums-in-halves" --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s --check-prefix=BESIDE
// RUN: FileCheck %s --check-prefix=APART < %t
// A sum over ranks takes in what changes its tiles: the residual and, where the norm is split, its parts. Steps whose
// rows are summed in two hops keep them apart.

// REMARKS: loc("norm"): split: the kernel of its input scales columns and sums squares
// REMARKS: loc("residual"): fused into sum as epilogue: saves 512 bytes a row
// REMARKS: loc("norm.scale"): fused into sum as epilogue
// REMARKS: loc("norm.squares"): fused into sum as epilogue
// BESIDE: loc("residual"): not fused into sum: the option sums-in-halves keeps it apart
// MANY: loc("residual"): not fused into sum: steps of more than 8192 rows are summed in two hops
// CHECK-LABEL: func.func @layer
// FEW: %[[X:.*]] = llm.group "sum" family("collective") -> tensor<?x128xbf16> {
// SPLIT: %[[X:.*]]:3 = llm.group "sum" family("collective") -> tensor<?x128xbf16>, tensor<?x128xbf16>, tensor<?x2xf32> {
// CHECK-NEXT: llm.all_reduce
// CHECK-NEXT: llm.add
// SPLIT-NEXT: llm.scale_columns
// SPLIT-NEXT: llm.sum_of_squares
// CHECK-NEXT: llm.yield
// FEW: llm.group "norm" family("rows")
// FEW-NEXT: llm.rms_norm %[[X]]
// SPLIT: llm.linear %[[X]]#1, @w norm %[[X]]#2
// APART-LABEL: func.func @layer
// APART: llm.group "sum" family("collective")
// APART-NEXT: llm.all_reduce
// APART-NEXT: llm.yield
module attributes {llm.ranks = 2 : i64} {
llm.weight @norm : tensor<128xbf16> from ["norm"]
llm.weight @o : tensor<128x128xbf16> from ["o"]
llm.weight @w : tensor<64x128xbf16> from ["w"]
func.func @layer(%a: tensor<?x128xbf16>, %r: tensor<?x128xbf16>) -> (tensor<?x128xbf16>, tensor<?x64xbf16>) {
  %p = llm.linear %a, @o : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("o")
  %s = llm.all_reduce %p : tensor<?x128xbf16> loc("sum")
  %x = llm.add %r, %s : tensor<?x128xbf16> loc("residual")
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("y")
  return %x, %y : tensor<?x128xbf16>, tensor<?x64xbf16>
}
}

// -----

// A bias is added after the sum, by the same kernel. A norm of whole rows is a kernel of its own, and so is what reads it.
// CHECK-LABEL: func.func @bias
// CHECK: llm.group "sum" family("collective")
// CHECK-NEXT: llm.all_reduce
// CHECK-NEXT: llm.add_bias
// CHECK-NEXT: llm.yield
// CHECK: llm.group "norm" family("rows")
// CHECK-NEXT: llm.rms_norm
// CHECK-NEXT: llm.add
module attributes {llm.ranks = 2 : i64} {
llm.weight @b : tensor<128xbf16> from ["b"]
func.func @bias(%p: tensor<?x128xbf16>, %r: tensor<?x128xbf16>) -> tensor<?x128xbf16> {
  %s = llm.all_reduce %p : tensor<?x128xbf16> loc("sum")
  %t = llm.add_bias %s, @b : tensor<?x128xbf16> loc("bias")
  %n = llm.rms_norm %t {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %x = llm.add %r, %n : tensor<?x128xbf16> loc("residual")
  return %x : tensor<?x128xbf16>
}
}

// -----

// Rows that are not exchanged in whole words, and ops that also read what is computed later.
// REMARKS: loc("of_squares"): not fused into squares: its rows of 4 bytes are no multiple of 16
// CHECK-LABEL: func.func @apart
// CHECK: llm.group "squares" family("collective")
// CHECK-NEXT: llm.all_reduce
// CHECK-NEXT: llm.yield
// CHECK: llm.group "sum" family("collective")
// CHECK-NEXT: llm.all_reduce
// CHECK-NEXT: llm.yield
module attributes {llm.ranks = 2 : i64} {
llm.weight @o : tensor<128x128xbf16> from ["o"]
func.func @apart(%q: tensor<?x1xf32>, %p: tensor<?x128xbf16>) -> (tensor<?x1xf32>, tensor<?x128xbf16>) {
  %t = llm.all_reduce %q : tensor<?x1xf32> loc("squares")
  %u = llm.scale %t {factor = 2.0 : f64} : tensor<?x1xf32> loc("of_squares")
  %s = llm.all_reduce %p : tensor<?x128xbf16> loc("sum")
  %later = llm.linear %p, @o : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("later")
  %x = llm.add %s, %later : tensor<?x128xbf16> loc("residual")
  return %u, %x : tensor<?x1xf32>, tensor<?x128xbf16>
}
}

// -----

// The kernel of a sum adds the squares of 256 columns where these divide the row, otherwise of 64.
// CHECK-LABEL: func.func @parts_of_256
// SPLIT: llm.sum_of_squares %{{.*}} : (tensor<?x512xbf16>) -> tensor<?x2xf32>
module attributes {llm.ranks = 2 : i64} {
llm.weight @norm : tensor<512xbf16> from ["norm"]
llm.weight @o : tensor<512x128xbf16> from ["o"]
llm.weight @w : tensor<64x512xbf16> from ["w"]
func.func @parts_of_256(%a: tensor<?x128xbf16>, %r: tensor<?x512xbf16>) -> (tensor<?x512xbf16>, tensor<?x64xbf16>) {
  %p = llm.linear %a, @o : (tensor<?x128xbf16>) -> tensor<?x512xbf16> loc("o")
  %s = llm.all_reduce %p : tensor<?x512xbf16> loc("sum")
  %x = llm.add %r, %s : tensor<?x512xbf16> loc("residual")
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x512xbf16>) -> tensor<?x512xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x512xbf16>) -> tensor<?x64xbf16> loc("y")
  return %x, %y : tensor<?x512xbf16>, tensor<?x64xbf16>
}
}

// -----

// 192 columns are no multiple of 256.
// CHECK-LABEL: func.func @parts_of_64
// SPLIT: llm.sum_of_squares %{{.*}} : (tensor<?x192xbf16>) -> tensor<?x3xf32>
module attributes {llm.ranks = 2 : i64} {
llm.weight @norm : tensor<192xbf16> from ["norm"]
llm.weight @o : tensor<192x128xbf16> from ["o"]
llm.weight @w : tensor<64x192xbf16> from ["w"]
func.func @parts_of_64(%a: tensor<?x128xbf16>, %r: tensor<?x192xbf16>) -> (tensor<?x192xbf16>, tensor<?x64xbf16>) {
  %p = llm.linear %a, @o : (tensor<?x128xbf16>) -> tensor<?x192xbf16> loc("o")
  %s = llm.all_reduce %p : tensor<?x192xbf16> loc("sum")
  %x = llm.add %r, %s : tensor<?x192xbf16> loc("residual")
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x192xbf16>) -> tensor<?x192xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x192xbf16>) -> tensor<?x64xbf16> loc("y")
  return %x, %y : tensor<?x192xbf16>, tensor<?x64xbf16>
}
}

// -----

// What quantizes the norm of the new rows joins, too. A block has a whole row then, of up to 8192 columns. A norm that other ops
// read stays apart.
// REMARKS: loc("codes_norm"): fused into codes_sum as epilogue
// REMARKS: loc("codes_quantize"): fused into codes_sum as epilogue
// REMARKS: loc("read_norm"): not fused into read_sum: other ops than one that quantizes its result read it
// REMARKS: loc("wide_norm"): not fused into wide_sum: a block holds rows of up to 8192 columns, found 16384
// CHECK-LABEL: func.func @codes
// CHECK: llm.group "codes_sum" family("collective") -> tensor<?x128xbf16>, tensor<?x128xf8E4M3FN>, tensor<?x1xf32> {
// CHECK-NEXT: llm.all_reduce
// CHECK-NEXT: llm.add
// CHECK-NEXT: llm.rms_norm
// CHECK-NEXT: llm.quantize
// CHECK-NEXT: llm.yield
// CHECK: llm.group "read_sum" family("collective") -> tensor<?x128xbf16> {
// CHECK: llm.group "wide_sum" family("collective") -> tensor<?x16384xbf16> {
// APART-LABEL: func.func @codes
// APART: llm.group "codes_sum" family("collective") -> tensor<?x128xbf16> {
// APART-NEXT: llm.all_reduce
// APART-NEXT: llm.yield
module attributes {llm.ranks = 2 : i64} {
llm.weight @norm : tensor<128xbf16> from ["norm"]
llm.weight @wide_norm : tensor<16384xbf16> from ["wide_norm"]
func.func @codes(%p: tensor<?x128xbf16>, %r: tensor<?x128xbf16>, %w: tensor<?x16384xbf16>)
    -> (tensor<?x128xf8E4M3FN>, tensor<?x1xf32>, tensor<?x128xf8E4M3FN>, tensor<?x1xf32>, tensor<?x128xbf16>, tensor<?x16384xf8E4M3FN>, tensor<?x1xf32>,
        tensor<?x128xbf16>, tensor<?x16384xbf16>) {
  %s = llm.all_reduce %p : tensor<?x128xbf16> loc("codes_sum")
  %x = llm.add %r, %s : tensor<?x128xbf16> loc("codes_residual")
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("codes_norm")
  %c, %cs = llm.quantize f8e4m3 %n : tensor<?x128xbf16> -> tensor<?x128xf8E4M3FN>, tensor<?x1xf32> loc("codes_quantize")
  %s1 = llm.all_reduce %x : tensor<?x128xbf16> loc("read_sum")
  %x1 = llm.add %x, %s1 : tensor<?x128xbf16> loc("read_residual")
  %n1 = llm.rms_norm %x1, @norm {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("read_norm")
  %c1, %cs1 = llm.quantize f8e4m3 %n1 : tensor<?x128xbf16> -> tensor<?x128xf8E4M3FN>, tensor<?x1xf32> loc("read_quantize")
  %s2 = llm.all_reduce %w : tensor<?x16384xbf16> loc("wide_sum")
  %x2 = llm.add %w, %s2 : tensor<?x16384xbf16> loc("wide_residual")
  %n2 = llm.rms_norm %x2, @wide_norm {eps = 1.0e-5 : f64} : (tensor<?x16384xbf16>) -> tensor<?x16384xbf16> loc("wide_norm")
  %c2, %cs2 = llm.quantize f8e4m3 %n2 : tensor<?x16384xbf16> -> tensor<?x16384xf8E4M3FN>, tensor<?x1xf32> loc("wide_quantize")
  return %c, %cs, %c1, %cs1, %n1, %c2, %cs2, %x1, %x2 : tensor<?x128xf8E4M3FN>, tensor<?x1xf32>, tensor<?x128xf8E4M3FN>, tensor<?x1xf32>,
      tensor<?x128xbf16>, tensor<?x16384xf8E4M3FN>, tensor<?x1xf32>, tensor<?x128xbf16>, tensor<?x16384xbf16>
}
}
