//===- PlanBuilder.cpp - from tile.entry to the plan that the runtime runs -===//

#include "compiler/pipelines/PlanBuilder.h"

#include "dialects/llm/Halves.h"
#include "dialects/llm/Llm.h"
#include "dialects/llm/Stages.h"
#include "dialects/tile/Tile.h"
#include "passes/tile_to_cuda/CreateKernel.h"

using namespace mlir;
using namespace inlay;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

static FailureOr<plan::DataType> dataType(Operation *op, Type type) {
  if (type.isF32())
    return plan::DataType_F32;
  if (type.isBF16())
    return plan::DataType_BF16;
  if (type.isF16())
    return plan::DataType_F16;
  return op->emitError() << "has elements of " << type << "; expected f32, bf16 or f16";
}

/// The type that the codes of a quantized weight are stored as.
static plan::DataType dataTypeOf(llm::Codes codes) {
  switch (codes) {
  case llm::Codes::U4:
  case llm::Codes::Nf4:
    return plan::DataType_U4;
  case llm::Codes::U8:
    return plan::DataType_U8;
  case llm::Codes::I8:
    return plan::DataType_I8;
  case llm::Codes::F8E4M3:
    return plan::DataType_F8E4M3;
  }
  llvm_unreachable("every meaning of codes is a case");
}

static plan::FieldOrder orderOf(llm::FieldOrder order) {
  switch (order) {
  case llm::FieldOrder::Plain:
    return plan::FieldOrder_Plain;
  case llm::FieldOrder::Awq:
    return plan::FieldOrder_Awq;
  case llm::FieldOrder::HighFirst:
    return plan::FieldOrder_HighFirst;
  }
  llvm_unreachable("every order is a case");
}

/// Adds the steps that say how the tensor of `source` stores a matrix.
static void buildStorage(flatbuffers::FlatBufferBuilder &fb, llm::SourceAttr source,
                         std::vector<flatbuffers::Offset<plan::RecipeStep>> &steps) {
  llm::StorageAttr storage = source.getStorage();
  if (storage && storage.getFlat())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Reshape));
  if (source.getTransposed())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Transpose));
  if (!storage)
    return;
  plan::DataType field = storage.getFloats()      ? plan::DataType_F4E2M1
                         : storage.getBits() == 4 ? plan::DataType_U4
                                                  : plan::DataType_U8;
  if (storage.getBits())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Unpack, /*block=*/storage.getWord(), /*offset=*/0,
                                           /*count=*/storage.getRows(), /*parts=*/0,
                                           storage.getAlongRows() ? plan::Axis_Rows : plan::Axis_Columns, field,
                                           orderOf(storage.getOrder()), static_cast<int32_t>(storage.getAddend())));
  if (storage.getRepeat())
    steps.push_back(
        plan::CreateRecipeStep(fb, plan::RecipeOp_Repeat, storage.getRepeat(), /*offset=*/0, storage.getRows()));
  if (llm::QuantizerAttr quantizer = storage.getQuantizer()) {
    plan::RecipeStepBuilder step(fb);
    step.add_op(quantizer.getMakesScales() ? plan::RecipeOp_QuantizeScales : plan::RecipeOp_Quantize);
    step.add_type(dataTypeOf(quantizer.getCodes()));
    step.add_block(quantizer.getGroup());
    steps.push_back(step.Finish());
  }
  if (llm::NestedAttr nested = storage.getNested()) {
    auto table = fb.CreateString(nested.getTable().str()), scales = fb.CreateString(nested.getScales().str());
    plan::RecipeStepBuilder step(fb);
    step.add_op(plan::RecipeOp_Nested);
    step.add_block(nested.getBlock());
    step.add_factor(nested.getOffset().getValueAsDouble());
    step.add_table(table);
    step.add_scales(scales);
    steps.push_back(step.Finish());
  }
  if (FloatAttr scale = storage.getScale()) {
    plan::RecipeStepBuilder step(fb);
    step.add_op(plan::RecipeOp_Scale);
    step.add_factor(scale.getValueAsDouble());
    step.add_allows_zero(storage.getAllowsZero());
    if (storage.getExponents())
      step.add_type(plan::DataType_F8E8M0);
    steps.push_back(step.Finish());
  }
  if (llm::ColumnOrderAttr order = storage.getColumnOrder()) {
    flatbuffers::Offset<flatbuffers::String> groups;
    if (order.getGroups())
      groups = fb.CreateString(order.getGroups().str());
    plan::RecipeStepBuilder step(fb);
    step.add_op(order.getGroups() ? plan::RecipeOp_SortColumns : plan::RecipeOp_ColumnOrder);
    step.add_block(order.getSize());
    step.add_table(groups);
    steps.push_back(step.Finish());
  }
}

