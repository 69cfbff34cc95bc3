// RUN: not inlay-translate --cuda-to-cpp %s 2>&1 | FileCheck %s

// CHECK: error: 'math.cbrt' has no CUDA C++ form
cuda.kernel @unknown(%x: !cuda.ptr<f32, global>) attributes {threads = 32 : i64} {
  %i = cuda.special lane
  %v = cuda.load %x[%i] : !cuda.ptr<f32, global>, index -> f32
  %r = math.cbrt %v : f32
  cuda.store %r, %x[%i] : f32, !cuda.ptr<f32, global>, index
}
