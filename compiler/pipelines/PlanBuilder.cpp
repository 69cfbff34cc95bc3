//===- PlanBuilder.cpp - from tile.entry to the plan that the runtime runs -===//

#include "compiler/pipelines/PlanBuilder.h"

#include "compiler/pipelines/PlanTypes.h"
#include "compiler/pipelines/PlanWeights.h"
#include "dialects/llm/Halves.h"
#include "dialects/llm/Llm.h"
#include "dialects/llm/Stages.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace inlay;

namespace {

/// Converts the launches of one target to the plan's tables.
class EntryBuilder {
public:
  EntryBuilder(flatbuffers::FlatBufferBuilder &fb, ModuleOp module, ArrayRef<CacheGroup> groups,
               const std::vector<KernelFacts> &kernels)
      : fb(fb), symbols(module), groups(groups) {
    for (auto [i, kernel] : llvm::enumerate(kernels))
      this->kernels[kernel.name()] = {static_cast<uint32_t>(i), &kernel};
  }

  FailureOr<flatbuffers::Offset<plan::Entry>> build(tile::EntryOp entry, const EntryPoint &point) {
    std::array<std::vector<flatbuffers::Offset<plan::Launch>>, tile::getMaxEnumValForSection() + 1> launches;
    stage = static_cast<uint32_t>(llm::getStage(entry));
    for (auto launch : entry.getBody().getOps<tile::LaunchOp>()) {
      FailureOr<flatbuffers::Offset<plan::Launch>> built = buildLaunch(launch, point);
      if (failed(built))
        return failure();
      launches[static_cast<size_t>(launch.getSection())].push_back(*built);
    }
    auto section = [&](tile::Section which) { return &launches[static_cast<size_t>(which)]; };
    std::vector<uint32_t> buckets(point.graphBuckets.begin(), point.graphBuckets.end());
    std::vector<plan::Transfer> receives = transfersOf(entry, llm::kReceivesAttr),
                                sends = transfersOf(entry, llm::kSendsAttr);
    auto halves = llm::HalvesOfSteps::of(entry);
    return plan::CreateEntryDirect(
        fb, entry.getSymName().str().c_str(), point.decode ? plan::EntryKind_Decode : plan::EntryKind_Mixed,
        point.maxTokens, point.maxSequences, entry.getQueryTileRows(), entry.getWorkspaceBytes(), &buckets,
        section(tile::Section::Model), section(tile::Section::Penalties), section(tile::Section::Sampling), stage,
        &receives, &sends, section(tile::Section::Gather), section(tile::Section::PartSampling), halves.leastRows,
        halves.multiple);
  }

  /// The launch that packs weight `index` (null if no program packs it), and the element type that it reads.
  FailureOr<std::pair<flatbuffers::Offset<plan::Launch>, plan::DataType>> buildPack(Operation *weight, uint32_t index) {
    auto symbol = weight->getAttrOfType<FlatSymbolRefAttr>("tile.pack");
    if (!symbol)
      return std::make_pair(flatbuffers::Offset<plan::Launch>(), plan::DataType_F32);
    auto it = kernels.find(symbol.getValue());
    if (it == kernels.end())
      return weight->emitError() << "is packed by '" << symbol.getValue() << "', which the target did not compile";
    auto [kernelIndex, kernel] = it->second;
    auto program = symbols.lookup<tile::ProgramOp>(symbol.getValue());
    FailureOr<plan::DataType> type =
        planTypeOf(weight, cast<tile::ViewType>(program.getArgumentTypes()[0]).getElementType());
    if (failed(type))
      return failure();
    std::vector<flatbuffers::Offset<plan::Argument>> arguments = {
        plan::CreateArgument(fb, plan::BufferKind_Source), plan::CreateArgument(fb, plan::BufferKind_Weight, index)};
    FailureOr<std::vector<plan::Count>> grid = buildGrid(*kernel);
    if (failed(grid))
      return failure();
    return std::make_pair(plan::CreateLaunchDirect(fb, kernelIndex, &arguments, &*grid, nullptr, "packing"), *type);
  }

  /// The weights that launches use, in the order of their first use.
  ArrayRef<Operation *> getWeights() const { return weights; }
  /// The stage of weight `index`.
  uint32_t getStageOf(size_t index) const { return weightStages[index]; }
  /// Their numbers.
  const DenseMap<Operation *, uint32_t> &getWeightIndices() const { return weightIndex; }

private:
  flatbuffers::FlatBufferBuilder &fb;
  SymbolTable symbols;
  ArrayRef<CacheGroup> groups;
  llvm::StringMap<std::pair<uint32_t, const KernelFacts *>> kernels;
  uint32_t stage = 0; // of the entry that is built
  SmallVector<Operation *> weights;
  SmallVector<uint32_t> weightStages;
  DenseMap<Operation *, uint32_t> weightIndex;

