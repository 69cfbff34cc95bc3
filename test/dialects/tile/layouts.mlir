// RUN: inlay-opt %s | inlay-opt | FileCheck %s
// Encodings of tiles: in registers and in shared memory.

// CHECK-DAG: #layout = #tile.layout<register = {{\[\[}}0, 1], [8, 0]], lane = {{\[\[}}0, 2], [0, 4], [1, 0], [2, 0], [4, 0]], warp = {{\[\[}}16, 0], [0, 0]]>
// CHECK-DAG: #[[OF_CLUSTER:layout[0-9]*]] = #tile.layout<lane = {{\[\[}}1], [2], [4], [8], [16]], block = {{\[\[}}32]]>
// CHECK-DAG: #[[PADDED:shared[0-9]*]] = #tile.shared<offset = {{\[\[}}0, 1], [0, 2], [0, 4], [1, 0], [2, 0], [4, 0], [8, 0], [16, 0]], pitch = 12>
// CHECK-DAG: #[[SWIZZLED:shared[0-9]*]] = #tile.shared<offset = {{\[\[}}0, 1], [0, 2], [1, 1], [2, 2]]>
#accumulator = #tile.layout<register = [[0, 1], [8, 0]], lane = [[0, 2], [0, 4], [1, 0], [2, 0], [4, 0]],
                            warp = [[16, 0], [0, 0]]>
#of_cluster = #tile.layout<lane = [[1], [2], [4], [8], [16]], block = [[32]]>
#columns = #tile.layout<register = [[8, 0], [16, 0]], lane = [[0, 1], [0, 2], [0, 4], [1, 0], [2, 0]], warp = [[4, 0], [0, 0]]>
#padded = #tile.shared<offset = [[0, 1], [0, 2], [0, 4], [1, 0], [2, 0], [4, 0], [8, 0], [16, 0]], pitch = 12>
#swizzled = #tile.shared<offset = [[0, 1], [0, 2], [1, 1], [2, 2]]>

// CHECK-LABEL: tile.program @layouts
// CHECK-SAME: attributes {tile.warps = 4 : i64}
tile.program @layouts() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.warps = 4 : i64} {
  // CHECK: arith.constant dense<0.000000e+00> : tensor<32x8xf32, #layout>
  %tile = arith.constant dense<0.0> : tensor<32x8xf32, #accumulator>
  // CHECK: arith.addf %{{.*}}, %{{.*}} : tensor<32x8xf32, #layout>
  %sum = arith.addf %tile, %tile : tensor<32x8xf32, #accumulator>
  // CHECK: tile.convert_layout %{{.*}} : tensor<32x8xf32, #layout> -> tensor<32x8xf32, #layout{{[0-9]+}}>
  %turned = tile.convert_layout %sum : tensor<32x8xf32, #accumulator> -> tensor<32x8xf32, #columns>
  // CHECK: tile.stage %{{.*}} : tensor<32x8xf32, #layout{{[0-9]+}}> -> tensor<32x8xf32, #[[PADDED]]>
  %staged = tile.stage %turned : tensor<32x8xf32, #columns> -> tensor<32x8xf32, #padded>
  // The extent may be larger than the tile.
  // CHECK: arith.constant dense<0> : tensor<40xi32, #[[OF_CLUSTER]]>
  %indices = arith.constant dense<0> : tensor<40xi32, #of_cluster>
  // CHECK: tile.ring : <2 x(tensor<4x4xbf16, #[[SWIZZLED]]>)>
  %ring = tile.ring : !tile.ring<2 x (tensor<4x4xbf16, #swizzled>)>
}
