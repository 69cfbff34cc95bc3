// RUN: inlay-opt --pass-pipeline="builtin.module(cuda.kernel(cuda-verify-async))" --split-input-file --verify-diagnostics %s

// One incorrect kernel for each rule. verify_async.mlir has the correct versions.

cuda.kernel @early_read(%x: !cuda.ptr<f32, global> {cuda.name = "x", cuda.provenance = #cuda.provenance<activation>})
    attributes {threads = 128 : i64, origin = "model.layers.0.mlp"} {
  %t = cuda.special thread_x
  // expected-error @+1 {{early_read (model.layers.0.mlp): cuda.load reads x (activation) before cuda.depend}}
  %v = cuda.load %x[%t] : !cuda.ptr<f32, global>, index -> f32
  cuda.depend
}

// -----

cuda.kernel @early_write(%y: !cuda.ptr<f32, global> {cuda.name = "y", cuda.provenance = #cuda.provenance<output>}) attributes {threads = 128 : i64} {
  %t = cuda.special thread_x
  %zero = arith.constant 0.0 : f32
  // expected-error @+1 {{cuda.store writes y before cuda.depend, while earlier launches may still read or write it}}
  cuda.store %zero, %y[%t] : f32, !cuda.ptr<f32, global>, index
  cuda.depend
}

// -----

// Calls that are not early, and a store by one that is.
cuda.kernel @early_calls(%rows: !cuda.ptr<f32, global> {cuda.name = "rows", cuda.provenance = #cuda.provenance<pushed>},
                         %x: !cuda.ptr<f32, global> {cuda.name = "x", cuda.provenance = #cuda.provenance<state>},
                         %peers: !cuda.ptr<!cuda.opaque<"PeerTable">, global> {cuda.name = "peers", cuda.provenance = #cuda.provenance<peer>})
    attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %true = arith.constant true
  %a = cuda.local : !cuda.local<4xf32>
  %to = cuda.address %a[%c0] : !cuda.local<4xf32> -> !cuda.ptr<f32, local>
  // expected-error @+1 {{begin_round<2> reads peers (peer) before cuda.depend}}
  %round = cuda.call "begin_round<2>" from "peers.h"(%peers) : (!cuda.ptr<!cuda.opaque<"PeerTable">, global>) -> !cuda.opaque<"Round<2>">
  // expected-error @+1 {{load_vector<4> reads x (state) before cuda.depend}}
  cuda.call "load_vector<4>" from "tile.h"(%to, %x, %true) : (!cuda.ptr<f32, local>, !cuda.ptr<f32, global>, i1) -> ()
  // expected-error @+1 {{store_vector<4> writes x before cuda.depend}}
  cuda.call "store_vector<4>" from "tile.h"(%x, %to, %true) {early} : (!cuda.ptr<f32, global>, !cuda.ptr<f32, local>, i1) -> ()
  cuda.depend
}

// -----

// Early loads of the rows that the launch before stores, and of others through the L1 cache.
cuda.kernel @early_loads(%rows: !cuda.ptr<f32, global> {cuda.name = "rows", cuda.provenance = #cuda.provenance<pushed>},
                         %x: !cuda.ptr<f32, global> {cuda.name = "x", cuda.provenance = #cuda.provenance<state>})
    attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %true = arith.constant true
  %a = cuda.local : !cuda.local<4xf32>
  %to = cuda.address %a[%c0] : !cuda.local<4xf32> -> !cuda.ptr<f32, local>
  // expected-error @+1 {{early_loads: load_vector_l2_only<4> reads rows (pushed) before cuda.depend, while the launch before may still write it}}
  cuda.call "load_vector_l2_only<4>" from "tile.h"(%to, %rows, %true) {early} : (!cuda.ptr<f32, local>, !cuda.ptr<f32, global>, i1) -> ()
  // expected-error @+1 {{early_loads: load_vector<4> reads x (state) before cuda.depend through the L1 cache, which may have older words; expected load_vector_l2_only}}
  cuda.call "load_vector<4>" from "tile.h"(%to, %x, %true) {early} : (!cuda.ptr<f32, local>, !cuda.ptr<f32, global>, i1) -> ()
  cuda.depend
}

// -----

// No launch pushes rows to this kernel, so any launch may run before its wait.
cuda.kernel @early_alone(%x: !cuda.ptr<f32, global> {cuda.name = "x", cuda.provenance = #cuda.provenance<state>}) attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %true = arith.constant true
  %a = cuda.local : !cuda.local<4xf32>
  %to = cuda.address %a[%c0] : !cuda.local<4xf32> -> !cuda.ptr<f32, local>
  // expected-error @+1 {{early_alone: load_vector_l2_only<4> is early in a kernel that no launch pushes rows to; expected an argument of provenance pushed, or cuda.depend first}}
  cuda.call "load_vector_l2_only<4>" from "tile.h"(%to, %x, %true) {early} : (!cuda.ptr<f32, local>, !cuda.ptr<f32, global>, i1) -> ()
  cuda.depend
}

// -----

// A round that ends early, and rows that are pushed in it, while the launch before may still push into it.
cuda.kernel @early_round(%rows: !cuda.ptr<f32, global> {cuda.name = "rows", cuda.provenance = #cuda.provenance<pushed>},
                         %peers: !cuda.ptr<!cuda.opaque<"PeerTable">, global> {cuda.name = "peers", cuda.provenance = #cuda.provenance<peer>}, %bytes: i64)
    attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %true = arith.constant true
  %a = cuda.local : !cuda.local<4xf32>
  %own = cuda.address %a[%c0] : !cuda.local<4xf32> -> !cuda.ptr<f32, local>
  %round = cuda.call "begin_round<2>" from "peers.h"(%peers) {early} : (!cuda.ptr<!cuda.opaque<"PeerTable">, global>) -> !cuda.opaque<"Round<2>">
  // expected-error @+1 {{early_round: push_piece is early, and sends or ends a round in which the launch before may still push; expected cuda.depend before it}}
  cuda.call "push_piece" from "peers.h"(%round, %own, %bytes, %bytes, %true) {early} : (!cuda.opaque<"Round<2>">, !cuda.ptr<f32, local>, i64, i64, i1) -> ()
  // expected-error @+1 {{early_round: end_round is early, and sends or ends a round in which the launch before may still push; expected cuda.depend before it}}
  cuda.call "end_round" from "peers.h"(%peers, %bytes) {early} : (!cuda.ptr<!cuda.opaque<"PeerTable">, global>, i64) -> ()
  cuda.depend
}

// -----

// The next round would begin while the launch before may still push into this one.
cuda.kernel @early_end(%peers: !cuda.ptr<!cuda.opaque<"PeerTable">, global> {cuda.name = "peers", cuda.provenance = #cuda.provenance<peer>}, %bytes: i64) attributes {threads = 128 : i64} {
  // expected-error @+1 {{early_end: end_round reads peers (peer) before cuda.depend}}
  cuda.call "end_round" from "peers.h"(%peers, %bytes) : (!cuda.ptr<!cuda.opaque<"PeerTable">, global>, i64) -> ()
  cuda.depend
}

// -----

// The next launch would start while launches run whose results it reads early.
cuda.kernel @early_dependents() attributes {threads = 128 : i64, late_dependents} {
  // expected-error @+1 {{early_dependents: cuda.launch_dependents comes before cuda.depend in a kernel with late_dependents, whose next launch may read what earlier launches write; expected it behind cuda.depend}}
  cuda.launch_dependents
  cuda.depend
}

// -----

// The rows of the cache are read through a map without the provenance older_kv.
cuda.kernel @early_map(%map: !cuda.opaque<"CUtensorMap"> {cuda.name = "keys", cuda.provenance = #cuda.provenance<kv>}) attributes {threads = 32 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : i32
  %c64 = arith.constant 64 : i32
  %ring = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %full = cuda.shared 1024 : !cuda.ptr<i64, shared>
  %t = cuda.special lane
  %leads = arith.cmpi eq, %t, %c0 : index
  scf.if %leads {
    cuda.call "mbarrier_init" from "mbarrier.h"(%full, %c1) : (!cuda.ptr<i64, shared>, i32) -> ()
    cuda.call "fence_mbarrier_init" from "mbarrier.h"() : () -> ()
    cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%full, %c64) : (!cuda.ptr<i64, shared>, i32) -> ()
    // expected-error @+1 {{tma_load_2d reads keys (kv) before cuda.depend}}
    cuda.call "tma_load_2d" from "tma.h"(%ring, %map, %full, %c0, %c0) : (!cuda.ptr<bf16, shared>, !cuda.opaque<"CUtensorMap">, !cuda.ptr<i64, shared>, index, index) -> ()
  }
  cuda.sync_warp
  cuda.depend
  cuda.call "mbarrier_wait" from "mbarrier.h"(%full, %c0) : (!cuda.ptr<i64, shared>, index) -> ()
}

// -----

// Blocks without work must wait, too: later launches assume that their end implies the end of all earlier launches.
// expected-error @+1 {{some_paths (model.layers.0): cuda.kernel ends without cuda.depend on some path}}
cuda.kernel @some_paths(%x: !cuda.ptr<f32, global> {cuda.name = "x", cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 128 : i64, origin = "model.layers.0"} {
  %t = cuda.special thread_x
  %block = cuda.special block_x
  %size = cuda.size 0
  %exists = arith.cmpi slt, %block, %size : index
  scf.if %exists {
    cuda.depend
    %v = cuda.load %x[%t] : !cuda.ptr<f32, global>, index -> f32
  }
}

// -----

cuda.kernel @uncommitted(%x: !cuda.ptr<bf16, global> {cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 128 : i64} {
  %t = cuda.special thread_x
  %true = arith.constant true
  cuda.depend
  %tile = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %f = cuda.local : !cuda.local<4xi32>
  %c0 = arith.constant 0 : index
  %a = cuda.address %f[%c0] : !cuda.local<4xi32> -> !cuda.ptr<i32, local>
  cuda.call "cp_async_16" from "cp_async.h"(%tile, %x, %true) : (!cuda.ptr<bf16, shared>, !cuda.ptr<bf16, global>, i1) -> ()
  cuda.call "cp_async_wait<0>" from "cp_async.h"() : () -> ()
  cuda.barrier
  // expected-error @+1 {{ldmatrix_x4 reads the shared memory at 0, the target of copies without cp_async_commit}}
  cuda.call "ldmatrix_x4" from "mma.h"(%a, %tile) : (!cuda.ptr<i32, local>, !cuda.ptr<bf16, shared>) -> ()
}

// -----

cuda.kernel @unwaited(%x: !cuda.ptr<bf16, global> {cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 128 : i64} {
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
  cuda.call "cp_async_wait<2>" from "cp_async.h"() : () -> ()
  cuda.barrier
  // expected-error @+1 {{ldmatrix_x4 reads the shared memory at 0, the target of copies without cp_async_wait}}
  cuda.call "ldmatrix_x4" from "mma.h"(%a, %tile) : (!cuda.ptr<i32, local>, !cuda.ptr<bf16, shared>) -> ()
}

// -----

cuda.kernel @unmet(%x: !cuda.ptr<bf16, global> {cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 128 : i64} {
  %t = cuda.special thread_x
  %true = arith.constant true
  cuda.depend
  %tile = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %f = cuda.local : !cuda.local<4xi32>
  %c0 = arith.constant 0 : index
  %a = cuda.address %f[%c0] : !cuda.local<4xi32> -> !cuda.ptr<i32, local>
  cuda.call "cp_async_16" from "cp_async.h"(%tile, %x, %true) : (!cuda.ptr<bf16, shared>, !cuda.ptr<bf16, global>, i1) -> ()
  cuda.call "cp_async_commit" from "cp_async.h"() : () -> ()
  cuda.call "cp_async_wait<0>" from "cp_async.h"() : () -> ()
  // expected-error @+1 {{ldmatrix_x4 reads the shared memory at 0 after cp_async_wait without a barrier: other threads copied parts of it}}
  cuda.call "ldmatrix_x4" from "mma.h"(%a, %tile) : (!cuda.ptr<i32, local>, !cuda.ptr<bf16, shared>) -> ()
}

// -----

cuda.kernel @unwaited_copy(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
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
    // expected-error @+1 {{bulk_copy completes on the shared memory at 2048, which no mbarrier_wait waits for}}
      cuda.call "bulk_copy" from "bulk_copy.h"(%p, %w, %bytes, %b) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
    }
  }
  cuda.sync_warp
  cuda.depend
  scf.for %i = %c0 to %stages step %c1 {
    %other = arith.subi %c1, %i : index
    %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
    %p = cuda.offset %ring[%i] : !cuda.ptr<i8, shared>, index
    // expected-error @+1 {{cuda.load reads the shared memory at 0, which asynchronous copies fill, before mbarrier_wait on the shared memory at 2048}}
    %v = cuda.load %p[%lane] : !cuda.ptr<i8, shared>, index -> i8
    cuda.sync_warp
    scf.if %leads {
      cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%b, %bytes) : (!cuda.ptr<i64, shared>, index) -> ()
      cuda.call "bulk_copy" from "bulk_copy.h"(%p, %w, %bytes, %b) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
    }
    cuda.sync_warp
  }
}

// -----

cuda.kernel @other_stage(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
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
    %p = cuda.offset %ring[%c1] : !cuda.ptr<i8, shared>, index
    // expected-error @+1 {{cuda.load reads another stage of the shared memory at 0 than the one whose barrier was waited for}}
    %v = cuda.load %p[%lane] : !cuda.ptr<i8, shared>, index -> i8
    cuda.sync_warp
    scf.if %leads {
      cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%b, %bytes) : (!cuda.ptr<i64, shared>, index) -> ()
      cuda.call "bulk_copy" from "bulk_copy.h"(%p, %w, %bytes, %b) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
    }
    cuda.sync_warp
  }
}

// -----

cuda.kernel @refilled(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
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
    scf.if %leads {
      cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%b, %bytes) : (!cuda.ptr<i64, shared>, index) -> ()
    // expected-error @+1 {{bulk_copy fills the shared memory at 0 again while other threads may still read it}}
      cuda.call "bulk_copy" from "bulk_copy.h"(%p, %w, %bytes, %b) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
    }
    cuda.sync_warp
  }
}

// -----

cuda.kernel @unfenced_init(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
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
  }
  cuda.sync_warp
  scf.if %leads {
    scf.for %i = %c0 to %stages step %c1 {
      %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
      %p = cuda.offset %ring[%i] : !cuda.ptr<i8, shared>, index
      cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%b, %announced) : (!cuda.ptr<i64, shared>, index) -> ()
    // expected-error @+1 {{bulk_copy uses the shared memory at 2048 before fence_mbarrier_init has made it visible to TMA}}
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
    // expected-error @+1 {{bulk_copy uses the shared memory at 2048 before}}
      cuda.call "bulk_copy" from "bulk_copy.h"(%p, %w, %bytes, %b) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
    }
    cuda.sync_warp
  }
}

// -----

cuda.kernel @unmet_init(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
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
  scf.if %leads {
    scf.for %i = %c0 to %stages step %c1 {
      %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
      %p = cuda.offset %ring[%i] : !cuda.ptr<i8, shared>, index
    // expected-error @+1 {{mbarrier_arrive_expect uses the shared memory at 2048, which another thread initialised}}
      cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%b, %announced) : (!cuda.ptr<i64, shared>, index) -> ()
    // expected-error @+1 {{bulk_copy uses the shared memory at 2048, which another}}
      cuda.call "bulk_copy" from "bulk_copy.h"(%p, %w, %bytes, %b) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
    }
  }
  cuda.depend
  scf.for %i = %c0 to %stages step %c1 {
    %other = arith.subi %c1, %i : index
    %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
    // expected-error @+1 {{mbarrier_wait uses the shared memory at 2048, which another thread initialised, without a barrier in between}}
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

// -----

cuda.kernel @no_init(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
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
  cuda.sync_warp
  scf.if %leads {
    scf.for %i = %c0 to %stages step %c1 {
      %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
      %p = cuda.offset %ring[%i] : !cuda.ptr<i8, shared>, index
      cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%b, %announced) : (!cuda.ptr<i64, shared>, index) -> ()
    // expected-error @+1 {{bulk_copy uses the shared memory at 2048, which is never initialised}}
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

// -----

cuda.kernel @wrong_count(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %stages = arith.constant 2 : index
  %many = cuda.size 0
  %count = arith.constant 3 : i32
  %announced = arith.constant 1024 : index
  %bytes = arith.constant 1024 : index
  %lane = cuda.special lane
  %leads = arith.cmpi slt, %lane, %stages : index
  %ring = cuda.shared 0 : !cuda.ptr<i8, shared>
  %full = cuda.shared 2048 : !cuda.ptr<i64, shared>
  scf.if %leads {
    scf.for %i = %c0 to %stages step %c1 {
      %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
    // expected-error @+1 {{mbarrier_init expects 3 arrivals per phase at the shared memory at 2048, but the calls that arrive there have 2 threads}}
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

// -----

cuda.kernel @wrong_bytes(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %stages = arith.constant 2 : index
  %many = cuda.size 0
  %count = arith.constant 1 : i32
  %announced = arith.constant 512 : index
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
    // expected-error @+1 {{mbarrier_arrive_expect expects 512 bytes, but its copy has 1024}}
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

// -----

cuda.kernel @overrun(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
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
    scf.for %i = %c0 to %many step %c1 {
      %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
      %p = cuda.offset %ring[%i] : !cuda.ptr<i8, shared>, index
      cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%b, %announced) : (!cuda.ptr<i64, shared>, index) -> ()
    // expected-error @+1 {{bulk_copy wraps around the 2 stages at the shared memory at 2048 without waiting for their readers}}
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

// -----

cuda.kernel @unfenced_tile() attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %half = arith.constant 0.0 : bf16
  %on = arith.constant true
  %tile = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %acc = cuda.local : !cuda.local<16xf32>
  cuda.depend
  cuda.store %half, %tile[%c0] : bf16, !cuda.ptr<bf16, shared>, index
  cuda.barrier
  %d = cuda.call "swizzled_tile" from "wgmma.h"(%tile) : (!cuda.ptr<bf16, shared>) -> i64
  cuda.call "wgmma_fence" from "wgmma.h"() : () -> ()
  // expected-error @+1 {{reads the shared memory at 0 through the async proxy after ordinary writes, without fence_async_proxy in between}}
  cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%acc, %d, %d, %on) : (!cuda.local<16xf32>, i64, i64, i1) -> ()
  cuda.call "wgmma_commit" from "wgmma.h"() : () -> ()
  cuda.call "wgmma_wait<0>" from "wgmma.h"() : () -> ()
  %v = cuda.get %acc[%c0] : !cuda.local<16xf32> -> f32
}

// -----

cuda.kernel @unfenced_registers() attributes {threads = 128 : i64} {
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
  // expected-error @+1 {{starts without wgmma_fence after its registers were last used}}
  cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%acc, %d, %d, %on) : (!cuda.local<16xf32>, i64, i64, i1) -> ()
  cuda.call "wgmma_commit" from "wgmma.h"() : () -> ()
  cuda.call "wgmma_wait<0>" from "wgmma.h"() : () -> ()
  %v = cuda.get %acc[%c0] : !cuda.local<16xf32> -> f32
}

// -----

cuda.kernel @uncommitted_product() attributes {threads = 128 : i64} {
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
  cuda.call "wgmma_wait<0>" from "wgmma.h"() : () -> ()
  // expected-error @+1 {{cuda.get uses a variable, accumulators of wgmma, without wgmma_commit}}
  %v = cuda.get %acc[%c0] : !cuda.local<16xf32> -> f32
}

// -----

cuda.kernel @unwaited_product() attributes {threads = 128 : i64} {
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
  // expected-error @+1 {{cuda.get uses a variable, accumulators of wgmma, without wgmma_wait}}
  %v = cuda.get %acc[%c0] : !cuda.local<16xf32> -> f32
}

// -----

// A stage must not be filled again before the products that read it have ended.
cuda.kernel @released() attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = cuda.size 0
  %all = arith.constant 128 : i32
  %on = arith.constant true
  %tile = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %empty = cuda.shared 1024 : !cuda.ptr<i64, shared>
  %acc = cuda.local : !cuda.local<16xf32>
  %t = cuda.special thread_x
  %leads = arith.cmpi eq, %t, %c0 : index
  scf.if %leads {
    cuda.call "mbarrier_init" from "mbarrier.h"(%empty, %all) : (!cuda.ptr<i64, shared>, i32) -> ()
  }
  cuda.barrier
  cuda.depend
  %d = cuda.call "swizzled_tile" from "wgmma.h"(%tile) : (!cuda.ptr<bf16, shared>) -> i64
  scf.for %i = %c0 to %n step %c1 {
    cuda.call "wgmma_fence" from "wgmma.h"() : () -> ()
    cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%acc, %d, %d, %on) : (!cuda.local<16xf32>, i64, i64, i1) -> ()
    cuda.call "wgmma_commit" from "wgmma.h"() : () -> ()
    // expected-error @+1 {{mbarrier_arrive releases a stage at the shared memory at 1024 without a wgmma_wait after the products that read it}}
    cuda.call "mbarrier_arrive" from "mbarrier.h"(%empty) : (!cuda.ptr<i64, shared>) -> ()
  }
}

// -----

cuda.kernel @not_begun() attributes {threads = 128 : i64, cluster = 2 : i64} {
  %t = cuda.special thread_x
  %one = arith.constant 1 : i32
  %zero = arith.constant 0.0 : f32
  %x = cuda.shared 0 : !cuda.ptr<f32, shared>
  cuda.depend
  cuda.store %zero, %x[%t] : f32, !cuda.ptr<f32, shared>, index
  // expected-error @+1 {{load_of_block reads another block's shared memory before a cluster barrier ensures that it has started}}
  %v = cuda.call "load_of_block" from "warp.h"(%x, %one) : (!cuda.ptr<f32, shared>, i32) -> f32
  cuda.call "cluster_barrier" from "warp.h"() : () -> ()
}

// -----

cuda.kernel @not_written() attributes {threads = 128 : i64, cluster = 2 : i64} {
  %t = cuda.special thread_x
  %one = arith.constant 1 : i32
  %zero = arith.constant 0.0 : f32
  %x = cuda.shared 0 : !cuda.ptr<f32, shared>
  cuda.depend
  cuda.call "cluster_barrier" from "warp.h"() : () -> ()
  cuda.store %zero, %x[%t] : f32, !cuda.ptr<f32, shared>, index
  // expected-error @+1 {{load_of_block reads the shared memory at 0 of another block, written since the last cluster barrier}}
  %v = cuda.call "load_of_block" from "warp.h"(%x, %one) : (!cuda.ptr<f32, shared>, i32) -> f32
  cuda.call "cluster_barrier" from "warp.h"() : () -> ()
}

// -----

  // expected-error @+1 {{left: cuda.return is reached while blocks of the cluster may still use each other's shared memory; end with cluster_leave}}
cuda.kernel @left() attributes {threads = 128 : i64, cluster = 2 : i64} {
  %t = cuda.special thread_x
  %one = arith.constant 1 : i32
  %zero = arith.constant 0.0 : f32
  %x = cuda.shared 0 : !cuda.ptr<f32, shared>
  cuda.depend
  cuda.call "cluster_barrier" from "warp.h"() : () -> ()
  cuda.store %zero, %x[%t] : f32, !cuda.ptr<f32, shared>, index
  cuda.call "cluster_barrier" from "warp.h"() : () -> ()
  %v = cuda.call "load_of_block" from "warp.h"(%x, %one) : (!cuda.ptr<f32, shared>, i32) -> f32
}

// -----

// cluster_leave does not make writes visible.
cuda.kernel @not_shown() attributes {threads = 128 : i64, cluster = 2 : i64} {
  %t = cuda.special thread_x
  %one = arith.constant 1 : i32
  %zero = arith.constant 0.0 : f32
  %x = cuda.shared 0 : !cuda.ptr<f32, shared>
  cuda.depend
  cuda.store %zero, %x[%t] : f32, !cuda.ptr<f32, shared>, index
  cuda.call "cluster_leave" from "warp.h"() : () -> ()
  // expected-error @+1 {{load_of_block reads the shared memory at 0 of another block, written since the last cluster barrier}}
  %v = cuda.call "load_of_block" from "warp.h"(%x, %one) : (!cuda.ptr<f32, shared>, i32) -> f32
  cuda.call "cluster_leave" from "warp.h"() : () -> ()
}

// -----

// Data that another block sends has arrived when the phase of its mbarrier ends. The receiver must not end before.
// expected-error @+1 {{not_received: cuda.return is reached while blocks of the cluster may still use each other's shared memory; end with cluster_leave}}
cuda.kernel @not_received() attributes {threads = 128 : i64, cluster = 2 : i64} {
  %t = cuda.special thread_x
  %c0 = arith.constant 0 : index
  %one = arith.constant 1 : i32
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
  cuda.call "cluster_arrive" from "warp.h"() : () -> ()
  cuda.call "cluster_wait" from "warp.h"() : () -> ()
  scf.if %first {
    cuda.call "send_to_block" from "warp.h"(%x, %one, %zero, %bar) : (!cuda.ptr<f32, shared>, i32, f32, !cuda.ptr<i64, shared>) -> ()
  }
  // expected-error @+1 {{which other blocks write, without a wait in between}}
  %v = cuda.load %x[%c0] : !cuda.ptr<f32, shared>, index -> f32
}

// -----

// The other block reads the sums of one pass while this one writes those of the next.
cuda.kernel @written_again() attributes {threads = 128 : i64, cluster = 2 : i64} {
  %t = cuda.special thread_x
  %one = arith.constant 1 : i32
  %zero = arith.constant 0.0 : f32
  %x = cuda.shared 0 : !cuda.ptr<f32, shared>
  cuda.depend
  cuda.store %zero, %x[%t] : f32, !cuda.ptr<f32, shared>, index
  cuda.call "cluster_barrier" from "warp.h"() : () -> ()
  %v = cuda.call "load_of_block" from "warp.h"(%x, %one) : (!cuda.ptr<f32, shared>, i32) -> f32
  // expected-error @+1 {{cuda.store overwrites the shared memory at 0, which other blocks may still read, without a cluster barrier in between}}
  cuda.store %v, %x[%t] : f32, !cuda.ptr<f32, shared>, index
  cuda.call "cluster_barrier" from "warp.h"() : () -> ()
}

// -----

cuda.kernel @multiplied() attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %half = arith.constant 0.0 : bf16
  %on = arith.constant true
  %tile = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %acc = cuda.local : !cuda.local<16xf32>
  cuda.depend
  %d = cuda.call "swizzled_tile" from "wgmma.h"(%tile) : (!cuda.ptr<bf16, shared>) -> i64
  cuda.call "wgmma_fence" from "wgmma.h"() : () -> ()
  cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%acc, %d, %d, %on) : (!cuda.local<16xf32>, i64, i64, i1) -> ()
  cuda.call "wgmma_commit" from "wgmma.h"() : () -> ()
  cuda.call "wgmma_wait<0>" from "wgmma.h"() : () -> ()
  // expected-error @+1 {{cuda.store overwrites the shared memory at 0, which products of other warps may still read, without a barrier in between}}
  cuda.store %half, %tile[%c0] : bf16, !cuda.ptr<bf16, shared>, index
}

// -----

// Two branches fill the first stage, and only one of them says how many bytes come.
cuda.kernel @unannounced_in_a_branch(%w: !cuda.ptr<i8, readonly>, %early: !cuda.ptr<i1, readonly>) attributes {threads = 32 : i64} {
  %c0 = arith.constant 0 : index
  %count = arith.constant 32 : i32
  %bytes = arith.constant 64 : index
  %ring = cuda.shared 0 : !cuda.ptr<i8, shared>
  %full = cuda.shared 2048 : !cuda.ptr<i64, shared>
  cuda.call "mbarrier_init" from "mbarrier.h"(%full, %count) : (!cuda.ptr<i64, shared>, i32) -> ()
  cuda.call "fence_mbarrier_init" from "mbarrier.h"() : () -> ()
  cuda.sync_warp
  %is_early = cuda.load %early[%c0] : !cuda.ptr<i1, readonly>, index -> i1
  scf.if %is_early {
    %first = cuda.offset %full[%c0] : !cuda.ptr<i64, shared>, index
    cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%first, %bytes) : (!cuda.ptr<i64, shared>, index) -> ()
    cuda.call "bulk_copy" from "bulk_copy.h"(%ring, %w, %bytes, %first) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
  } else {
    %first = cuda.offset %full[%c0] : !cuda.ptr<i64, shared>, index
    // expected-error @+1 {{bulk_copy completes on the shared memory at 2048, where no mbarrier_arrive_expect expects the bytes of this stage}}
    cuda.call "bulk_copy" from "bulk_copy.h"(%ring, %w, %bytes, %first) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
  }
  cuda.depend
  cuda.call "mbarrier_wait" from "mbarrier.h"(%full, %c0) : (!cuda.ptr<i64, shared>, index) -> ()
}

// -----

// The bytes of the second stage are not expected.
cuda.kernel @unannounced(%w: !cuda.ptr<i8, readonly>) attributes {threads = 32 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %count = arith.constant 32 : i32
  %bytes = arith.constant 64 : index
  %ring = cuda.shared 0 : !cuda.ptr<i8, shared>
  %full = cuda.shared 2048 : !cuda.ptr<i64, shared>
  scf.for %i = %c0 to %c2 step %c1 {
    %b = cuda.offset %full[%i] : !cuda.ptr<i64, shared>, index
    cuda.call "mbarrier_init" from "mbarrier.h"(%b, %count) : (!cuda.ptr<i64, shared>, i32) -> ()
  }
  cuda.call "fence_mbarrier_init" from "mbarrier.h"() : () -> ()
  cuda.sync_warp
  %first = cuda.offset %full[%c0] : !cuda.ptr<i64, shared>, index
  %second = cuda.offset %full[%c1] : !cuda.ptr<i64, shared>, index
  cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%first, %bytes) : (!cuda.ptr<i64, shared>, index) -> ()
  cuda.call "bulk_copy" from "bulk_copy.h"(%ring, %w, %bytes, %first) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
  // expected-error @+1 {{bulk_copy completes on the shared memory at 2048, where no mbarrier_arrive_expect expects the bytes of this stage}}
  cuda.call "bulk_copy" from "bulk_copy.h"(%ring, %w, %bytes, %second) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
  cuda.depend
  cuda.call "mbarrier_wait" from "mbarrier.h"(%first, %c0) : (!cuda.ptr<i64, shared>, index) -> ()
}

// -----

// The threads of the warpgroup have fenced their writes, but not synchronized.
cuda.kernel @staged() attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %half = arith.constant 0.0 : bf16
  %on = arith.constant true
  %tile = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %acc = cuda.local : !cuda.local<16xf32>
  cuda.depend
  cuda.store %half, %tile[%c0] : bf16, !cuda.ptr<bf16, shared>, index
  cuda.call "fence_async_proxy" from "shared_address.h"() : () -> ()
  %d = cuda.call "swizzled_tile" from "wgmma.h"(%tile) : (!cuda.ptr<bf16, shared>) -> i64
  cuda.call "wgmma_fence" from "wgmma.h"() : () -> ()
  // expected-error @+1 {{reads the shared memory at 0, which threads of the warpgroup wrote, without a barrier in between}}
  cuda.call "wgmma_m64k16<bfloat16, 32>" from "wgmma.h"(%acc, %d, %d, %on) : (!cuda.local<16xf32>, i64, i64, i1) -> ()
}

// -----

cuda.kernel @unknown() attributes {threads = 128 : i64} {
  %x = cuda.shared 0 : !cuda.ptr<f32, shared>
  cuda.depend
  // expected-error @+1 {{tma_store_2d is unknown to the verifier; give it a row in passes/cuda/AsyncCalls.cpp}}
  cuda.call "tma_store_2d" from "tma.h"(%x) : (!cuda.ptr<f32, shared>) -> ()
}

// -----

cuda.kernel @changed_fragments() attributes {threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %word = arith.constant 0 : i32
  %on = arith.constant true
  %tile = cuda.shared 0 : !cuda.ptr<bf16, shared>
  %acc = cuda.local : !cuda.local<16xf32>
  %pairs = cuda.local : !cuda.local<4xi32>
  %p = cuda.address %pairs[%c0] : !cuda.local<4xi32> -> !cuda.ptr<i32, local>
  cuda.depend
  %d = cuda.call "swizzled_tile" from "wgmma.h"(%tile) : (!cuda.ptr<bf16, shared>) -> i64
  cuda.call "wgmma_fence" from "wgmma.h"() : () -> ()
  cuda.call "wgmma_m64k16_registers<bfloat16, 32>" from "wgmma.h"(%acc, %p, %d, %on) : (!cuda.local<16xf32>, !cuda.ptr<i32, local>, i64, i1) -> ()
  cuda.call "wgmma_commit" from "wgmma.h"() : () -> ()
  // expected-error @+1 {{cuda.set changes a variable, which products may still read; no wgmma_wait covers them}}
  cuda.set %word, %pairs[%c0] : i32, !cuda.local<4xi32>
  cuda.call "wgmma_wait<0>" from "wgmma.h"() : () -> ()
  %v = cuda.get %acc[%c0] : !cuda.local<16xf32> -> f32
}

// -----

cuda.kernel @overwritten(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 32 : i64} {
  %c0 = arith.constant 0 : index
  %count = arith.constant 1 : i32
  %bytes = arith.constant 1024 : index
  %lane = cuda.special lane
  %leads = arith.cmpi eq, %lane, %c0 : index
  %ring = cuda.shared 0 : !cuda.ptr<i8, shared>
  %full = cuda.shared 1024 : !cuda.ptr<i64, shared>
  scf.if %leads {
    cuda.call "mbarrier_init" from "mbarrier.h"(%full, %count) : (!cuda.ptr<i64, shared>, i32) -> ()
    cuda.call "fence_mbarrier_init" from "mbarrier.h"() : () -> ()
    cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%full, %bytes) : (!cuda.ptr<i64, shared>, index) -> ()
    cuda.call "bulk_copy" from "bulk_copy.h"(%ring, %w, %bytes, %full) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
  }
  cuda.sync_warp
  cuda.depend
  cuda.call "mbarrier_wait" from "mbarrier.h"(%full, %c0) : (!cuda.ptr<i64, shared>, index) -> ()
  %v = cuda.load %ring[%lane] : !cuda.ptr<i8, shared>, index -> i8
  // expected-error @+1 {{cuda.store overwrites the shared memory at 0, which other threads may still read, without a barrier in between}}
  cuda.store %v, %ring[%c0] : i8, !cuda.ptr<i8, shared>, index
}

// -----

cuda.kernel @spins(%w: !cuda.ptr<i8, readonly> {cuda.name = "w", cuda.provenance = #cuda.provenance<weight>}) attributes {threads = 64 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %count = arith.constant 1 : i32
  %bytes = arith.constant 1024 : index
  %lane = cuda.special lane
  %warp = cuda.special warp
  %thread = cuda.special thread_x
  %leads = arith.cmpi eq, %thread, %c0 : index
  %isSecond = arith.cmpi eq, %warp, %c1 : index
  %ring = cuda.shared 0 : !cuda.ptr<i8, shared>
  %full = cuda.shared 1024 : !cuda.ptr<i64, shared>
  scf.if %leads {
    cuda.call "mbarrier_init" from "mbarrier.h"(%full, %count) : (!cuda.ptr<i64, shared>, i32) -> ()
    cuda.call "fence_mbarrier_init" from "mbarrier.h"() : () -> ()
  }
  cuda.barrier
  scf.if %leads {
    cuda.call "mbarrier_arrive_expect" from "mbarrier.h"(%full, %bytes) : (!cuda.ptr<i64, shared>, index) -> ()
    cuda.call "bulk_copy" from "bulk_copy.h"(%ring, %w, %bytes, %full) : (!cuda.ptr<i8, shared>, !cuda.ptr<i8, readonly>, index, !cuda.ptr<i64, shared>) -> ()
  }
  cuda.depend
  // The thread that copies is none of the second warp.
  scf.if %isSecond {
    cuda.call "mbarrier_wait" from "mbarrier.h"(%full, %c0) : (!cuda.ptr<i64, shared>, index) -> ()
  } else {
    // expected-error @+1 {{mbarrier_wait lets lanes spin while another lane of their warp may not have made its}}
    cuda.call "mbarrier_wait" from "mbarrier.h"(%full, %c0) : (!cuda.ptr<i64, shared>, index) -> ()
  }
}

// -----

// A thread writes what others multiply, and does not fence it.
cuda.kernel @unfenced_slot() attributes {threads = 256 : i64} {
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
        // expected-error @+1 {{mbarrier_arrive_written hands over the shared memory at 0 after ordinary writes, without fence_async_proxy in between}}
        cuda.call "mbarrier_arrive_written" from "mbarrier.h"(%ring, %full) : (!cuda.ptr<bf16, shared>, !cuda.ptr<i64, shared>) -> ()
      }
    }
  }
}

// -----

// It does not wait until the slot is released.
cuda.kernel @slot_in_use() attributes {threads = 256 : i64} {
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
        // expected-error @+1 {{cuda.store overwrites the shared memory at 0, which asynchronous copies fill, before mbarrier_wait on the shared memory at 1024}}
        cuda.store %zero, %ring[%c0] : bf16, !cuda.ptr<bf16, shared>, index
        cuda.call "fence_async_proxy" from "shared_address.h"() : () -> ()
        cuda.call "mbarrier_arrive_written" from "mbarrier.h"(%ring, %full) : (!cuda.ptr<bf16, shared>, !cuda.ptr<i64, shared>) -> ()
      }
    }
  }
}
