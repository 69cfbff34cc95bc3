// A product that a library computes is fused with at most one residual, and with nothing else.
// RUN: inlay-opt %s --split-input-file --llm-form-groups="target=sm_90a max-rows=2048" --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=IR < %t

// CHECK: loc("norm"): not fused into proj: the library reads rows as they are in memory
// CHECK: loc("residual"): fused into proj as epilogue: saves 256 bytes a row
// CHECK: loc("second"): not fused into proj: the library adds one residual to its product, and nothing else
// CHECK: loc("proj"): one kernel (cublaslt): linear, add; reads 8192 bytes of weights
// IR: llm.group "proj" family("cublaslt")
// IR-NEXT: llm.linear
// IR-NEXT: llm.add
// IR-NEXT: llm.yield
llm.weight @norm : tensor<64xbf16> from ["norm"]
llm.weight @w : tensor<64x64xbf16> from ["w"]
func.func @one_residual(%x: tensor<?x64xbf16>, %r: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %n = llm.rms_norm %x, @norm {eps = 1.0e-5 : f64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("norm")
  %y = llm.linear %n, @w {library = "cublaslt"} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("proj")
  %z = llm.add %x, %y : tensor<?x64xbf16> loc("residual")
  %u = llm.add %r, %z : tensor<?x64xbf16> loc("second")
  return %u : tensor<?x64xbf16>
}

// -----

// CHECK: loc("act"): not fused into proj: the library adds one residual to its product, and nothing else
llm.weight @w : tensor<64x64xbf16> from ["w"]
func.func @activation(%x: tensor<?x64xbf16>, %up: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %y = llm.linear %x, @w {library = "cublaslt"} : (tensor<?x64xbf16>) -> tensor<?x64xbf16> loc("proj")
  %z = llm.gated_activation silu %y, %up : tensor<?x64xbf16> loc("act")
  return %z : tensor<?x64xbf16>
}
