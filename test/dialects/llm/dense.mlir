// RUN: inlay-opt %s | inlay-opt | FileCheck %s
// The forms of ops that dense models beside Llama have.

llm.weight @embed : tensor<100x8xbf16> from ["embed"]
llm.weight @positions : tensor<66x8xbf16> from ["positions"]
llm.weight @norm.weight : tensor<8xbf16> from ["norm.weight"]
llm.weight @norm.bias : tensor<8xbf16> from ["norm.bias"]
llm.weight @sinks : tensor<2xbf16> from ["sinks"]
llm.rope_table @rope : tensor<64x2xf32> {inv_freq = array<f64: 1.0>}

// CHECK-LABEL: func.func @step
func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> tensor<?x8xbf16> {
  %0 = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x8xbf16>
  // CHECK: llm.position_embedding %arg1, @positions {offset = 2 : i64} : (!llm.batch) -> tensor<?x8xbf16>
  %1 = llm.position_embedding %batch, @positions {offset = 2 : i64} : (!llm.batch) -> tensor<?x8xbf16>
  %2 = llm.add %0, %1 : tensor<?x8xbf16>
  // CHECK: llm.layer_norm %{{.*}}, @norm.weight bias @norm.bias {eps = 1.000000e-05 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
  %3 = llm.layer_norm %2, @norm.weight bias @norm.bias {eps = 1.0e-5 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
  // CHECK: llm.layer_norm %{{.*}} {eps = 1.000000e-05 : f64, group = 4 : i64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
  %4 = llm.layer_norm %3 {eps = 1.0e-5 : f64, group = 4 : i64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
  // CHECK: llm.rms_norm %{{.*}} {eps = 1.000000e-05 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
  %5 = llm.rms_norm %4 {eps = 1.0e-5 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
  // CHECK: llm.rms_norm %{{.*}}, @norm.weight {eps = 1.000000e-05 : f64, weight_offset = 1.000000e+00 : f64}
  %6 = llm.rms_norm %5, @norm.weight {eps = 1.0e-5 : f64, weight_offset = 1.0 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xbf16>
  // CHECK: llm.activation relu2 %{{.*}} : tensor<?x8xbf16>
  %7 = llm.activation relu2 %6 : tensor<?x8xbf16>
  // CHECK: llm.scale %{{.*}} {factor = 1.250000e-01 : f64} : tensor<?x8xbf16>
  %8 = llm.scale %7 {factor = 0.125 : f64} : tensor<?x8xbf16>
  // CHECK: llm.softcap %{{.*}} {cap = 3.000000e+01 : f64} : tensor<?x8xbf16>
  %9 = llm.softcap %8 {cap = 30.0 : f64} : tensor<?x8xbf16>
  // CHECK: llm.rope %{{.*}}, %arg1, @rope {head_dim = 4 : i64}
  %10 = llm.rope %9, %batch, @rope {head_dim = 4 : i64} : (tensor<?x8xbf16>, !llm.batch) -> tensor<?x8xbf16>
  // CHECK: llm.paged_attention {{.*}}alibi = array<f64: 5.000000e-01, 2.500000e-01>{{.*}}sinks = @sinks
  %11 = llm.paged_attention %10, %kv, %batch {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 1.0 : f64,
                                              alibi = array<f64: 0.5, 0.25>, sinks = @sinks}
      : (tensor<?x8xbf16>, !llm.kv_cache, !llm.batch) -> tensor<?x8xbf16>
  return %11 : tensor<?x8xbf16>
}
