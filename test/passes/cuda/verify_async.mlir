// RUN: inlay-opt --pass-pipeline="builtin.module(cuda.kernel(cuda-verify-async))" %s -o /dev/null

// Correct versions of the kernels of verify_async-errors.mlir. None is rejected.

cuda.kernel @ring(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %stages = arith.constant 2 : index
  %many = cuda.size 0
  %count = arith.constant 1 : i32
  %announced = arith.constant 1024 : index
  %bytes = arith.constant 1024 : index
  %lane = cuda.special lane
  %leads = arith.cmpi eq, %lane, %c0 : index
  %ring = cuda.shared 0 : !cuda.ptr<i8, shared>
  %full = cuda.shared 2048 : !cuda.ptr<i64, shared>
  scf.if %leads {
    scf.for %i = %c0 to %stages step %c1 {
      %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
      cuda.call "mbarrier_init" from "mbarrier.h"(%b, %count) : (!cuda.ptr<i64, shared>, i32) -> ()
    }
    cuda.call "fence_mbarrier_init" from "mbarrier.h"() : () -> ()
  }
  cuda.sync_warp
  scf.if %leads {
    scf.for %i = %c0 to %stages step %c1 {
      %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
      %p = cuda.offset %ring[%i] : !cuda.ptr<i8, shared>, index
      cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%b, %announced) : (!cuda.ptr<i64, shared>, index) -> ()
      cuda.call "bulk_copy" from "bulk_copy.h"(%p, %w, %bytes, %b) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
    }
  }
  cuda.sync_warp
  cuda.depend
  scf.for %i = %c0 to %stages step %c1 {
    %other = arith.subi %c1, %i : index
    %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
    cuda.call "mbarrier_wait" from "mbarrier.h"(%b, %c0) : (!cuda.ptr<i64, shared>, index) -> ()
    %p = cuda.offset %ring[%i] : !cuda.ptr<i8, shared>, index
    %v = cuda.load %p[%lane] : !cuda.ptr<i8, shared>, index -> i8
    cuda.sync_warp
    scf.if %leads {
      cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%b, %bytes) : (!cuda.ptr<i64, shared>, index) -> ()
      cuda.call "bulk_copy" from "bulk_copy.h"(%p, %w, %bytes, %b) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
    }
    cuda.sync_warp
  }
}

cuda.kernel @product() attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %half = arith.constant 0.0 : bf16
  %on = arith.constant true
  %tile = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %acc = cuda.local : !cuda.local<16xf32>
  cuda.depend
  cuda.store %half, %tile[%c0] : bf16, !cuda.ptr<bf16, shared>, index
  cuda.call "fence_async_proxy" from "shared_address.h"() : () -> ()
  cuda.barrier
  %d = cuda.call "swizzled_tile" from "wgmma.h"(%tile) : (!cuda.ptr<bf16, shared>) -> i64
  cuda.call "wgmma_fence" from "wgmma.h"() : () -> ()
  cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%acc, %d, %d, %on) : (!cuda.local<16xf32>, i64, i64, i1) -> ()
  cuda.call "wgmma_commit" from "wgmma.h"() : () -> ()
  cuda.call "wgmma_wait<0>" from "wgmma.h"() : () -> ()
  %v = cuda.get %acc[%c0] : !cuda.local<16xf32> -> f32
}

cuda.kernel @cluster() attributes {threads = 128 : i64, cluster = 2 : i64} {
  %t = cuda.special thread_x
  %one = arith.constant 1 : i32
  %zero = arith.constant 0.0 : f32
  %x = cuda.shared 0 : !cuda.ptr<f32, shared>
  cuda.depend
  cuda.call "cluster_barrier" from "warp.h"() : () -> ()
  cuda.store %zero, %x[%t] : f32, !cuda.ptr<f32, shared>, index
  cuda.call "cluster_barrier" from "warp.h"() : () -> ()
  %v = cuda.call "load_of_block" from "warp.h"(%x, %one) : (!cuda.ptr<f32, shared>, i32) -> f32
  cuda.call "cluster_leave" from "warp.h"() : () -> ()
}

