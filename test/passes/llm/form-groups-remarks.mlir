// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=1" --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=IR < %t
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=257" --mlir-print-op-on-diagnostic=false -o /dev/null 2>&1 | FileCheck %s --check-prefix=GEMM
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=8" --mlir-print-op-on-diagnostic=false -o /dev/null 2>&1 | FileCheck %s --check-prefix=ROWS
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=cpu max-rows=8" --mlir-print-op-on-diagnostic=false -o /dev/null 2>&1 | FileCheck %s --check-prefix=CPU
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=1 separate-norms" --mlir-print-op-on-diagnostic=false -o /dev/null 2>&1 | FileCheck %s --check-prefix=APART

// x has 64 columns of 2 bytes. Fusion saves writing and reading the normalized row and the product before the add.
// CHECK: loc("norm"): fused into proj as prologue: saves 256 bytes a row
// CHECK: loc("residual"): fused into proj as epilogue: saves 256 bytes a row
// CHECK: loc("proj"): one kernel (matvec): rms_norm, linear, add; reads 8320 bytes of weights; saves 512 bytes a row
// GEMM: loc("norm"): not fused into proj: TMA stages the activations of the family gemm, and cannot change them
// GEMM: loc("proj"): one kernel (gemm): linear, add; reads 8192 bytes of weights; saves 256 bytes a row
// GEMM: loc("norm"): one kernel (rows): rms_norm; reads 128 bytes of weights
// APART: loc("norm"): not fused into proj: the option separate-norms keeps it apart
// APART: loc("norm"): one kernel (rows): rms_norm
llm.weight @norm : tensor<64xbf16> from ["norm"]
llm.weight @w : tensor<64x64xbf16> from ["w"]
func.func @fused(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("proj")
  %z = llm.add %x, %y : tensor<?x64xbf16> loc("residual")
  return %z : tensor<?x64xbf16>
}

// -----

// The product has another user, so it must be stored. Fusion saves only one read. The group yields both results.
// CHECK: loc("residual"): fused into proj as epilogue: saves 128 bytes a row
// IR-LABEL: @written
// IR: llm.yield %{{.*}}, %{{.*}} : tensor<?x64xbf16>, tensor<?x64xbf16>
llm.weight @w : tensor<64x64xbf16> from ["w"]
func.func @written(%x: tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
  %y = llm.linear %x, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("proj")
  %z = llm.add %x, %y : tensor<?x64xbf16> loc("residual")
  return %y, %z : tensor<?x64xbf16>, tensor<?x64xbf16>
}

// -----

// CHECK: loc("norm"): not fused into first: its result is read elsewhere too
// CHECK: loc("norm"): not fused into second: its result is read elsewhere too
llm.weight @norm : tensor<64xbf16> from ["norm"]
llm.weight @a : tensor<64x64xbf16> from ["a"]
llm.weight @b : tensor<64x64xbf16> from ["b"]
func.func @shared(%x: tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("norm")
  %y = llm.linear %n, @a : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("first")
  %z = llm.linear %n, @b : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("second")
  return %y, %z : tensor<?x64xbf16>, tensor<?x64xbf16>
}

// -----

// The norm of a product needs whole rows of the product.
// CHECK: loc("norm"): not fused into proj: its result needs more than one tile of it
llm.weight @norm : tensor<64xbf16> from ["norm"]
llm.weight @w : tensor<64x64xbf16> from ["w"]
func.func @after(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %y = llm.linear %x, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("proj")
  %n = llm.rms_norm %y, @norm {eps = 1.0e-5 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("norm")
  return %n : tensor<?x64xbf16>
}

// -----

// CHECK: loc("activation"): not fused into up: it also reads 'gate'
llm.weight @g : tensor<64x64xbf16> from ["g"]
llm.weight @u : tensor<64x64xbf16> from ["u"]
func.func @other_operand(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %g = llm.linear %x, @g : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("gate")
  %u = llm.linear %x, @u : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("up")
  %y = llm.gated_activation silu %g, %u : tensor<?x64xbf16> loc("activation")
  return %y : tensor<?x64xbf16>
}

// -----

// Each thread would hold 128 of the norm's 32768 weights and as many elements of the row: too many registers.
// CHECK: loc("norm"): not fused into proj: a thread has no registers for its part of its weight beside the row of 'w'
llm.weight @norm : tensor<32768xbf16> from ["norm"]
llm.weight @w : tensor<64x32768xbf16> from ["w"]
func.func @wide(%x: tensor<?x32768xbf16>) -> tensor<?x64xbf16> {
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x32768xbf16>) -> tensor<?x32768xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x32768xbf16>) -> tensor<?x64xbf16> loc("proj")
  return %y : tensor<?x64xbf16>
}

