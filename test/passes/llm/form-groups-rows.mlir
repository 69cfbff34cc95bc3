// RUN: inlay-opt %s --llm-form-groups | FileCheck %s --check-prefixes=CHECK,FUSED
// RUN: inlay-opt %s --llm-form-groups=separate-all | FileCheck %s --check-prefixes=CHECK,APART
// Row-wise ops around products and without one.

llm.weight @embed : tensor<32x8xf32> from ["embed"]
llm.weight @positions : tensor<32x8xf32> from ["positions"]
llm.weight @w : tensor<8x8xf32> from ["w"]
llm.weight @wide : tensor<16x8xf32> from ["wide"]
llm.weight @norm : tensor<8xf32> from ["norm"]

// Both lookups, their sum and its norm are one kernel.
// CHECK-LABEL: func.func @lookups
// FUSED: llm.group "embed" family("rows") -> tensor<?x8xf32> {
// FUSED-NEXT: llm.embedding
// FUSED-NEXT: llm.position_embedding
// FUSED-NEXT: llm.add
// FUSED-NEXT: llm.layer_norm
// FUSED-NEXT: llm.yield
// APART-COUNT-4: llm.group {{.*}} family("rows")
func.func @lookups(%tokens: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x8xf32> {
  %e = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x8xf32> loc("embed")
  %p = llm.position_embedding %batch, @positions : (!llm.batch) -> tensor<?x8xf32> loc("positions")
  %s = llm.add %e, %p : tensor<?x8xf32> loc("sum")
  %n = llm.layer_norm %s, @norm {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32> loc("norm")
  return %n : tensor<?x8xf32>
}

// A norm of what others read too is a kernel of its own.
// CHECK-LABEL: func.func @residual_stream
// FUSED: llm.group "embed" family("rows")
// FUSED-NEXT: llm.embedding
// FUSED-NEXT: llm.scale
// FUSED-NEXT: llm.yield
// FUSED: llm.group "norm" family("rows")
// FUSED-NEXT: llm.layer_norm
// FUSED-NEXT: llm.yield
func.func @residual_stream(%tokens: tensor<?xi32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %e = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x8xf32> loc("embed")
  %s = llm.scale %e {factor = 2.0 : f64} : tensor<?x8xf32> loc("scale")
  %n = llm.layer_norm %s, @norm {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32> loc("norm")
  return %s, %n : tensor<?x8xf32>, tensor<?x8xf32>
}

// The norm after a product needs whole rows; the residual joins the norm.
// CHECK-LABEL: func.func @post_norm
// FUSED: llm.group "product" family("gemm")
// FUSED-NEXT: llm.linear
// FUSED-NEXT: llm.yield
// FUSED: llm.group "norm" family("rows")
// FUSED-NEXT: llm.rms_norm
// FUSED-NEXT: llm.add
// FUSED-NEXT: llm.yield
// APART: llm.group "product" family("gemm")
// APART: llm.group "norm" family("rows")
// APART: llm.group "add" family("rows")
func.func @post_norm(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = llm.linear %x, @w : (tensor<?x8xf32>) -> tensor<?x8xf32> loc("product")
  %n = llm.rms_norm %y, @norm {eps = 1.0e-5 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32> loc("norm")
  %r = llm.add %x, %n : tensor<?x8xf32> loc("add")
  return %r : tensor<?x8xf32>
}

// Elementwise ops change the tile of a product before it is stored.
// CHECK-LABEL: func.func @epilogues
// FUSED: llm.group "product" family("gemm")
// FUSED-NEXT: llm.linear
// FUSED-NEXT: llm.activation gelu
// FUSED-NEXT: llm.scale
// FUSED-NEXT: llm.softcap
// FUSED-NEXT: llm.yield
func.func @epilogues(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = llm.linear %x, @w : (tensor<?x8xf32>) -> tensor<?x8xf32> loc("product")
  %a = llm.activation gelu %y : tensor<?x8xf32>
  %s = llm.scale %a {factor = 0.5 : f64} : tensor<?x8xf32>
  %c = llm.softcap %s {cap = 30.0 : f64} : tensor<?x8xf32>
  return %c : tensor<?x8xf32>
}

// A product of several results writes them as they are.
// CHECK-LABEL: func.func @several_results
// FUSED: llm.group "product" family("gemm")
// FUSED-NEXT: llm.linear
// FUSED-NEXT: llm.yield
// FUSED: llm.group "scale" family("rows")
// FUSED-NEXT: llm.scale
func.func @several_results(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %y:2 = llm.linear %x, @wide : (tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) loc("product")
  %s = llm.scale %y#0 {factor = 0.5 : f64} : tensor<?x8xf32> loc("scale")
  return %s, %y#1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// Attention and MLP side by side: the second product adds what the first has added.
// CHECK-LABEL: func.func @parallel
// FUSED: llm.group "attention" family("gemm")
// FUSED-NEXT: llm.linear
// FUSED-NEXT: llm.add
// FUSED-NEXT: llm.yield
// FUSED: llm.group "mlp" family("gemm")
// FUSED-NEXT: llm.linear
// FUSED-NEXT: llm.add
// FUSED-NEXT: llm.yield
func.func @parallel(%x: tensor<?x8xf32>, %n: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %a = llm.linear %n, @w : (tensor<?x8xf32>) -> tensor<?x8xf32> loc("attention")
  %m = llm.linear %n, @w : (tensor<?x8xf32>) -> tensor<?x8xf32> loc("mlp")
  %y = llm.add %x, %a : tensor<?x8xf32>
  %z = llm.add %y, %m : tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}
