// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=16" --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s --check-prefix=REMARKS
// RUN: FileCheck %s < %t
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=8" | FileCheck %s --check-prefix=WHOLE
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=257" | FileCheck %s --check-prefix=WHOLE
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=16 separate-norms" | FileCheck %s --check-prefix=WHOLE
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=cpu max-rows=16" | FileCheck %s --check-prefix=WHOLE
// WHOLE-NOT: llm.scale_columns

// Both readers of the norm multiply by 1/rms; the product before it writes what they need.
// REMARKS: loc("norm"): split: the kernel of its input scales columns and sums squares, those that take it multiply their sums by 1/rms
// REMARKS: loc("norm.scale"): fused into o as epilogue
// REMARKS: loc("norm.squares"): fused into o as epilogue
// CHECK-LABEL: func.func @split
// CHECK: %[[O:.*]]:3 = llm.group "o" family("swap_ab") -> {{.*}} {
// CHECK: %[[X:.*]] = llm.add
// CHECK: %[[SCALED:.*]] = llm.scale_columns %[[X]], @norm {weight_offset = 1.000000e+00 : f64} : tensor<?x128xbf16>
// CHECK: %[[SQUARES:.*]] = llm.sum_of_squares %[[X]] : (tensor<?x128xbf16>) -> tensor<?x2xf32>
// CHECK: llm.yield %[[X]], %[[SCALED]], %[[SQUARES]]
// CHECK: llm.linear %[[O]]#1, @w norm %[[O]]#2 {eps = 1.000000e-05 : f64}
// CHECK: llm.linear %[[O]]#1, @o norm %[[O]]#2 {eps = 1.000000e-05 : f64}
// CHECK-NOT: llm.rms_norm
llm.weight @norm : tensor<128xbf16> from ["norm"]
llm.weight @o : tensor<128x128xbf16> from ["o"]
llm.weight @w : tensor<64x128xbf16> from ["w"]
func.func @split(%a: tensor<?x128xbf16>, %r: tensor<?x128xbf16>) -> (tensor<?x128xbf16>, tensor<?x64xbf16>, tensor<?x128xbf16>) {
  %p = llm.linear %a, @o : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("o")
  %x = llm.add %r, %p : tensor<?x128xbf16> loc("residual")
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64, weight_offset = 1.0 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("y")
  %z = llm.linear %n, @o : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("z")
  return %x, %y, %z : tensor<?x128xbf16>, tensor<?x64xbf16>, tensor<?x128xbf16>
}

// -----

// Without a weight the product takes the rows themselves.
// CHECK-LABEL: func.func @plain
// CHECK: %[[O:.*]]:2 = llm.group "o" family("swap_ab") -> {{.*}} {
// CHECK: llm.linear %[[O]]#0, @w norm %[[O]]#1
llm.weight @o : tensor<128x128xbf16> from ["o"]
llm.weight @w : tensor<64x128xbf16> from ["w"]
func.func @plain(%a: tensor<?x128xbf16>, %r: tensor<?x128xbf16>) -> (tensor<?x64xbf16>) {
  %p = llm.linear %a, @o : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("o")
  %x = llm.add %r, %p : tensor<?x128xbf16> loc("residual")
  %n = llm.rms_norm %x {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16> loc("y")
  return %y : tensor<?x64xbf16>
}

// -----

// Norms of rows that no product ends, of rows that are no whole parts, in f16 whose range x * weight may leave, and
// norms that others read too stay whole.
// CHECK-LABEL: func.func @whole
// CHECK-COUNT-4: llm.rms_norm
// CHECK-NOT: norm %
llm.weight @norm : tensor<128xbf16> from ["norm"]
llm.weight @norm16 : tensor<128xf16> from ["norm16"]
llm.weight @norm96 : tensor<96xbf16> from ["norm96"]
llm.weight @o : tensor<128x128xbf16> from ["o"]
llm.weight @o16 : tensor<128x128xf16> from ["o16"]
llm.weight @o96 : tensor<96x96xbf16> from ["o96"]
func.func @whole(%a: tensor<?x128xbf16>, %h: tensor<?x128xf16>, %s: tensor<?x96xbf16>) -> (tensor<?x128xbf16>, tensor<?x96xbf16>, tensor<?x128xf16>, tensor<?x128xbf16>, tensor<?x128xbf16>) {
  %n0 = llm.rms_norm %a, @norm {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16>
  %y0 = llm.linear %n0, @o : (tensor<?x128xbf16>) -> tensor<?x128xbf16>
  %p1 = llm.linear %s, @o96 : (tensor<?x96xbf16>) -> tensor<?x96xbf16>
  %x1 = llm.add %s, %p1 : tensor<?x96xbf16>
  %n1 = llm.rms_norm %x1, @norm96 {eps = 1.0e-5 : f64} : (tensor<?x96xbf16>) -> tensor<?x96xbf16>
  %y1 = llm.linear %n1, @o96 : (tensor<?x96xbf16>) -> tensor<?x96xbf16>
  %p2 = llm.linear %h, @o16 : (tensor<?x128xf16>) -> tensor<?x128xf16>
  %x2 = llm.add %h, %p2 : tensor<?x128xf16>
  %n2 = llm.rms_norm %x2, @norm16 {eps = 1.0e-5 : f64} : (tensor<?x128xf16>) -> tensor<?x128xf16>
  %y2 = llm.linear %n2, @o16 : (tensor<?x128xf16>) -> tensor<?x128xf16>
  %x3 = llm.add %a, %y0 : tensor<?x128xbf16>
  %n3 = llm.rms_norm %x3, @norm {eps = 1.0e-5 : f64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16>
  %y3 = llm.linear %n3, @o : (tensor<?x128xbf16>) -> tensor<?x128xbf16>
  return %y0, %y1, %y2, %y3, %n3 : tensor<?x128xbf16>, tensor<?x96xbf16>, tensor<?x128xf16>, tensor<?x128xbf16>, tensor<?x128xbf16>
}
