// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=1 sum-prologues" --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=IR < %t
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=1" --mlir-print-op-on-diagnostic=false 2>&1 | FileCheck %s --check-prefix=APART
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=1 sum-prologues sums-in-halves" --mlir-print-op-on-diagnostic=false 2>&1 | FileCheck %s --check-prefix=HALVES
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=2 sum-prologues" --mlir-print-op-on-diagnostic=false 2>&1 | FileCheck %s --check-prefix=ROWS
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=2" --mlir-print-op-on-diagnostic=false 2>&1 | FileCheck %s --check-prefix=ROWS
// With the option sum-prologues, in steps of one row, the kernel of a product receives the sum over ranks in front of its norm. The new residual, which
// others read, comes behind the result of the product.

// CHECK: loc("norm"): fused into y as prologue
// CHECK: loc("residual"): fused into y as prologue: saves 8192 bytes a row
// CHECK: loc("sum"): fused into y as prologue: saves 16384 bytes a row
// CHECK: loc("y"): one kernel (matvec): all_reduce, add, rms_norm, linear
// APART: loc("sum"): not fused into y: a kernel of its own receives it; the option sum-prologues joins them
// APART: llm.group "sum" family("collective")
// APART-NEXT: llm.all_reduce
// APART-NEXT: llm.add
// HALVES: loc("sum"): not fused into y: the option sums-in-halves keeps it apart
// HALVES: llm.group "sum" family("collective")
// HALVES-NEXT: llm.all_reduce
// HALVES-NEXT: llm.yield
// ROWS: loc("sum"): not fused into y: steps of more than 1 rows are summed by a kernel of their own
// IR-LABEL: func.func @layer
// IR: %[[P:.*]] = llm.group "o" family("matvec")
// IR: %[[Y:.*]]:2 = llm.group "y" family("matvec") -> tensor<?x64xbf16>, tensor<?x4096xbf16> {
// IR-NEXT: %[[S:.*]] = llm.all_reduce %[[P]]
// IR-NEXT: %[[X:.*]] = llm.add %{{.*}}, %[[S]]
// IR-NEXT: %[[N:.*]] = llm.rms_norm %[[X]]
// IR-NEXT: %[[L:.*]] = llm.linear %[[N]]
// IR-NEXT: llm.yield %[[L]], %[[X]]
// IR: return %[[Y]]#1, %[[Y]]#0
module attributes {llm.ranks = 2 : i64} {
llm.weight @norm : tensor<4096xbf16> from ["norm"]
llm.weight @o : tensor<4096x64xbf16> from ["o"]
llm.weight @w : tensor<64x4096xbf16> from ["w"]
func.func @layer(%a: tensor<?x64xbf16>, %r: tensor<?x4096xbf16>) -> (tensor<?x4096xbf16>, tensor<?x64xbf16>) {
  %p = llm.linear %a, @o : (tensor<?x64xbf16>) -> tensor<?x4096xbf16> loc("o")
  %s = llm.all_reduce %p : tensor<?x4096xbf16> loc("sum")
  %x = llm.add %r, %s : tensor<?x4096xbf16> loc("residual")
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x4096xbf16>) -> tensor<?x4096xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x4096xbf16>) -> tensor<?x64xbf16> loc("y")
  return %x, %y : tensor<?x4096xbf16>, tensor<?x64xbf16>
}
}

// -----

// All blocks of the product read the rows of all ranks.
// CHECK: loc("sum"): not fused into y: its blocks would read 131072 bytes more each, which takes 6100 ns, a kernel of the sum 2300
module attributes {llm.ranks = 8 : i64} {
llm.weight @norm : tensor<8192xbf16> from ["norm"]
llm.weight @o : tensor<8192x64xbf16> from ["o"]
llm.weight @w : tensor<4096x8192xbf16> from ["w"]
func.func @ranks(%a: tensor<?x64xbf16>, %r: tensor<?x8192xbf16>) -> tensor<?x4096xbf16> {
  %p = llm.linear %a, @o : (tensor<?x64xbf16>) -> tensor<?x8192xbf16> loc("o")
  %s = llm.all_reduce %p : tensor<?x8192xbf16> loc("sum")
  %x = llm.add %r, %s : tensor<?x8192xbf16> loc("residual")
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x8192xbf16>) -> tensor<?x8192xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x8192xbf16>) -> tensor<?x4096xbf16> loc("y")
  return %y : tensor<?x4096xbf16>
}
}

