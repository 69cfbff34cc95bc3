// RUN: inlay-opt %s --split-input-file --llm-fuse-projections -o %t 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: FileCheck %s --input-file=%t

// Scales are stacked as the codes are.
// CHECK-DAG: llm.weight @m.gate_up_proj.weight : tensor<16x32xi4> from ["g", "u"] {quantized = #llm.quantized<u4, scales = @m.gate_up_proj.weight_scale, zero_point = 8, group = 16>, row_order = #llm<row_order alternate>}
// CHECK-DAG: llm.weight @m.gate_up_proj.weight_scale : tensor<16x2xf32> from ["gs", "us"] {row_order = #llm<row_order alternate>}
// CHECK: llm.linear %{{.*}}, @m.gate_up_proj.weight : (tensor<?x32xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
llm.weight @gs : tensor<8x2xf32> from ["gs"]
llm.weight @us : tensor<8x2xf32> from ["us"]
llm.weight @g : tensor<8x32xi4> from ["g"] {quantized = #llm.quantized<u4, scales = @gs, zero_point = 8, group = 16>}
llm.weight @u : tensor<8x32xi4> from ["u"] {quantized = #llm.quantized<u4, scales = @us, zero_point = 8, group = 16>}
func.func @gated(%x: tensor<?x32xf32>) -> tensor<?x8xf32> {
  %g = llm.linear %x, @g : (tensor<?x32xf32>) -> tensor<?x8xf32> loc("m.gate_proj")
  %u = llm.linear %x, @u : (tensor<?x32xf32>) -> tensor<?x8xf32> loc("m.up_proj")
  %y = llm.gated_activation silu %g, %u : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// One of them may be left out of the quantization, or have other groups.
// REMARK: remark: loc("n.gate_proj"): not fused as n.gate_up_proj: weights are quantized in different ways
// CHECK-LABEL: @mixed
llm.weight @gs : tensor<8x2xf32> from ["gs"]
llm.weight @us : tensor<8x1xf32> from ["us"]
llm.weight @g : tensor<8x32xi4> from ["g"] {quantized = #llm.quantized<u4, scales = @gs, zero_point = 8, group = 16>}
llm.weight @u : tensor<8x32xi4> from ["u"] {quantized = #llm.quantized<u4, scales = @us, zero_point = 8, group = 32>}
func.func @mixed(%x: tensor<?x32xf32>) -> tensor<?x8xf32> {
  // CHECK: llm.linear %{{.*}}, @g
  // CHECK: llm.linear %{{.*}}, @u
  %g = llm.linear %x, @g : (tensor<?x32xf32>) -> tensor<?x8xf32> loc("n.gate_proj")
  %u = llm.linear %x, @u : (tensor<?x32xf32>) -> tensor<?x8xf32>
  %y = llm.gated_activation silu %g, %u : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
