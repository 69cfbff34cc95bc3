// RUN: inlay-opt --pass-pipeline="builtin.module(cuda.kernel(cuda-place-dependencies))" %s | FileCheck %s
// RUN: inlay-opt --pass-pipeline="builtin.module(cuda.kernel(cuda-place-dependencies{early=false}))" %s | FileCheck %s --check-prefix=LATE

!weight = !cuda.ptr<f32, readonly>
!meta = !cuda.ptr<i32, readonly>
!any = !cuda.ptr<f32, global>

// The wait is placed before the first load of the activation. The later load of the weight moves before the wait.
// CHECK-LABEL: cuda.kernel @norm
// CHECK-NEXT: cuda.launch_dependents
// CHECK: cuda.load %{{.*}} : <i32, readonly>
// CHECK: cuda.load %{{.*}} : <f32, readonly>
// CHECK-NEXT: cuda.depend
// CHECK-NEXT: cuda.load %{{.*}} : <f32, global>
// CHECK: cuda.store
// LATE-LABEL: cuda.kernel @norm
// LATE-NEXT: cuda.depend
// LATE: cuda.launch_dependents
// LATE-NOT: cuda.depend
cuda.kernel @norm(%rows: !meta {cuda.provenance = #cuda.provenance<meta>},
                  %x: !any {cuda.provenance = #cuda.provenance<activation>},
                  %w: !weight {cuda.provenance = #cuda.provenance<weight>},
                  %y: !any {cuda.provenance = #cuda.provenance<output>}) attributes {threads = 128 : i64} {
  %t = cuda.special thread_x
  %row = cuda.load %rows[%t] : !meta, index -> i32
  %v = cuda.load %x[%row] : !any, i32 -> f32
  %s = cuda.load %w[%t] : !weight, index -> f32
  %p = arith.mulf %v, %s : f32
  cuda.store %p, %y[%t] : f32, !any, index
}

// An access with the provenance older_kv may read the cache before the wait. Other accesses to the cache may not.
// CHECK-LABEL: cuda.kernel @cache
// CHECK: cuda.load {{.*}}older_kv
// CHECK-NEXT: cuda.depend
// CHECK-NEXT: cuda.load
// LATE-LABEL: cuda.kernel @cache
cuda.kernel @cache(%kv: !any {cuda.provenance = #cuda.provenance<kv>}) attributes {threads = 128 : i64} {
  %t = cuda.special thread_x
  %older = cuda.load %kv[%t] {cuda.provenance = #cuda.provenance<older_kv>} : !any, index -> f32
  %newest = cuda.load %kv[%t] : !any, index -> f32
}

// Accesses to memory without a provenance come after the wait.
// CHECK-LABEL: cuda.kernel @unknown
// CHECK: cuda.depend
// CHECK-NEXT: cuda.load
cuda.kernel @unknown(%x: !any) attributes {threads = 128 : i64} {
  %t = cuda.special thread_x
  %v = cuda.load %x[%t] : !any, index -> f32
}

// Ops that the lowering has inserted are kept.
// CHECK-LABEL: cuda.kernel @placed
// CHECK-NEXT: cuda.special
// CHECK-NEXT: cuda.depend
// CHECK-NEXT: cuda.launch_dependents
// CHECK-NOT: cuda.depend
cuda.kernel @placed(%x: !any {cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 128 : i64} {
  %t = cuda.special thread_x
  cuda.depend
  cuda.launch_dependents
  %v = cuda.load %x[%t] : !any, index -> f32
}
