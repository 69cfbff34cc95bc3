//===- PlanBuilder.h - from tile.entry to the plan that the runtime runs ---===//
//
// Converts between the tile dialect and the plan's schema (runtime/bundle/plan.fbs): entry points and their launches
// here, kernels in PlanKernels.h, weights in PlanWeights.h.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_PLANBUILDER_H
#define INLAY_COMPILER_PIPELINES_PLANBUILDER_H

#include "compiler/pipelines/CacheGroups.h"
#include "compiler/pipelines/Lowering.h"
#include "compiler/pipelines/PlanKernels.h"

namespace inlay {

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
