// RUN: inlay-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(llm-overlap-collectives))" --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s --check-prefix=REMARKS
// RUN: FileCheck %s --implicit-check-not=llm.halves < %t
// Sums that other ops follow in their kernel run for all rows, and so do sums of a few bytes a row.

// REMARKS: loc("sum"): is summed for all rows at once: other ops follow it in its kernel
// CHECK: llm.group "product"
// CHECK: llm.group "sum"
module attributes {llm.ranks = 2 : i64} {
  llm.weight @w : tensor<64x64xbf16> from ["w"]
  func.func @fused(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
    %p = llm.group "product" family("gemm") -> tensor<?x64xbf16> {
      %y = llm.linear %x, @w : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
      llm.yield %y : tensor<?x64xbf16>
    } loc("product")
    %s = llm.group "sum" family("collective") -> tensor<?x64xbf16> {
      %y = llm.all_reduce %p : tensor<?x64xbf16>
      %z = llm.add %x, %y : tensor<?x64xbf16>
      llm.yield %z : tensor<?x64xbf16>
    } loc("sum")
    return %s : tensor<?x64xbf16>
  }
}

// -----

// REMARKS: loc("squares"): is summed for all rows at once: its rows have 4 bytes
// CHECK: llm.group "parts"
// CHECK: llm.group "squares"
module attributes {llm.ranks = 2 : i64} {
  func.func @squares(%x: tensor<?x64xbf16>) -> tensor<?x1xf32> {
    %p = llm.group "parts" family("rows") -> tensor<?x1xf32> {
      %y = llm.sum_of_squares %x : (tensor<?x64xbf16>) -> tensor<?x1xf32>
      llm.yield %y : tensor<?x1xf32>
    } loc("parts")
    %s = llm.group "squares" family("collective") -> tensor<?x1xf32> {
      %y = llm.all_reduce %p : tensor<?x1xf32>
      llm.yield %y : tensor<?x1xf32>
    } loc("squares")
    return %s : tensor<?x1xf32>
  }
}

// -----

// Without a sum there is nothing to run beside.
// CHECK: llm.group "alone"
func.func @alone(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %s = llm.group "alone" family("rows") -> tensor<?x64xbf16> {
    %y = llm.add %x, %x : tensor<?x64xbf16>
    llm.yield %y : tensor<?x64xbf16>
  } loc("alone")
  return %s : tensor<?x64xbf16>
}
