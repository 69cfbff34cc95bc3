// RUN: inlay-translate --cuda-to-cpp %s | FileCheck %s
// Loop-carried values become variables, assigned through temporaries. Constants and values with one use are inlined.

// CHECK-LABEL: control(
cuda.kernel @control(%x: !cuda.ptr<f32, global> {cuda.name = "x"}, %sizes: !cuda.opaque<"StepSizes"> {cuda.name = "sizes"})
    attributes {threads = 32 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  // CHECK: float carried = 0.0f;
  // CHECK-NEXT: float carried1 = 1.0f;
  // CHECK-NEXT: #pragma unroll
  // CHECK-NEXT: for (int i = 0; i < 8; ++i) {
  %a, %b = scf.for %i = %c0 to %c8 step %c1 iter_args(%p = %zero, %q = %one) -> (f32, f32) {
    // CHECK-NEXT: const float [[SUM:.*]] = carried + x[i];
    // CHECK-NEXT: const float next = carried1;
    // CHECK-NEXT: const float next1 = [[SUM]];
    // CHECK-NEXT: carried = next;
    // CHECK-NEXT: carried1 = next1;
    %v = cuda.load %x[%i] : !cuda.ptr<f32, global>, index -> f32
    %s = arith.addf %p, %v : f32
    scf.yield %q, %s : f32, f32
  } {cuda.unroll}
  // CHECK: if (sizes.v[0] == 1) {
  // CHECK-NEXT: x[0] = carried;
  // CHECK-NEXT: } else {
  // CHECK-NEXT: x[0] = rsqrtf(carried1);
  %n = cuda.size 0
  %is = arith.cmpi eq, %n, %c1 : index
  scf.if %is {
    cuda.store %a, %x[%c0] : f32, !cuda.ptr<f32, global>, index
  } else {
    %r = math.rsqrt %b : f32
    cuda.store %r, %x[%c0] : f32, !cuda.ptr<f32, global>, index
  }
}
