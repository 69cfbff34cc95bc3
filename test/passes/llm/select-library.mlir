// cuBLASLt computes the products for which it was measured to be faster, from a second, row-major copy of the weight.
// RUN: inlay-opt %s --split-input-file --llm-select-library="tuning=%S/Inputs/libraries.json max-rows=2048" -verify-diagnostics | FileCheck %s
// RUN: inlay-opt %s --split-input-file --llm-select-library="tuning=%S/Inputs/libraries.json max-rows=2047" | FileCheck %s --check-prefix=FEWER
// RUN: inlay-opt %s --split-input-file --llm-select-library="always max-rows=1" | FileCheck %s --check-prefix=ALWAYS

// FEWER-NOT: library
// CHECK: llm.weight @w {{.*}}atom_8x64
// CHECK-NEXT: llm.weight @w.row_major : tensor<64x128xbf16> from ["w"]{{$}}
// ALWAYS: llm.weight @w.row_major
llm.weight @w : tensor<64x128xbf16> from ["w"] {packing = #llm<packing atom_8x64>}
// CHECK-LABEL: @faster
func.func @faster(%x: tensor<?x128xbf16>, %r: tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
  // CHECK: llm.linear %{{.*}}, @w.row_major {library = "cublaslt"}
  // ALWAYS: llm.linear %{{.*}}, @w.row_major {library = "cublaslt"}
  // expected-remark@+1 {{given to cublaslt: on a chip it took 9.0 us at 2048 rows and the generated kernel 11.5; a second copy of its weight takes 16384 bytes}}
  %y = llm.linear %x, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16>
  %z = llm.add %r, %y : tensor<?x64xbf16>
  // This product has no residual, so its key differs and has no measurement. Products share the copy of a weight.
  // CHECK: llm.linear %{{.*}}, @w :
  // ALWAYS: llm.linear %{{.*}}, @w.row_major {library = "cublaslt"}
  %v = llm.linear %x, @w : (tensor<?x128xbf16>) -> tensor<?x64xbf16>
  return %z, %v : tensor<?x64xbf16>, tensor<?x64xbf16>
}

// -----

llm.weight @w : tensor<128x64xbf16> from ["w"]
func.func @slower(%x: tensor<?x64xbf16>) -> tensor<?x128xbf16> {
  // CHECK: llm.linear %{{.*}}, @w :
  // ALWAYS: llm.linear %{{.*}}, @w {library = "cublaslt"}
  // expected-remark@+1 {{not given to cublaslt: on a chip it took 12.0 us at 512 rows and the generated kernel 10.0}}
  %y = llm.linear %x, @w : (tensor<?x64xbf16>) -> tensor<?x128xbf16>
  return %y : tensor<?x128xbf16>
}

// -----

// Our own kernels compute products with another row order, with several results or with a bias.
llm.weight @gate_up : tensor<128x64xbf16> from ["gate", "up"] {row_order = #llm<row_order alternate>}
llm.weight @w : tensor<64x64xbf16> from ["w"]
llm.weight @b : tensor<64xbf16> from ["b"]
func.func @refused(%x: tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>) {
  // ALWAYS-LABEL: @refused
  // ALWAYS-NOT: library
  %g, %u = llm.linear %x, @gate_up : (tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>)
  %y = llm.linear %x, @w bias @b : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
  return %g, %u, %y : tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>
}
