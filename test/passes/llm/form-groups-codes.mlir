// RUN: inlay-opt %s --llm-form-groups="target=sm_90a max-rows=8" --mlir-print-op-on-diagnostic=false -o /dev/null 2>&1 | FileCheck %s --check-prefix=FEW
// RUN: inlay-opt %s --llm-form-groups="target=sm_90a max-rows=16" --mlir-print-op-on-diagnostic=false -o /dev/null 2>&1 | FileCheck %s --check-prefix=MORE
// Which family reads the codes of quantized weights. Four lanes with 32 codes of 4 bits each share a product of few rows, so
// groups of 64 take the family of larger steps.

// FEW: loc("small"): takes the family swap_ab of larger steps, not matvec: its weight has groups of 64 columns, expected a power of two from 128 on
// FEW: loc("table"): takes the generic lowering: its codes are nf4 or not packed
// FEW: loc("rows"): one kernel (matvec)
// FEW: loc("groups"): one kernel (matvec)
// FEW: loc("small"): one kernel (swap_ab)
// FEW: loc("table"): one kernel (generic)
// MORE-NOT: loc("small"): takes the family
// MORE: loc("rows"): one kernel (swap_ab)
// MORE: loc("groups"): one kernel (swap_ab)
// MORE: loc("small"): one kernel (swap_ab)
llm.weight @rows_scale : tensor<64x1xf32> from ["rows_scale"]
llm.weight @rows : tensor<64x256xf8E4M3FN> from ["rows"]
    {packing = #llm<packing codes_16x128>, quantized = #llm.quantized<f8e4m3, scales = @rows_scale, group = 256>}
llm.weight @groups_scale : tensor<64x2xf32> from ["groups_scale"] {packing = #llm<packing rows_16>}
llm.weight @groups : tensor<64x256xi4> from ["groups"]
    {packing = #llm<packing codes_16x128>, quantized = #llm.quantized<u4, scales = @groups_scale, zero_point = 8, group = 128>}
llm.weight @small_scale : tensor<64x4xf32> from ["small_scale"] {packing = #llm<packing rows_16>}
llm.weight @small : tensor<64x256xi4> from ["small"]
    {packing = #llm<packing codes_16x128>, quantized = #llm.quantized<u4, scales = @small_scale, zero_point = 8, group = 64>}
llm.weight @table : tensor<64x256xi4> from ["table"]
    {packing = #llm<packing codes_16x128>, quantized = #llm.quantized<nf4, scales = @small_scale, group = 64>}
func.func @step(%x: tensor<?x256xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>) {
  %0 = llm.linear %x, @rows : (tensor<?x256xbf16>) -> tensor<?x64xbf16> loc("rows")
  %1 = llm.linear %x, @groups : (tensor<?x256xbf16>) -> tensor<?x64xbf16> loc("groups")
  %2 = llm.linear %x, @small : (tensor<?x256xbf16>) -> tensor<?x64xbf16> loc("small")
  %3 = llm.linear %x, @table : (tensor<?x256xbf16>) -> tensor<?x64xbf16> loc("table")
  return %0, %1, %2, %3 : tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>
}
