//===- Passes.td - on CUDA kernels -----------------------------------------===//
//
// Run in this order on every kernel of the cuda dialect before it is printed.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_CUDA_PASSES
#define INLAY_PASSES_CUDA_PASSES

include "mlir/Pass/PassBase.td"

def AllocateSharedPass : Pass<"cuda-allocate-shared", "::inlay::cuda::KernelOp"> {
  let summary = "Gives each cuda.shared_buffer its place in shared memory.";
  let description = [{
    Overlays come first and all begin at 0; the buffers of one overlay, and behind the largest overlay those
    without one, follow each other in the order of the text, each at a multiple of its alignment. Buffers become
    `cuda.shared`. The kernel's `shared_bytes` becomes what is needed; where it was given before (a config's share of
    a multiprocessor), it stays, and the buffers must fit it.

    Fails, with the model's ops and the buffers' sizes, if a block of the module's `tile.target` cannot have so much.
  }];
  let dependentDialects = ["::inlay::cuda::CudaDialect", "::inlay::tile::TileDialect"];
}

def PlaceDependenciesPass : Pass<"cuda-place-dependencies", "::inlay::cuda::KernelOp"> {
  let summary = "Places the wait for the launches before this one, and the start of the next.";
  let description = [{
    A kernel without `cuda.depend` gets one just before the first access to memory that launches before may write or
    read: of another provenance than `weight`, `meta` and `older_kv`. What follows in the kernel's own block and needs
    nothing from there (arithmetic, and reading of early memory into variables that nothing behind the wait touches)
    moves before the wait. A kernel without
    `cuda.launch_dependents` gets it as its first op: the next launch starts filling its rings as soon as it finds
    room, and does not read what this one writes before its own wait.

    A kernel whose lowering placed them keeps them; cuda-verify-async checks both.
  }];
  let options = [Option<"early", "early", "bool", /*default=*/"true",
                        "false: every kernel waits as the first thing it does">];
  let dependentDialects = ["::inlay::cuda::CudaDialect"];
}

def VerifyAsyncPass : Pass<"cuda-verify-async", "::inlay::cuda::KernelOp"> {
  let summary = "Refuses kernels that do not wait for what is asynchronous.";
  let description = [{
    Runs on every kernel of a compilation. Changes nothing. Each message names the kernel, the model's ops, what the
    op does and what is missing before it.

    On some path through the text it refuses

    - **dependency**: reading memory of another provenance than `weight`, `meta` and `older_kv`, or writing any of the
      device's, before `cuda.depend`; a kernel with a path that never waits, since launches after it take its end for
      that of all before it. That an access marked `older_kv` does read older rows is the lowering's word.
    - **cp.async**: reading a buffer that copies fill, before a `cp_async_commit`, a `cp_async_wait` that covers the group
      and a barrier of the threads that copied.
    - **bulk and tensor copies**: reading or overwriting a buffer that they fill before `mbarrier_wait` on their barrier, by
      this thread or by one it has met since; accesses at an address that the awaited stage's index is no part of; filling
      a buffer that this thread has read and no barrier shows that the others have; announcing a copy at a barrier that is
      not fenced after its initialisation.
    - **mbarriers**: use without initialisation, or before the threads have met after it; a barrier that is waited for and
      nobody arrives at, or that copies announce themselves at and nobody waits for, or nobody says for this stage how
      many bytes come; an arrival count that no number of passes over the places where threads arrive adds up to; a constant number of bytes
      that is not what the one bulk copy beside it brings; copies in loops that run more often than the ring has
      stages and wait for nobody.
    - **wgmma**: overwriting what products of other warps may still read, or handing back a stage that products under way
      read; reading what other threads of the warpgroup wrote before they have met (at a barrier, or by arriving at an
      mbarrier and waiting there); products without `wgmma_fence` after their registers were used; using sums before `wgmma_commit` and a
      `wgmma_wait` that covers them; a loop that hands stages back without waiting for products; products that read
      shared memory written ordinarily with no `fence_async_proxy` since.
    - **clusters**: accesses to other blocks' memory before a meeting of the cluster, reading what was
      written since the last, writing what others may still read, and ending after the last access without one.
    - calls of the headers for copies, barriers and wgmma that passes/cuda/AsyncCalls.cpp has no row for.

    What it does not prove: the arithmetic of stages and parities (only that the index of the wait is part of the
    address); that ordinary writes to shared memory are ordered with ordinary reads (compute-sanitizer's racecheck
    sees those); anything about pointers or descriptors that come out of loops, branches or calls. Loops are taken to run,
    and of two branches each side is possible on its own: a kernel that is right only because two conditions agree is
    refused where the one that waits is behind the second.
  }];
  let dependentDialects = ["::inlay::cuda::CudaDialect"];
}

#endif // INLAY_PASSES_CUDA_PASSES
