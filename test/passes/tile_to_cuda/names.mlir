// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s
// The name of the model's op stands in the first line, and is no name of variables.
!x = !tile.view<?x64xbf16, activation, tokens>
!y = !tile.view<?x64xbf16, output, tokens>

// CHECK: // model.layers.0.mlp: scale
// CHECK-LABEL: twice(
// CHECK-NOT: model_layers
// CHECK: const int v{{[0-9]*}} = static_cast<int>(blockIdx.x);
// CHECK-NOT: model_layers
tile.program @twice(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)>
    attributes {origin = "model.layers.0.mlp: scale"} {
  %c0 = arith.constant 0 : index loc("model.layers.0.mlp")
  %i = tile.program_id 0 loc("model.layers.0.mlp")
  %tile = tile.load %x[%i, %c0] : !x -> tensor<1x64xbf16> loc("model.layers.0.mlp")
  %sum = arith.addf %tile, %tile : tensor<1x64xbf16> loc("model.layers.0.mlp")
  tile.store %sum, %y[%i, %c0] : tensor<1x64xbf16>, !y loc("model.layers.0.mlp")
} loc("model.layers.0.mlp")
