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
