//===- PlanBuilder.h - from tile.entry to the plan that the runtime runs ---===//
//
// Knows the plan's schema (runtime/bundle/plan.fbs) and the tile dialect; decides
// nothing about kernels, which backends describe as KernelFacts.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_PLANBUILDER_H
#define INLAY_COMPILER_PIPELINES_PLANBUILDER_H

#include "compiler/pipelines/Lowering.h"
#include "runtime/bundle/plan_generated.h"
#include "llvm/ADT/StringMap.h"

namespace inlay {

/// multiplier * ceil(extent / divisor), as plan.fbs has it; extent One is a constant.
struct GridCount {
  plan::Extent extent = plan::Extent_One;
  uint32_t divisor = 1;
  uint32_t multiplier = 1;
};

/// A tensor map that a kernel takes; see TensorMap in plan.fbs. `capacityOf`: the last dimension is the entry's most
/// rows of that extent, filled in for each entry.
struct TensorMapFacts {
  uint32_t argument = 0;
  plan::DataType type = plan::DataType_BF16;
  std::vector<uint64_t> dims, strides;
  std::vector<uint32_t> box;
  uint32_t swizzle = 0, l2Promotion = 0;
  std::optional<plan::Extent> capacityOf;
};

/// What a backend says of a kernel it compiled.
struct KernelFacts {
  std::string name;
  std::vector<GridCount> grid;
  std::vector<uint32_t> block, cluster;
  uint32_t sharedBytes = 0;
  bool dependentLaunch = false;
  std::vector<TensorMapFacts> tensorMaps;
};

/// The grid of a program as counts. Fails after a diagnostic for a map that is not of the form c * ceil(s / d).
mlir::FailureOr<std::vector<GridCount>> gridCounts(mlir::Operation *program, mlir::AffineMap grid);

/// The part of the plan for one target.
mlir::FailureOr<flatbuffers::Offset<plan::Target>> buildTarget(flatbuffers::FlatBufferBuilder &builder,
                                                               mlir::ModuleOp tiles, llvm::StringRef target,
                                                               llvm::ArrayRef<EntryPoint> entries,
                                                               const std::vector<KernelFacts> &kernels);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_PLANBUILDER_H
