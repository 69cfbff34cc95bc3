// RUN: inlay-opt --pass-pipeline="builtin.module(cuda.kernel(cuda-allocate-shared))" %s | FileCheck %s

// Buffers are placed one after the other in program order, each at a multiple of its alignment.
// CHECK-LABEL: cuda.kernel @in_order
// CHECK-SAME: shared_bytes = 4112
cuda.kernel @in_order() attributes {threads = 128 : i64} {
  // CHECK: cuda.shared 0 : <i8, shared>
  %a = cuda.shared_buffer 100 : !cuda.ptr<i8, shared>
  // CHECK: cuda.shared 1024 : <bf16, shared>
  %b = cuda.shared_buffer 3072 align 1024 : !cuda.ptr<bf16, shared>
  // CHECK: cuda.shared 4096 : <i64, shared>
  %c = cuda.shared_buffer 16 align 8 : !cuda.ptr<i64, shared>
}

// All overlays start at offset 0. Buffers without an overlay follow after the largest overlay.
// CHECK-LABEL: cuda.kernel @overlays
// CHECK-SAME: shared_bytes = 768
cuda.kernel @overlays() attributes {threads = 128 : i64} {
  // CHECK: cuda.shared 640
  %kept = cuda.shared_buffer 128 : !cuda.ptr<f32, shared>
  // CHECK: cuda.shared 0
  %a = cuda.shared_buffer 512 overlay 0 : !cuda.ptr<f32, shared>
  // CHECK: cuda.shared 0
  %tops = cuda.shared_buffer 320 align 4 overlay 1 : !cuda.ptr<f32, shared>
  // CHECK: cuda.shared 320
  %places = cuda.shared_buffer 320 align 4 overlay 1 : !cuda.ptr<i32, shared>
}

// The size that a config sets is kept if the buffers fit.
// CHECK-LABEL: cuda.kernel @granted
// CHECK-SAME: shared_bytes = 4096
cuda.kernel @granted() attributes {threads = 128 : i64, shared_bytes = 4096 : i64} {
  // CHECK: cuda.shared 0
  %a = cuda.shared_buffer 100 : !cuda.ptr<i8, shared>
}
