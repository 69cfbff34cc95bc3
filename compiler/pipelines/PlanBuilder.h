//===- PlanBuilder.h - from tile.entry to the plan that the runtime runs ---===//
//
// Converts between the tile dialect and the plan's schema (runtime/bundle/plan.fbs).
// It makes no decisions about kernels: a cuda.kernel states how it is launched.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_PLANBUILDER_H
#define INLAY_COMPILER_PIPELINES_PLANBUILDER_H

#include "compiler/pipelines/CacheGroups.h"
#include "compiler/pipelines/Lowering.h"
#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "passes/tile/LibraryProduct.h"
#include "runtime/bundle/plan_generated.h"
#include "llvm/ADT/StringMap.h"

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

/// The cache groups of the plan.
mlir::FailureOr<std::vector<flatbuffers::Offset<plan::CacheGroup>>>
buildCacheGroups(flatbuffers::FlatBufferBuilder &builder, mlir::ModuleOp model, llvm::ArrayRef<CacheGroup> groups,
                 const StepLimits &limits);

/// The part of the plan for one target. A launch gets the page table of the group whose cache it accesses.
mlir::FailureOr<flatbuffers::Offset<plan::Target>>
buildTarget(flatbuffers::FlatBufferBuilder &builder, mlir::ModuleOp tiles, llvm::StringRef target,
            llvm::ArrayRef<EntryPoint> entries, llvm::ArrayRef<CacheGroup> groups,
            const std::vector<KernelFacts> &kernels, const std::vector<std::string> &cpuFeatures);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_PLANBUILDER_H
