//===- PlanKernels.h - the plan's description of a kernel ------------------===//
//
// What a target runs for a program, and what its launches need to know of it. It makes no decisions about kernels: a
// cuda.kernel states how it is launched.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_PLANKERNELS_H
#define INLAY_COMPILER_PIPELINES_PLANKERNELS_H

#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "passes/tile/LibraryProduct.h"
#include "runtime/bundle/plan_generated.h"

#include <optional>
#include <vector>

namespace inlay {

/// What a target runs for a program: a kernel of the cuda dialect, a library call, or, if both are empty, a function of
/// the cpu library or the collective that the program is and that a communicator runs.
struct KernelFacts {
  tile::ProgramOp program;
  cuda::KernelOp kernel;
  std::optional<LibraryProduct> library;
  cuda::KernelOp epilogue = {}; // of a kernel that sums over ranks: what follows where a communicator sums

  llvm::StringRef name() const { return tile::ProgramOp(program).getSymName(); }
};

/// The kernel with the memory that it may access through each argument.
mlir::FailureOr<flatbuffers::Offset<plan::Kernel>> buildKernel(flatbuffers::FlatBufferBuilder &builder,
                                                               const KernelFacts &facts);

/// The grid of a launch: that of the kernel, or that of the program if no kernel was compiled for it.
mlir::FailureOr<std::vector<plan::Count>> buildGrid(const KernelFacts &facts);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_PLANKERNELS_H
