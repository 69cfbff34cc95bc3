//===- PlanBuilder.h - from tile.entry to the plan that the runtime runs ---===//
//
// Knows the plan's schema (runtime/bundle/plan.fbs) and the tile dialect; decides
// nothing about kernels: how one is launched stands on its cuda.kernel.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_PLANBUILDER_H
#define INLAY_COMPILER_PIPELINES_PLANBUILDER_H

#include "compiler/pipelines/Lowering.h"
#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "passes/tile/LibraryProduct.h"
#include "runtime/bundle/plan_generated.h"
#include "llvm/ADT/StringMap.h"

namespace inlay {

/// What a target runs for a program: a kernel of the cuda dialect, a library, or (neither) the cpu's function.
struct KernelFacts {
  tile::ProgramOp program;
  cuda::KernelOp kernel;
  std::optional<LibraryProduct> library;

  llvm::StringRef name() const { return tile::ProgramOp(program).getSymName(); }
};

/// The part of the plan for one target.
mlir::FailureOr<flatbuffers::Offset<plan::Target>> buildTarget(flatbuffers::FlatBufferBuilder &builder,
                                                               mlir::ModuleOp tiles, llvm::StringRef target,
                                                               llvm::ArrayRef<EntryPoint> entries,
                                                               const std::vector<KernelFacts> &kernels,
                                                               const std::vector<std::string> &cpuFeatures);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_PLANBUILDER_H
