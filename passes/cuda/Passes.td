//===- Passes.td - passes on CUDA kernels ----------------------------------===//
//
// These passes run in this order on every kernel of the cuda dialect before it is printed.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_CUDA_PASSES
#define INLAY_PASSES_CUDA_PASSES

include "mlir/Pass/PassBase.td"

def AllocateSharedPass : Pass<"cuda-allocate-shared", "::inlay::cuda::KernelOp"> {
  let summary = "Assigns shared memory offsets to cuda.shared_buffer ops.";
  let description = [{
    All overlays start at offset 0. Buffers without an overlay follow after the largest overlay. Within each, buffers
    are placed in program order, each aligned to its alignment, and become `cuda.shared`. The kernel's `shared_bytes`
    is set to the total size. If it was already set (by the schedule), it is kept and the buffers must fit.

    Fails if a block of the module's `tile.target` has less shared memory. The error names the model's ops and the sizes
    of the buffers.
  }];
  let dependentDialects = ["::inlay::cuda::CudaDialect", "::inlay::tile::TileDialect"];
}

def PlaceDependenciesPass : Pass<"cuda-place-dependencies", "::inlay::cuda::KernelOp"> {
  let summary = "Inserts the wait for earlier launches and the early start of the next launch.";
  let description = [{
    A kernel without `cuda.depend` gets one before the first access to memory that earlier launches may write or read,
    that is memory with a provenance other than `weight`, `meta` and `older_kv`. Later ops in the kernel's top-level
    block that do not depend on that memory move before the wait: arithmetic, and reads of early memory into variables
    that no op after the wait uses. A kernel without `cuda.launch_dependents` gets one as its first op. The next launch
    then starts to fill its rings as soon as its blocks fit on the chip. It reads results of this launch only after its
    own wait.

    A kernel with `late_dependents` gets `cuda.launch_dependents` after each `cuda.depend` instead; the first that a block
    comes to counts. So when the next launch starts, all launches before this one have ended. Calls with `early` rely on it:
    they may stand before the wait, because this pass takes what they read for memory that no launch writes meanwhile, but
    for words that they wait for.

    A kernel whose lowering inserted these ops keeps them. cuda-verify-async checks both.
  }];
  let options = [Option<"early", "early", "bool", /*default=*/"true",
                        "Place the wait as late as possible; false: every kernel starts with the wait">];
  let dependentDialects = ["::inlay::cuda::CudaDialect"];
}

def VerifyAsyncPass : Pass<"cuda-verify-async", "::inlay::cuda::KernelOp"> {
  let summary = "Rejects kernels with missing synchronization of asynchronous operations.";
  let description = [{
    Runs on every kernel of a compilation and changes nothing. Each error names the kernel, the model's ops, the access
    and the missing synchronization.

    It rejects a kernel in which, on some path,

    - **dependency**: memory with a provenance other than `weight`, `meta` and `older_kv` is read, or any device memory
      is written, before `cuda.depend`; or `cuda.depend` is never reached (later launches assume that the end of this
      kernel implies the end of all earlier ones); or `cuda.launch_dependents` comes before `cuda.depend` in a kernel with
      `late_dependents`. A call with `early` may read before `cuda.depend`, past the L1 cache, and may not write a kernel's
      arguments there. Its kernel has an argument of provenance `pushed`, which it does not read; of the functions of
      the exchange it may be one that does not send or end a round. Whether an access marked `older_kv` really reads older
      rows is not checked. That the launch before a kernel with `early` calls leaves their memory alone is checked where launches are
      listed, by the verifier of `tile.launch`.
    - **cp.async**: a buffer is read before a `cp_async_commit`, a `cp_async_wait` that covers the group, and a barrier
      of the threads that copied.
    - **bulk and tensor copies**: the destination is read or overwritten before an `mbarrier_wait` on the copy's
      mbarrier by this thread, or by a thread with which it has synchronized since; an address does not depend on the
      index of the awaited stage; a buffer is filled again without a barrier after the other threads' reads; a copy uses
      an mbarrier without a fence after its initialization.
    - **mbarriers**: an mbarrier is used before its initialization, or before a barrier after it; there is a wait
      without an arrival; there are copies without a wait, or without an expected byte count for their stage; the
      arrival count does not equal a possible sum of the arrivals in the kernel; a constant expected byte count differs
      from the size of the only bulk copy; a loop with copies runs more iterations than the ring has stages and never
      waits for the consumers; lanes of a warp wait although another lane of it started copies since the warp last
      synchronized (lanes that spin can keep that lane from starting them).
    - **wgmma**: shared memory is overwritten while products of other warps may still read it; a stage is released while
      products in flight read it; data of other threads of the warpgroup is read before the threads have synchronized
      (at a barrier, or by arriving at an mbarrier and waiting for it); a product follows other uses of its registers
      without `wgmma_fence`; accumulators are used before `wgmma_commit` and a `wgmma_wait` that covers them; a loop
      releases stages without waiting for products; products read shared memory after ordinary stores without
      `fence_async_proxy`.
    - **clusters**: memory of another block is accessed before a cluster barrier; data written since the last cluster
      barrier is read; data that other blocks may still read is overwritten; the kernel ends after such an access
      without a cluster barrier.
    - **unknown functions**: a function of the headers for copies, barriers or wgmma is called that has no row in
      passes/cuda/AsyncCalls.cpp.

    It does not check: the arithmetic of stages and parities (only that the address depends on the index of the wait);
    the order of ordinary reads and writes of shared memory (compute-sanitizer's racecheck finds those errors); pointers
    or descriptors that result from loops, branches or calls. It assumes that loops run at least once and that the
    branches of different conditions are independent. So it rejects a kernel that is correct only because two conditions
    are equal, if the wait is under one of them and the access under the other.
  }];
  let dependentDialects = ["::inlay::cuda::CudaDialect"];
}

#endif // INLAY_PASSES_CUDA_PASSES