static flatbuffers::Offset<plan::Source> buildSource(flatbuffers::FlatBufferBuilder &fb, llm::SourceAttr source) {
  std::vector<flatbuffers::Offset<plan::RecipeStep>> steps;
  buildStorage(fb, source, steps);
  if (source.getBlock())
    steps.push_back(
        plan::CreateRecipeStep(fb, plan::RecipeOp_Slice, source.getBlock(), source.getOffset(), source.getCount()));
  if (source.getHeadDim())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Permute, source.getHeadDim(), /*offset=*/0,
                                           source.getRotaryDim(), /*parts=*/source.getRotaryDim() / 2));
  if (llm::ShardAttr shard = source.getShard())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Shard, /*block=*/0, /*offset=*/shard.getIndex() + 1,
                                           /*count=*/shard.getSize(), shard.getParts(),
                                           shard.getAxis() == llm::Axis::Rows ? plan::Axis_Rows : plan::Axis_Columns));
  return plan::CreateSourceDirect(fb, source.getName().str().c_str(), steps.empty() ? nullptr : &steps);
}

/// Describes the codes of a quantized weight. `indices` has the weights with its scales and zero points.
static flatbuffers::Offset<plan::Quantization> buildQuantization(flatbuffers::FlatBufferBuilder &fb,
                                                                 llm::WeightOp weight,
                                                                 const DenseMap<Operation *, uint32_t> &indices) {
  llm::QuantizedAttr quantized = weight.getQuantizedAttr();
  auto scaleOf = [&](FlatSymbolRefAttr name) {
    auto op = SymbolTable::lookupNearestSymbolFrom<llm::WeightOp>(weight, name);
    return plan::Scale(indices.lookup(op), /*rows=*/1, static_cast<uint32_t>(quantized.getGroup()));
  };
  std::vector<plan::Scale> scales{scaleOf(quantized.getScales())};
  plan::Scale zeroPoints;
  if (quantized.getZeroPoints())
    zeroPoints = scaleOf(quantized.getZeroPoints());
  return plan::CreateQuantizationDirect(fb, &scales, static_cast<int32_t>(quantized.getZeroPoint()),
                                        quantized.getZeroPoints() ? &zeroPoints : nullptr);
}

