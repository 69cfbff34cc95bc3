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

    Fails, with the model's ops and the buffers' sizes, if a block of the chip cannot have so much.
  }];
  let dependentDialects = ["::inlay::cuda::CudaDialect"];
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

#endif // INLAY_PASSES_CUDA_PASSES
