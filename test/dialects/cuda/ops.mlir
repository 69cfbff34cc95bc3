// RUN: inlay-opt %s | inlay-opt | FileCheck %s

// CHECK-LABEL: cuda.kernel @all
// CHECK-SAME: attributes {cluster = 2 : i64, min_blocks = 1 : i64, origin = "layers.0", shared_bytes = 1024 : i64, threads = 64 : i64}
cuda.kernel @all(%x: !cuda.ptr<bf16, readonly> {cuda.name = "x"}, %y: !cuda.ptr<f32, global>,
                 %map: !cuda.opaque<"CUtensorMap">, %sizes: !cuda.opaque<"StepSizes">)
    attributes {threads = 64 : i64, cluster = 2 : i64, shared_bytes = 1024 : i64, origin = "layers.0"} {
  // CHECK: cuda.launch_dependents
  cuda.launch_dependents
  // CHECK: %[[LANE:.*]] = cuda.special lane
  %lane = cuda.special lane
  // CHECK: cuda.size 3
  %n = cuda.size 3
  // CHECK: cuda.shared 256 : <f32, shared>
  %tile = cuda.shared 256 : !cuda.ptr<f32, shared>
  // CHECK: cuda.local : <4x2xf32>
  %acc = cuda.local : !cuda.local<4x2xf32>
  // CHECK: cuda.load %{{.*}}[%[[LANE]]] cache read_only : <bf16, readonly>, index -> vector<4xi32>
  %v = cuda.load %x[%lane] cache read_only : !cuda.ptr<bf16, readonly>, index -> vector<4xi32>
  %f = cuda.get %acc[%lane, %n] : !cuda.local<4x2xf32> -> f32
  cuda.set %f, %acc[%lane, %n] : f32, !cuda.local<4x2xf32>
  // CHECK: cuda.address
  %row = cuda.address %acc[%lane] : !cuda.local<4x2xf32> -> !cuda.ptr<f32, local>
  // CHECK: cuda.call "scale<4>" from "scale.h"(
  cuda.call "scale<4>" from "scale.h"(%row, %map) : (!cuda.ptr<f32, local>, !cuda.opaque<"CUtensorMap">) -> ()
  // CHECK: cuda.barrier 1 threads 64
  cuda.barrier 1 threads 64
  // CHECK: cuda.depend
  cuda.depend
  cuda.store %f, %y[%lane] : f32, !cuda.ptr<f32, global>, index
}

// CHECK-LABEL: cuda.kernel @grids
// CHECK-SAME: grid = #cuda.grid<264, 2 * (size 0 ceildiv 64), size 1>
cuda.kernel @grids() attributes {threads = 32 : i64, cluster = 2 : i64,
                                 grid = #cuda.grid<264, 2 * (size 0 ceildiv 64), 1 * (size 1)>} {
}

// CHECK-LABEL: cuda.kernel @more_grids
// CHECK-SAME: dependent_launch, grid = #cuda.grid<size 0 ceildiv 16, 4 * size 5>
cuda.kernel @more_grids() attributes {threads = 32 : i64, dependent_launch,
                                      grid = #cuda.grid<size 0 ceildiv 16, 4 * size 5>} {
}

// CHECK-LABEL: cuda.kernel @maps
// CHECK-SAME: tensor_maps = [#cuda.tensor_map<argument 0 : bf16, dims = [4096, 1] * size 0, strides = [8192], box = [64, 16], swizzle = 128, l2_promotion = 256>,
// CHECK-SAME: #cuda.tensor_map<argument 1 : f32, dims = [64], strides = [], box = [64]>]
cuda.kernel @maps(%x: !cuda.ptr<bf16, global>, %w: !cuda.ptr<f32, readonly>, %map0: !cuda.opaque<"CUtensorMap">,
                  %map1: !cuda.opaque<"CUtensorMap">, %sizes: !cuda.opaque<"StepSizes">)
    attributes {threads = 32 : i64, tensor_maps = [
      #cuda.tensor_map<argument 0 : bf16, dims = [4096, 1] * size 0, strides = [8192], box = [64, 16], swizzle = 128,
                       l2_promotion = 256>,
      #cuda.tensor_map<argument 1 : f32, dims = [64], strides = [], box = [64]>]} {
}