/// Builds the plan's description of a weight of `stage` at `fileOffset` (bytes), and advances `fileOffset` to the next
/// weight.
static FailureOr<flatbuffers::Offset<plan::Weight>> buildWeight(flatbuffers::FlatBufferBuilder &fb, Operation *op,
                                                                uint64_t &fileOffset, uint32_t stage,
                                                                flatbuffers::Offset<plan::Launch> pack,
                                                                plan::DataType sourceType,
                                                                const DenseMap<Operation *, uint32_t> &indices) {
  RankedTensorType type;
  std::vector<flatbuffers::Offset<plan::Source>> sources;
  std::vector<double> inverseFrequencies;
  std::vector<float> values;
  double attentionFactor = 1.0, temperatureBeta = 0.0;
  uint32_t shortRows = 0, temperatureLength = 1;
  auto order = plan::RowOrder_Plain;
  auto packing = plan::Packing_RowMajor;
  uint32_t headDim = 0;
  if (auto table = dyn_cast<llm::RopeTableOp>(op)) {
    type = cast<RankedTensorType>(table.getType());
    inverseFrequencies.assign(table.getInvFreq().begin(), table.getInvFreq().end());
    attentionFactor = table.getAttentionFactor().convertToDouble();
    shortRows = table.getShortRows();
    temperatureBeta = table.getTemperatureBeta().convertToDouble();
    temperatureLength = table.getTemperatureLength();
  } else {
    auto weight = cast<llm::WeightOp>(op);
    type = weight.getTensorType();
    if (weight.getValue() && !type.getElementType().isF32())
      return weight.emitError() << "has inline contents of " << type.getElementType()
                                << ", which a bundle cannot hold; expected sources, or contents of f32";
    if (weight.getValue())
      for (const llvm::APFloat &element : weight.getValue()->getValues<llvm::APFloat>())
        values.push_back(element.convertToFloat());
    else
      for (Attribute source : weight.getSourcesAttr())
        sources.push_back(buildSource(fb, llm::SourceAttr::of(source)));
    order = static_cast<plan::RowOrder>(weight.getRowOrder());
    packing = static_cast<plan::Packing>(weight.getPacking());
    headDim = weight.getHeadDim().value_or(0);
  }
  auto weight = dyn_cast<llm::WeightOp>(op);
  llm::QuantizedAttr quantized = weight ? weight.getQuantizedAttr() : llm::QuantizedAttr();
  // Of integers there are orders of columns alone.
  FailureOr<plan::DataType> elements = quantized                             ? dataTypeOf(quantized.getCodes())
                                       : type.getElementType().isInteger(32) ? FailureOr(plan::DataType_I32)
                                                                             : dataType(op, type.getElementType());
  if (failed(elements))
    return failure();
  uint64_t rows = type.getDimSize(0), columns = type.getRank() == 2 ? type.getDimSize(1) : 1;
  uint64_t bytes = rows * columns * type.getElementTypeBitWidth() / 8;
  if (packing == plan::Packing_Atom8x64)
    bytes = llvm::alignTo(rows, 8) * llvm::alignTo(columns, 64) * type.getElementTypeBitWidth() / 8;
  else if (packing != plan::Packing_RowMajor)
    bytes = llvm::alignTo(rows, tile::kUnitRows) *
            (packing == plan::Packing_Codes16x128 ? llvm::alignTo(columns, tile::kUnitColumns) : columns) *
            type.getElementTypeBitWidth() / 8;
  auto recipe = plan::CreateRecipe(fb, fb.CreateVector(sources), rows, columns, order, headDim, packing,
                                   fb.CreateVector(inverseFrequencies), attentionFactor, shortRows, temperatureBeta,
                                   temperatureLength, values.empty() ? 0 : fb.CreateVector(values));
  auto name = fb.CreateString(SymbolTable::getSymbolName(op).str());
  flatbuffers::Offset<plan::Quantization> quantization;
  if (quantized)
    quantization = buildQuantization(fb, weight, indices);
  auto result =
      plan::CreateWeight(fb, name, *elements, bytes, fileOffset, recipe, pack, sourceType, quantization, stage);
  fileOffset = llvm::alignTo(fileOffset + bytes, 256);
  return result;
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

static plan::Count countOf(const cuda::Count &count) {
  return {count.isConstant() ? plan::Extent_One : static_cast<plan::Extent>(count.size), count.divisor,
          count.multiplier};
}

/// The grid of a launch: that of the kernel, or that of the program if no kernel was compiled for it.
static FailureOr<std::vector<plan::Count>> gridOf(const KernelFacts &facts) {
  cuda::KernelOp kernel = facts.kernel;
  FailureOr<cuda::GridAttr> grid = kernel ? FailureOr(kernel.getGridAttr()) : inlay::gridOf(facts.program);
  if (failed(grid))
    return failure();
  std::vector<plan::Count> result;
  for (const cuda::Count &count : grid->getDims())
    result.push_back(countOf(count));
  return result;
}

/// The largest memory that `program` may access through each of its arguments, as a number of rows and bytes per row.
static FailureOr<std::vector<plan::View>> viewsOf(tile::ProgramOp program) {
  std::vector<plan::View> views;
  for (auto [i, type] : llvm::enumerate(program.getArgumentTypes())) {
    auto view = cast<tile::ViewType>(type);
    DictionaryAttr attributes = function_interface_impl::getArgAttrDict(program, i);
    auto has = [&](StringRef name) { return attributes && attributes.contains(name); };
    SmallVector<int64_t> shape(view.getShape());
    // Packed weights are padded to whole blocks.
    if (auto packing = attributes ? attributes.getAs<StringAttr>(tile::kPackingAttr) : StringAttr()) {
      std::array<int64_t, 2> units = tile::packedUnits(packing.getValue());
      for (auto [size, unit] : llvm::zip(shape, units))
        if (!ShapedType::isDynamic(size))
          size = llvm::alignTo(size, unit);
    }
    uint64_t rowBits = std::max(4U, view.getElementType().getIntOrFloatBitWidth());
    if (rowBits > 4 || shape.size() < 2)
      rowBits = llvm::alignTo(rowBits, 8);
    for (int64_t size : ArrayRef(shape).drop_front())
      rowBits *= size;
    uint64_t rowBytes = rowBits / 8;
    cuda::Count rows;
    if (!ShapedType::isDynamic(shape.front()))
      rowBytes *= shape.front();
    else if (view.getExtent())
      rows.size = static_cast<uint32_t>(*view.getExtent());
    else if (!has("tile.rows"))
      return program.emitError() << "argument " << i << " is a " << type << " without an extent; expected tile.rows";
    else if (auto count = inlay::countOf(attributes.getAs<AffineMapAttr>("tile.rows").getAffineMap().getResult(0)))
      rows = *count;
    else
      return program.emitError() << "tile.rows of argument " << i << " is not c * (size ceildiv d)";
    views.emplace_back(countOf(rows), rowBytes);
  }
  return views;
}

static FailureOr<plan::Columns> columnsOf(tile::ProgramOp program, const LibraryOperand &operand) {
  FailureOr<plan::DataType> type = dataType(program, operand.elementType);
  if (failed(type))
    return failure();
  return plan::Columns(operand.argument, static_cast<uint32_t>(operand.pitch), static_cast<uint32_t>(operand.column),
                       *type);
}

static FailureOr<flatbuffers::Offset<plan::LibraryProduct>>
buildLibraryProduct(flatbuffers::FlatBufferBuilder &fb, tile::ProgramOp program, const LibraryProduct &product) {
  FailureOr<plan::Columns> input = columnsOf(program, product.input), weight = columnsOf(program, product.weight),
                           output = columnsOf(program, product.output),
                           residual = columnsOf(program, product.residual.value_or(product.output));
  if (failed(input) || failed(weight) || failed(output) || failed(residual))
    return failure();
  return plan::CreateLibraryProductDirect(fb, "cublaslt", static_cast<plan::Extent>(product.rows),
                                          static_cast<uint32_t>(product.columns), static_cast<uint32_t>(product.k),
                                          &*input, &*weight, &*output, product.residual ? &*residual : nullptr);
}

/// `takesPeers`: the address of the rank's PeerTable, which the kernel of a collective always does.
static flatbuffers::Offset<plan::Code> buildCode(flatbuffers::FlatBufferBuilder &fb, cuda::KernelOp kernel,
                                                 bool takesPeers = false) {
  if (!kernel)
    return plan::CreateCode(fb);
  std::vector<uint32_t> block{static_cast<uint32_t>(kernel.getThreads())}, cluster;
  if (kernel.getCluster() > 1)
    cluster.push_back(kernel.getCluster());
  ArrayAttr maps = kernel.getTensorMapsAttr();
  return plan::CreateCodeDirect(fb, &block, &cluster, kernel.getSharedBytes(), kernel.getDependentLaunch(),
                                maps ? maps.size() : 0, takesPeers);
}

/// What ranks do together: `collective`, which a communicator does if there is no kernel, or `sum` and what follows it.
static FailureOr<flatbuffers::Offset<plan::Collective>> buildCollective(flatbuffers::FlatBufferBuilder &fb,
                                                                        tile::CollectiveOp collective,
                                                                        tile::ReceiveSumOp sum,
                                                                        const KernelFacts &facts) {
  tile::ViewType rows = collective ? collective.getInput().getType() : sum.getView().getType();
  FailureOr<plan::DataType> type = dataType(collective ? collective.getOperation() : sum, rows.getElementType());
  if (failed(type))
    return failure();
  static_assert(static_cast<int>(tile::CollectiveKind::AllReduce) == plan::CollectiveOp_AllReduce &&
                static_cast<int>(tile::CollectiveKind::AllGather) == plan::CollectiveOp_AllGather);
  auto kind = collective ? collective.getKind() : tile::CollectiveKind::AllReduce;
  int64_t resultColumns = kind == tile::CollectiveKind::AllGather ? collective.getOutput().getType().getShape()[1] : 0;
  flatbuffers::Offset<plan::Code> code, epilogue;
  int64_t exchangeBytes = 0;
  if (facts.kernel) {
    code = buildCode(fb, facts.kernel);
    exchangeBytes = sum ? sum.getExchangeBytes() : collective.getExchangeBytes(tile::targetOf(collective));
  }
  if (facts.epilogue)
    epilogue = buildCode(fb, facts.epilogue);
  return plan::CreateCollective(fb, static_cast<plan::CollectiveOp>(kind), static_cast<plan::Extent>(*rows.getExtent()),
                                static_cast<uint32_t>(rows.getShape()[1]), *type, /*peer=*/0,
                                static_cast<uint32_t>(resultColumns), code, static_cast<uint64_t>(exchangeBytes),
                                epilogue);
}

static FailureOr<flatbuffers::Offset<plan::Kernel>> buildKernel(flatbuffers::FlatBufferBuilder &fb,
                                                                const KernelFacts &facts) {
  FailureOr<std::vector<plan::View>> views = viewsOf(facts.program);
  if (failed(views))
    return failure();
  std::string name = facts.name().str();
  tile::CollectiveOp collective = tile::CollectiveOp::of(facts.program);
  tile::ReceiveSumOp sum = tile::ReceiveSumOp::of(facts.program);
  if (collective || sum) {
    FailureOr<flatbuffers::Offset<plan::Collective>> body = buildCollective(fb, collective, sum, facts);
    if (failed(body))
      return failure();
    return plan::CreateKernelDirect(fb, name.c_str(), &*views, plan::KernelBody_Collective, body->Union());
  }
  if (!facts.library)
    return plan::CreateKernelDirect(
        fb, name.c_str(), &*views, plan::KernelBody_Code,
        buildCode(fb, facts.kernel, tile::StoreOp::pushOf(facts.program) != nullptr).Union());
  FailureOr<flatbuffers::Offset<plan::LibraryProduct>> product = buildLibraryProduct(fb, facts.program, *facts.library);
  if (failed(product))
    return failure();
  return plan::CreateKernelDirect(fb, name.c_str(), &*views, plan::KernelBody_LibraryProduct, product->Union());
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

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
        dataType(weight, cast<tile::ViewType>(program.getArgumentTypes()[0]).getElementType());
    if (failed(type))
      return failure();
    std::vector<flatbuffers::Offset<plan::Argument>> arguments = {
        plan::CreateArgument(fb, plan::BufferKind_Source), plan::CreateArgument(fb, plan::BufferKind_Weight, index)};
    FailureOr<std::vector<plan::Count>> grid = gridOf(*kernel);
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
    FailureOr<std::vector<plan::Count>> grid = gridOf(*kernel);
    if (failed(grid))
      return failure();
    std::vector<flatbuffers::Offset<plan::TensorMap>> maps;
    if (cuda::KernelOp op = kernel->kernel)
      for (cuda::TensorMapAttr map : op.getTensorMapAttrs()) {
        FailureOr<plan::DataType> type = dataType(launch, map.getElementType());
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
        isa<Float8E4M3FNType>(group.type) ? plan::DataType_F8E4M3 : dataType(model, group.type);
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