// -----

// Streaming supports only elements of 16 bits.
// CHECK: loc("single"): one kernel (gemm): linear
llm.weight @w : tensor<64x64xf32> from ["w"]
func.func @single(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = llm.linear %x, @w : (tensor<?x64xf32>) -> tensor<?x64xf32> loc("single")
  return %y : tensor<?x64xf32>
}

// -----

// A norm that subtracts the mean joins where others do. Several rows of few columns are not scaled while they are read.
// CHECK: loc("norm"): fused into proj as prologue: saves 256 bytes a row
// CHECK: loc("proj"): one kernel (matvec): layer_norm, linear; reads 8448 bytes of weights; saves 256 bytes a row
// GEMM: loc("norm"): not fused into proj: TMA stages the activations of the family gemm, and cannot change them
// ROWS: loc("norm"): not fused into proj: TMA stages the activations of the family swap_ab, and cannot change them
// CPU: loc("norm"): fused into proj as prologue: saves 256 bytes a row
// CPU: loc("proj"): one kernel (gemm): layer_norm, linear; reads 8448 bytes of weights; saves 256 bytes a row
llm.weight @norm : tensor<64xbf16> from ["norm"]
llm.weight @bias : tensor<64xbf16> from ["bias"]
llm.weight @w : tensor<64x64xbf16> from ["w"]
func.func @mean(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %n = llm.layer_norm %x, @norm bias @bias {eps = 1.0e-5 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("proj")
  return %y : tensor<?x64xbf16>
}

// -----

// ROWS: loc("norm"): fused into proj as prologue: saves 16384 bytes a row
// ROWS: loc("proj"): one kernel (matvec): layer_norm, linear; reads 524288 bytes of weights; saves 16384 bytes a row
llm.weight @w : tensor<64x4096xbf16> from ["w"]
func.func @mean_of_wide_rows(%x: tensor<?x4096xbf16>) -> tensor<?x64xbf16> {
  %n = llm.layer_norm %x {eps = 1.0e-5 : f64} : (tensor<?x4096xbf16>) -> tensor<?x4096xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x4096xbf16>) -> tensor<?x64xbf16> loc("proj")
  return %y : tensor<?x64xbf16>
}

// -----

// Without a weight it changes rows all the same.
// ROWS: loc("norm"): not fused into proj: TMA stages the activations of the family swap_ab, and cannot change them
llm.weight @w : tensor<64x64xbf16> from ["w"]
func.func @mean_alone(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %n = llm.layer_norm %x {eps = 1.0e-5 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("norm")
  %y = llm.linear %n, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("proj")
  return %y : tensor<?x64xbf16>
}

// -----

// Rows are taken from what the norm gives.
// CHECK: loc("gather"): fused into proj as prologue
// CHECK: loc("norm"): not fused into proj: 'gather' takes its result before the product
llm.weight @norm : tensor<64xbf16> from ["norm"]
llm.weight @w : tensor<64x64xbf16> from ["w"]
func.func @gathered(%x: tensor<?x64xbf16>, %batch: !llm.batch) -> tensor<?x64xbf16> {
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("norm")
  %g = llm.gather_rows %n, %batch : (tensor<?x64xbf16>, !llm.batch) -> tensor<?x64xbf16> loc("gather")
  %y = llm.linear %g, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("proj")
  return %y : tensor<?x64xbf16>
}
