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