cuda.kernel @sends() attributes {threads = 128 : i64, cluster = 2 : i64} {
  %t = cuda.special thread_x
  %c0 = arith.constant 0 : index
  %one = arith.constant 1 : i32
  %phase = arith.constant 0 : i32
  %eight = arith.constant 8 : i32
  %zero = arith.constant 0.0 : f32
  %x = cuda.shared 0 : !cuda.ptr<f32, shared>
  %bar = cuda.shared 1024 : !cuda.ptr<i64, shared>
  cuda.depend
  %first = arith.cmpi eq, %t, %c0 : index
  scf.if %first {
    cuda.call "mbarrier_init" from "mbarrier.h"(%bar, %one) : (!cuda.ptr<i64, shared>, i32) -> ()
    cuda.call "fence_mbarrier_init" from "mbarrier.h"() : () -> ()
    cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%bar, %eight) : (!cuda.ptr<i64, shared>, i32) -> ()
  }
  cuda.barrier
  cuda.call "cluster_arrive" from "warp.h"() : () -> ()
  cuda.call "cluster_wait" from "warp.h"() : () -> ()
  scf.if %first {
    cuda.call "send_to_block" from "warp.h"(%x, %one, %zero, %bar) : (!cuda.ptr<f32, shared>, i32, f32, !cuda.ptr<i64, shared>) -> ()
  }
  cuda.call "mbarrier_wait" from "mbarrier.h"(%bar, %phase) : (!cuda.ptr<i64, shared>, i32) -> ()
  %v = cuda.load %x[%c0] : !cuda.ptr<f32, shared>, index -> f32
}

cuda.kernel @copies(%x: !cuda.ptr<bf16, global> {cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 128 : i64} {
  %t = cuda.special thread_x
  %true = arith.constant true
  cuda.depend
  %tile = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %f = cuda.local : !cuda.local<4xi32>
  %c0 = arith.constant 0 : index
  %a = cuda.address %f[%c0] : !cuda.local<4xi32> -> !cuda.ptr<i32, local>
  cuda.call "cp_async_16" from "cp_async.h"(%tile, %x, %true) : (!cuda.ptr<bf16, shared>, !cuda.ptr<bf16, global>, i1) -> ()
  cuda.call "cp_async_commit" from "cp_async.h"() : () -> ()
  cuda.call "cp_async_commit" from "cp_async.h"() : () -> ()
  cuda.call "cp_async_wait<1>" from "cp_async.h"() : () -> ()
  cuda.barrier
  cuda.call "ldmatrix_x4" from "mma.h"(%a, %tile) : (!cuda.ptr<i32, local>, !cuda.ptr<bf16, shared>) -> ()
}

// Warp specialization: one thread copies the data that the others multiply and release. After these have synchronized,
// ordinary writes reuse the memory of the ring.
cuda.kernel @roles(%m: !cuda.opaque<"CUtensorMap"> {cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 256 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c128 = arith.constant 128 : index
  %n = cuda.size 0
  %one = arith.constant 1 : i32
  %all = arith.constant 128 : i32
  %bytes = arith.constant 1024 : i32
  %on = arith.constant true
  %zero = arith.constant 0.0 : bf16
  %ring = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %full = cuda.shared 1024 : !cuda.ptr<i64, shared>
  %empty = cuda.shared 1152 : !cuda.ptr<i64, shared>
  %t = cuda.special thread_x
  %leads = arith.cmpi eq, %t, %c0 : index
  scf.if %leads {
    cuda.call "mbarrier_init" from "mbarrier.h"(%full, %one) : (!cuda.ptr<i64, shared>, i32) -> ()
    cuda.call "mbarrier_init" from "mbarrier.h"(%empty, %all) : (!cuda.ptr<i64, shared>, i32) -> ()
    cuda.call "fence_mbarrier_init" from "mbarrier.h"() : () -> ()
  }
  cuda.barrier
  %consumes = arith.cmpi slt, %t, %c128 : index
  scf.if %consumes {
    %acc = cuda.local : !cuda.local<16xf32>
    %d = cuda.call "swizzled_tile" from "wgmma.h"(%ring) : (!cuda.ptr<bf16, shared>) -> i64
    scf.for %i = %c0 to %n step %c1 {
      %parity = arith.remsi %i, %c1 : index
      cuda.call "mbarrier_wait" from "mbarrier.h"(%full, %parity) : (!cuda.ptr<i64, shared>, index) -> ()
      cuda.call "wgmma_fence" from "wgmma.h"() : () -> ()
      cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%acc, %d, %d, %on) : (!cuda.local<16xf32>, i64, i64, i1) -> ()
      cuda.call "wgmma_commit" from "wgmma.h"() : () -> ()
      cuda.call "wgmma_wait<0>" from "wgmma.h"() : () -> ()
      cuda.call "mbarrier_arrive" from "mbarrier.h"(%empty) : (!cuda.ptr<i64, shared>) -> ()
    }
    %v = cuda.get %acc[%c0] : !cuda.local<16xf32> -> f32
    cuda.barrier 1 threads 128
    cuda.store %zero, %ring[%t] : bf16, !cuda.ptr<bf16, shared>, index
  } else {
    %fetches = arith.cmpi eq, %t, %c128 : index
    scf.if %fetches {
      cuda.depend
      scf.for %i = %c0 to %n step %c1 {
        %parity = arith.remsi %i, %c1 : index
        cuda.call "mbarrier_wait" from "mbarrier.h"(%empty, %parity) : (!cuda.ptr<i64, shared>, index) -> ()
        cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%full, %bytes) : (!cuda.ptr<i64, shared>, i32) -> ()
        cuda.call "tma_load_2d" from "tma.h"(%ring, %m, %full, %c0, %i) : (!cuda.ptr<bf16, shared>, !cuda.opaque<"CUtensorMap">, !cuda.ptr<i64, shared>, index, index) -> ()
      }
    }
  }
  cuda.barrier
  %w = cuda.load %ring[%t] : !cuda.ptr<bf16, shared>, index -> bf16
}