  static std::vector<plan::Transfer> transfersOf(tile::EntryOp entry, StringRef name) {
    std::vector<plan::Transfer> transfers;
    if (auto all = entry->getAttrOfType<ArrayAttr>(name))
      for (auto attribute : all.getAsRange<DictionaryAttr>()) {
        auto [offset, rowBytes] = llm::Transfer::of(attribute);
        transfers.emplace_back(offset, rowBytes);
      }
    return transfers;
  }

  /// The cache group of the keys and values that a launch accesses; 0 if it accesses none.
  FailureOr<uint32_t> groupOf(tile::LaunchOp launch) {
    std::optional<uint32_t> result;
    for (auto memory : launch.getArguments().getAsRange<tile::MemoryAttr>()) {
      if (memory.getKind() != tile::MemoryKind::KeyCache && memory.getKind() != tile::MemoryKind::ValueCache)
        continue;
      const auto *found =
          llvm::find_if(groups, [&](const CacheGroup &one) { return one.contains(memory.getNumber()); });
      auto group = static_cast<uint32_t>(found - groups.begin());
      if (found == groups.end() || result.value_or(group) != group)
        return launch.emitError() << "accesses the cache of layer " << memory.getNumber()
                                  << ", expected layers of one cache group";
      result = group;
    }
    return result.value_or(0);
  }

  flatbuffers::Offset<plan::Argument> buildArgument(tile::MemoryAttr memory, uint32_t group) {
    auto number = static_cast<uint64_t>(memory.getNumber());
    switch (memory.getKind()) {
    case tile::MemoryKind::Workspace:
      return plan::CreateArgument(fb, plan::BufferKind_Workspace, 0, number);
    case tile::MemoryKind::Weight: {
      Operation *op = symbols.lookup(memory.getWeight().getValue());
      auto [it, isNew] = weightIndex.try_emplace(op, weights.size());
      if (isNew) {
        weights.push_back(op);
        weightStages.push_back(stage);
      }
      return plan::CreateArgument(fb, plan::BufferKind_Weight, it->second);
    }
    case tile::MemoryKind::Metadata:
      static_assert(tile::getMaxEnumValForMetadata() == plan::Metadata_MAX); // one list: plan.fbs
      return plan::CreateArgument(fb, plan::BufferKind_Metadata, number == plan::Metadata_PageTable ? group : 0, 0,
                                  static_cast<plan::Metadata>(number));
    case tile::MemoryKind::KeyCache:
      return plan::CreateArgument(fb, plan::BufferKind_KeyCache, number);
    case tile::MemoryKind::ValueCache:
      return plan::CreateArgument(fb, plan::BufferKind_ValueCache, number);
    case tile::MemoryKind::Logits:
      return plan::CreateArgument(fb, plan::BufferKind_Logits);
    case tile::MemoryKind::Tokens:
      return plan::CreateArgument(fb, plan::BufferKind_Tokens);
    case tile::MemoryKind::Rank:
      return plan::CreateArgument(fb, plan::BufferKind_Rank);
    }
    llvm_unreachable("unknown kind of memory");
  }