// -----

// CHECK: loc("sum"): not fused into y: its norm subtracts the mean, which takes the rows twice
module attributes {llm.ranks = 2 : i64} {
llm.weight @o : tensor<128x64xbf16> from ["o"]
llm.weight @w : tensor<64x128xbf16> from ["w"]
func.func @mean(%a: tensor<?x64xbf16>, %r: tensor<?x128xbf16>) -> tensor<?x64xbf16> {
  %p = llm.linear %a, @o : (tensor<?x64xbf16>) -> tensor<?x128xbf16> loc("o")
  %s = llm.all_reduce %p : tensor<?x128xbf16> loc("sum")
  %x = llm.add %r, %s : tensor<?x128xbf16> loc("residual")
  %n = llm.layer_norm %x {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("y")
  return %y : tensor<?x64xbf16>
}
}

// -----

// CHECK: loc("sum"): not fused into y: 'early' reads it before the product
module attributes {llm.ranks = 2 : i64} {
llm.weight @o : tensor<128x64xbf16> from ["o"]
llm.weight @w : tensor<64x128xbf16> from ["w"]
func.func @read(%a: tensor<?x64xbf16>, %r: tensor<?x128xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
  %p = llm.linear %a, @o : (tensor<?x64xbf16>) -> tensor<?x128xbf16> loc("o")
  %s = llm.all_reduce %p : tensor<?x128xbf16> loc("sum")
  %x = llm.add %r, %s : tensor<?x128xbf16> loc("residual")
  %early = llm.linear %x, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("early")
  %n = llm.rms_norm %x {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("y")
  return %early, %y : tensor<?x64xbf16>, tensor<?x64xbf16>
}
}

// -----

// CHECK: loc("sum"): not fused into y: no kernel of a linear layer pushes its rows
module attributes {llm.ranks = 2 : i64} {
llm.weight @w : tensor<64x128xbf16> from ["w"]
func.func @given(%p: tensor<?x128xbf16>, %r: tensor<?x128xbf16>) -> tensor<?x64xbf16> {
  %s = llm.all_reduce %p : tensor<?x128xbf16> loc("sum")
  %x = llm.add %r, %s : tensor<?x128xbf16> loc("residual")
  %n = llm.rms_norm %x {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("y")
  return %y : tensor<?x64xbf16>
}
}

// -----

// CHECK: loc("sum"): not fused into y: the kernel of its rows has other results
module attributes {llm.ranks = 2 : i64} {
llm.weight @o : tensor<128x64xbf16> from ["o"]
llm.weight @w : tensor<64x128xbf16> from ["w"]
func.func @other_results(%a: tensor<?x64xbf16>, %r: tensor<?x128xbf16>) -> (tensor<?x128xbf16>, tensor<?x64xbf16>) {
  %p = llm.linear %a, @o : (tensor<?x64xbf16>) -> tensor<?x128xbf16> loc("o")
  %s = llm.all_reduce %p : tensor<?x128xbf16> loc("sum")
  %x = llm.add %r, %s : tensor<?x128xbf16> loc("residual")
  %n = llm.rms_norm %x {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("y")
  return %p, %y : tensor<?x128xbf16>, tensor<?x64xbf16>
}
}

// -----

// CHECK: loc("sum"): not fused into y: the ranks exchange other rows before it
module attributes {llm.ranks = 2 : i64} {
llm.weight @o : tensor<128x64xbf16> from ["o"]
llm.weight @w : tensor<64x128xbf16> from ["w"]
func.func @exchanged(%a: tensor<?x64xbf16>, %q: tensor<?x128xbf16>) -> (tensor<?x128xbf16>, tensor<?x64xbf16>) {
  %p = llm.linear %a, @o : (tensor<?x64xbf16>) -> tensor<?x128xbf16> loc("o")
  %other = llm.all_reduce %q : tensor<?x128xbf16> loc("other")
  %s = llm.all_reduce %p : tensor<?x128xbf16> loc("sum")
  %x = llm.add %q, %s : tensor<?x128xbf16> loc("residual")
  %n = llm.rms_norm %x {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("y")
  return %other, %y : tensor<?x128xbf16>, tensor<?x64xbf16>
}
}
