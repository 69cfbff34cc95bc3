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

// The next launch of a kernel with late_dependents starts when the launches before this one have ended. Each wait of a
// block may be its first.
// CHECK-LABEL: cuda.kernel @pushing
// CHECK-NEXT: cuda.special
// CHECK-NEXT: cuda.depend
// CHECK-NEXT: cuda.launch_dependents
// CHECK-NEXT: cuda.load
// CHECK-NOT: cuda.launch_dependents
// LATE-LABEL: cuda.kernel @pushing
// LATE-NEXT: cuda.depend
// LATE-NEXT: cuda.launch_dependents
// LATE-NOT: cuda.launch_dependents
// LATE-LABEL: cuda.kernel @pushing_roles
cuda.kernel @pushing(%x: !any {cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 128 : i64, late_dependents} {
  %t = cuda.special thread_x
  %v = cuda.load %x[%t] : !any, index -> f32
}
// CHECK-LABEL: cuda.kernel @pushing_roles
// CHECK-NOT: cuda.launch_dependents
// CHECK: scf.if
// CHECK-NEXT: cuda.depend
// CHECK-NEXT: cuda.launch_dependents
// CHECK-NEXT: } else {
// CHECK-NEXT: cuda.depend
// CHECK-NEXT: cuda.launch_dependents
// CHECK-NEXT: cuda.load
// CHECK-NOT: cuda.launch_dependents
cuda.kernel @pushing_roles(%x: !any {cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 256 : i64, late_dependents} {
  %t = cuda.special thread_x
  %c128 = arith.constant 128 : index
  %consumes = arith.cmpi slt, %t, %c128 : index
  scf.if %consumes {
    cuda.depend
  } else {
    cuda.depend
    %v = cuda.load %x[%t] : !any, index -> f32
  }
}

// Calls that are early stay before the wait, with the loads that they make. The store and other calls come after it.
// CHECK-LABEL: cuda.kernel @early_calls
// CHECK-NEXT: cuda.launch_dependents
// CHECK: cuda.call "begin_round<2>"
// CHECK: cuda.call "load_vector<4>"{{.*}}early
// CHECK: cuda.depend
// CHECK-NEXT: cuda.call "load_vector<4>"
// CHECK-NOT: early
// CHECK: cuda.store
// LATE-LABEL: cuda.kernel @early_calls
// LATE-NEXT: cuda.depend
// LATE-NEXT: cuda.launch_dependents
cuda.kernel @early_calls(%x: !any {cuda.provenance = #cuda.provenance<state>},
                         %peers: !cuda.ptr<!cuda.opaque<"PeerTable">, global> {cuda.provenance = #cuda.provenance<peer>})
    attributes {threads = 128 : i64} {
  %t = cuda.special thread_x
  %c0 = arith.constant 0 : index
  %true = arith.constant true
  %a = cuda.local : !cuda.local<4xf32>
  %b = cuda.local : !cuda.local<4xf32>
  %to_a = cuda.address %a[%c0] : !cuda.local<4xf32> -> !cuda.ptr<f32, local>
  %to_b = cuda.address %b[%c0] : !cuda.local<4xf32> -> !cuda.ptr<f32, local>
  %round = cuda.call "begin_round<2>" from "peers.h"(%peers) {early} : (!cuda.ptr<!cuda.opaque<"PeerTable">, global>) -> !cuda.opaque<"Round<2>">
  cuda.call "load_vector<4>" from "tile.h"(%to_a, %x, %true) {early} : (!cuda.ptr<f32, local>, !any, i1) -> ()
  cuda.call "load_vector<4>" from "tile.h"(%to_b, %x, %true) : (!cuda.ptr<f32, local>, !any, i1) -> ()
  %v = cuda.get %a[%c0] : !cuda.local<4xf32> -> f32
  cuda.store %v, %x[%t] : f32, !any, index
}
