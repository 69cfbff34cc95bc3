// RUN: inlay-opt %s --split-input-file --llm-fuse-projections --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=IR < %t
// Products that are not fused are unchanged, and a remark gives the reason.

// CHECK: remark: loc("mlp.gate_up_proj"): fused 2 projections: the input is read once
llm.weight @gate : tensor<4x8xbf16> from ["gate"]
llm.weight @up : tensor<4x8xbf16> from ["up"]
func.func @fused(%x: tensor<?x8xbf16>) -> tensor<?x4xbf16> {
  %g = llm.linear %x, @gate : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.gate_proj")
  %u = llm.linear %x, @up : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.up_proj")
  %y = llm.gated_activation silu %g, %u : tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

// CHECK: remark: loc("mlp.gate_proj"): not fused as mlp.gate_up_proj: 'mlp.up_proj' reads another value
// IR-LABEL: @inputs
// IR-COUNT-2: llm.linear
llm.weight @gate : tensor<4x8xbf16> from ["gate"]
llm.weight @up : tensor<4x8xbf16> from ["up"]
func.func @inputs(%x: tensor<?x8xbf16>, %z: tensor<?x8xbf16>) -> tensor<?x4xbf16> {
  %g = llm.linear %x, @gate : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.gate_proj")
  %u = llm.linear %z, @up : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.up_proj")
  %y = llm.gated_activation silu %g, %u : tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

// A tied weight is never changed.
// CHECK: remark: loc("mlp.gate_proj"): not fused as mlp.gate_up_proj: 'table' is used elsewhere
// IR: llm.weight @table : tensor<4x8xbf16> from ["table"]
// IR-LABEL: @tied
// IR-COUNT-2: llm.linear
llm.weight @table : tensor<4x8xbf16> from ["table"]
llm.weight @up : tensor<4x8xbf16> from ["up"]
func.func @tied(%tokens: tensor<?xi32>) -> tensor<?x4xbf16> {
  %x = llm.embedding %tokens, @table : (tensor<?xi32>) -> tensor<?x8xbf16>
  %g = llm.linear %x, @table : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.gate_proj")
  %u = llm.linear %x, @up : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.up_proj")
  %y = llm.gated_activation silu %g, %u : tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

// CHECK: remark: loc("mlp.gate_proj"): not fused as mlp.gate_up_proj: element types of weights differ
llm.weight @gate : tensor<4x8xbf16> from ["gate"]
llm.weight @up : tensor<4x8xf16> from ["up"]
func.func @types(%x: tensor<?x8xbf16>) -> tensor<?x4xbf16> {
  %g = llm.linear %x, @gate : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.gate_proj")
  %u = llm.linear %x, @up : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.up_proj")
  %y = llm.gated_activation silu %g, %u : tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

// CHECK: remark: loc("mlp.gate_proj"): not fused as mlp.gate_up_proj: only some have a bias
llm.weight @gate : tensor<4x8xbf16> from ["gate"]
llm.weight @up : tensor<4x8xbf16> from ["up"]
llm.weight @bias : tensor<4xbf16> from ["bias"]
func.func @biases(%x: tensor<?x8xbf16>) -> tensor<?x4xbf16> {
  %g = llm.linear %x, @gate : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.gate_proj")
  %u = llm.linear %x, @up bias @bias : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.up_proj")
  %y = llm.gated_activation silu %g, %u : tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

// CHECK: remark: loc("mlp.gate_proj"): not fused as mlp.gate_up_proj: 'bias' is used elsewhere
llm.weight @gate : tensor<4x8xbf16> from ["gate"]
llm.weight @up : tensor<4x8xbf16> from ["up"]
llm.weight @bias : tensor<4xbf16> from ["bias"]
func.func @shared_bias(%x: tensor<?x8xbf16>) -> tensor<?x4xbf16> {
  %g = llm.linear %x, @gate bias @bias : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.gate_proj")
  %u = llm.linear %x, @up bias @bias : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.up_proj")
  %y = llm.gated_activation silu %g, %u : tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

// CHECK: remark: loc("mlp.gate_proj"): not fused as mlp.gate_up_proj: 'gate' is stored in another order already
llm.weight @gate : tensor<4x8xbf16> from ["gate"] {row_order = #llm<row_order half_pairs>, head_dim = 4 : i64}
llm.weight @up : tensor<4x8xbf16> from ["up"]
func.func @ordered(%x: tensor<?x8xbf16>) -> tensor<?x4xbf16> {
  %g = llm.linear %x, @gate : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.gate_proj")
  %u = llm.linear %x, @up : (tensor<?x8xbf16>) -> tensor<?x4xbf16> loc("mlp.up_proj")
  %y = llm.gated_activation silu %g, %u : tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}