  FailureOr<flatbuffers::Offset<plan::Launch>> buildLaunch(tile::LaunchOp launch, const EntryPoint &point) {
    auto it = kernels.find(launch.getProgram());
    if (it == kernels.end())
      return launch.emitError() << "launches '" << launch.getProgram() << "', which the target did not compile";
    auto [index, kernel] = it->second;
    FailureOr<uint32_t> group = groupOf(launch);
    if (failed(group))
      return failure();
    std::vector<flatbuffers::Offset<plan::Argument>> arguments;
    for (auto memory : launch.getArguments().getAsRange<tile::MemoryAttr>())
      arguments.push_back(buildArgument(memory, *group));
    FailureOr<std::vector<plan::Count>> grid = buildGrid(*kernel);
    if (failed(grid))
      return failure();
    std::vector<flatbuffers::Offset<plan::TensorMap>> maps;
    if (cuda::KernelOp op = kernel->kernel)
      for (cuda::TensorMapAttr map : op.getTensorMapAttrs()) {
        FailureOr<plan::DataType> type = planTypeOf(launch, map.getElementType());
        if (failed(type))
          return failure();
        std::vector<uint64_t> dims(map.getDims().begin(), map.getDims().end());
        std::vector<uint64_t> strides(map.getStrides().begin(), map.getStrides().end());
        std::vector<uint32_t> box(map.getBox().begin(), map.getBox().end());
        if (map.getCapacity())
          dims.back() *= *map.getCapacity() == plan::Extent_Tokens ? point.maxTokens : point.maxSequences;
        maps.push_back(plan::CreateTensorMapDirect(fb, map.getArgument(), *type, &dims, &strides, &box,
                                                   map.getSwizzle(), map.getL2Promotion()));
      }
    static_assert(static_cast<int>(llm::Halves::Main) == plan::Halves_Main &&
                  static_cast<int>(llm::Halves::Side) == plan::Halves_Side);
    llm::Halves halves = llm::getHalves(launch);
    // The kernel of a sum takes any number of blocks.
    std::vector<plan::Count> halfGrid;
    if (halves == llm::Halves::Side)
      halfGrid.emplace_back(plan::Extent_One, 1, std::min(grid->front().multiplier(), llm::kSumBlocksBeside));
    return plan::CreateLaunchDirect(fb, index, &arguments, &*grid, &maps, launch.getOrigin().str().c_str(),
                                    static_cast<plan::Halves>(halves), halfGrid.empty() ? nullptr : &halfGrid);
  }
};

} // namespace

FailureOr<std::vector<flatbuffers::Offset<plan::CacheGroup>>>
inlay::buildCacheGroups(flatbuffers::FlatBufferBuilder &fb, ModuleOp model, ArrayRef<CacheGroup> groups,
                        const StepLimits &limits) {
  std::vector<flatbuffers::Offset<plan::CacheGroup>> tables;
  for (const CacheGroup &group : groups) {
    FailureOr<plan::DataType> type =
        isa<Float8E4M3FNType>(group.type) ? plan::DataType_F8E4M3 : planTypeOf(model, group.type);
    if (failed(type))
      return failure();
    std::vector<uint32_t> layers(group.layers.begin(), group.layers.end());
    tables.push_back(
        plan::CreateCacheGroupDirect(fb, &layers, group.kvHeads, group.headDim, *type, limits.pageSize, group.window));
  }
  return tables;
}

FailureOr<flatbuffers::Offset<plan::Target>> inlay::buildTarget(flatbuffers::FlatBufferBuilder &fb, ModuleOp tiles,
                                                                StringRef target, ArrayRef<EntryPoint> points,
                                                                ArrayRef<CacheGroup> groups,
                                                                const std::vector<KernelFacts> &kernels,
                                                                const std::vector<std::string> &cpuFeatures) {
  EntryBuilder builder(fb, tiles, groups, kernels);
  std::vector<flatbuffers::Offset<plan::Entry>> entries;
  size_t stages = std::max<size_t>(llm::getStageLayers(tiles).size(), 1);
  for (size_t stage = 0; stage < stages; ++stage)
    for (const EntryPoint &point : points) {
      auto entry = tiles.lookupSymbol<tile::EntryOp>(entryName(point, tiles, static_cast<int64_t>(stage)));
      FailureOr<flatbuffers::Offset<plan::Entry>> built = builder.build(entry, point);
      if (failed(built))
        return failure();
      entries.push_back(*built);
    }
  std::vector<flatbuffers::Offset<plan::Weight>> weights;
  std::vector<uint64_t> fileOffsets(stages);
  for (auto [i, op] : llvm::enumerate(builder.getWeights())) {
    uint32_t stage = builder.getStageOf(i);
    auto pack = builder.buildPack(op, static_cast<uint32_t>(i));
    if (failed(pack))
      return failure();
    FailureOr<flatbuffers::Offset<plan::Weight>> built =
        buildWeight(fb, op, fileOffsets[stage], stage, pack->first, pack->second, builder.getWeightIndices());
    if (failed(built))
      return failure();
    weights.push_back(*built);
  }
  std::vector<flatbuffers::Offset<plan::Kernel>> kernelTables;
  for (const KernelFacts &facts : kernels) {
    FailureOr<flatbuffers::Offset<plan::Kernel>> kernel = buildKernel(fb, facts);
    if (failed(kernel))
      return failure();
    kernelTables.push_back(*kernel);
  }
  std::vector<flatbuffers::Offset<flatbuffers::String>> features;
  for (const std::string &feature : cpuFeatures)
    features.push_back(fb.CreateString(feature));
  return plan::CreateTargetDirect(fb, target.str().c_str(), &kernelTables, &weights, &entries, &features);
}