// The same where a thread writes the data itself.
cuda.kernel @writing_roles() attributes {threads = 256 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c128 = arith.constant 128 : index
  %n = cuda.size 0
  %one = arith.constant 1 : i32
  %all = arith.constant 128 : i32
  %on = arith.constant true
  %zero = arith.constant 0.0 : bf16
  %ring = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %full = cuda.shared 1024 : !cuda.ptr<i64, shared>
  %empty = cuda.shared 1152 : !cuda.ptr<i64, shared>
  %t = cuda.special thread_x
  %leads = arith.cmpi eq, %t, %c0 : index
  scf.if %leads {
    cuda.call "mbarrier_init" from "mbarrier.h"(%full, %one) : (!cuda.ptr<i64, shared>, i32) -> ()
    cuda.call "mbarrier_init" from "mbarrier.h"(%empty, %all) : (!cuda.ptr<i64, shared>, i32) -> ()
    cuda.call "fence_mbarrier_init" from "mbarrier.h"() : () -> ()
  }
  cuda.barrier
  %consumes = arith.cmpi slt, %t, %c128 : index
  scf.if %consumes {
    %acc = cuda.local : !cuda.local<16xf32>
    %d = cuda.call "swizzled_tile" from "wgmma.h"(%ring) : (!cuda.ptr<bf16, shared>) -> i64
    scf.for %i = %c0 to %n step %c1 {
      %parity = arith.remsi %i, %c1 : index
      cuda.call "mbarrier_wait" from "mbarrier.h"(%full, %parity) : (!cuda.ptr<i64, shared>, index) -> ()
      cuda.call "wgmma_fence" from "wgmma.h"() : () -> ()
      cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%acc, %d, %d, %on) : (!cuda.local<16xf32>, i64, i64, i1) -> ()
      cuda.call "wgmma_commit" from "wgmma.h"() : () -> ()
      cuda.call "wgmma_wait<0>" from "wgmma.h"() : () -> ()
      cuda.call "mbarrier_arrive" from "mbarrier.h"(%empty) : (!cuda.ptr<i64, shared>) -> ()
    }
    %v = cuda.get %acc[%c0] : !cuda.local<16xf32> -> f32
    cuda.barrier 1 threads 128
  } else {
    %fetches = arith.cmpi eq, %t, %c128 : index
    scf.if %fetches {
      cuda.depend
      scf.for %i = %c0 to %n step %c1 {
        %parity = arith.remsi %i, %c1 : index
        cuda.call "mbarrier_wait" from "mbarrier.h"(%empty, %parity) : (!cuda.ptr<i64, shared>, index) -> ()
        cuda.store %zero, %ring[%c0] : bf16, !cuda.ptr<bf16, shared>, index
        cuda.call "fence_async_proxy" from "shared_address.h"() : () -> ()
        cuda.call "mbarrier_arrive_written" from "mbarrier.h"(%ring, %full) : (!cuda.ptr<bf16, shared>, !cuda.ptr<i64, shared>) -> ()
      }
    }
  }
}

// A call that is early reads what the launch before the kernel does not write, past the L1 cache.
cuda.kernel @early_calls(%rows: !cuda.ptr<f32, global> {cuda.provenance = #cuda.provenance<pushed>},
                         %x: !cuda.ptr<f32, global> {cuda.provenance = #cuda.provenance<state>},
                         %peers: !cuda.ptr<!cuda.opaque<"PeerTable">, global> {cuda.provenance = #cuda.provenance<peer>})
    attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %true = arith.constant true
  %a = cuda.local : !cuda.local<4xf32>
  %to = cuda.address %a[%c0] : !cuda.local<4xf32> -> !cuda.ptr<f32, local>
  %round = cuda.call "begin_round<2>" from "peers.h"(%peers) {early} : (!cuda.ptr<!cuda.opaque<"PeerTable">, global>) -> !cuda.opaque<"Round<2>">
  cuda.call "load_vector_l2_only<4>" from "tile.h"(%to, %x, %true) {early} : (!cuda.ptr<f32, local>, !cuda.ptr<f32, global>, i1) -> ()
  cuda.depend
  cuda.call "load_vector<4>" from "tile.h"(%to, %rows, %true) : (!cuda.ptr<f32, local>, !cuda.ptr<f32, global>, i1) -> ()
}

// A kernel that pushes rows lets the next launch start behind its wait.
cuda.kernel @late_dependents() attributes {threads = 128 : i64, late_dependents} {
  cuda.depend
  cuda.launch_dependents
}
