// RUN: inlay-translate --cuda-to-cpp %s | FileCheck %s

// CHECK: // layers.0: copy
// CHECK: #include "base.h"
// CHECK: #include "cache.h"
// CHECK: extern "C" __global__ void __launch_bounds__(128, 1)
// CHECK-NEXT: scale(const float *__restrict__ x, float *y, StepSizes sizes) {
// CHECK-NEXT:   const int thread_x = static_cast<int>(threadIdx.x);
// CHECK-NEXT:   if (thread_x < sizes.v[0]) {
// CHECK-NEXT:     const int n = thread_x * 4;
// CHECK-NEXT:     *reinterpret_cast<float4 *>(&y[n]) = load_read_only(reinterpret_cast<const float4 *>(&x[n]));
// CHECK-NEXT:   }
cuda.kernel @scale(%x: !cuda.ptr<f32, readonly> {cuda.name = "x"}, %y: !cuda.ptr<f32, global> {cuda.name = "y"},
                   %sizes: !cuda.opaque<"StepSizes"> {cuda.name = "sizes"})
    attributes {threads = 128 : i64, origin = "layers.0: copy"} {
  %t = cuda.special thread_x
  %n = cuda.size 0
  %in = arith.cmpi slt, %t, %n : index
  scf.if %in {
    %c4 = arith.constant 4 : index
    %i = arith.muli %t, %c4 : index
    %v = cuda.load %x[%i] cache read_only : !cuda.ptr<f32, readonly>, index -> vector<4xf32>
    cuda.store %v, %y[%i] : vector<4xf32>, !cuda.ptr<f32, global>, index
  }
}
