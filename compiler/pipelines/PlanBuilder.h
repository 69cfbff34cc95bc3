//===- PlanBuilder.h - from tile.entry to the plan that the runtime runs ---===//
//
// Knows the plan's schema (runtime/bundle/plan.fbs) and the tile dialect; decides
// nothing about kernels, which backends describe as KernelFacts.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_PLANBUILDER_H
#define INLAY_COMPILER_PIPELINES_PLANBUILDER_H

#include "codegen/tile_to_cuda/Compile.h"
#include "compiler/pipelines/Lowering.h"
#include "passes/tile/LibraryProduct.h"
#include "runtime/bundle/plan_generated.h"
#include "llvm/ADT/StringMap.h"

namespace inlay {

/// A tensor map that a kernel takes; see TensorMap in plan.fbs. `capacityExtent` (-1: none): the last dimension
/// is multiplied by the entry's capacity of that extent.
struct TensorMapFacts {
  uint32_t argument = 0;
  plan::DataType type = plan::DataType_BF16;
  std::vector<uint64_t> dims, strides;
  std::vector<uint32_t> box;
  uint32_t swizzle = 0, l2Promotion = 0;
  int capacityExtent = -1;
};

/// What a backend says of a kernel that it compiled, or that a library computes.
struct KernelFacts {
  std::string name;
  std::vector<GridCount> grid;
  std::vector<uint32_t> block, cluster;
  uint32_t sharedBytes = 0;
  bool dependentLaunch = false;
  std::vector<TensorMapFacts> tensorMaps;
  std::optional<LibraryProduct> library;
};

/// The part of the plan for one target.
mlir::FailureOr<flatbuffers::Offset<plan::Target>> buildTarget(flatbuffers::FlatBufferBuilder &builder,
                                                               mlir::ModuleOp tiles, llvm::StringRef target,
                                                               llvm::ArrayRef<EntryPoint> entries,
                                                               const std::vector<KernelFacts> &kernels,
                                                               const std::vector<std::string> &cpuFeatures);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_PLANBUILDER_H
