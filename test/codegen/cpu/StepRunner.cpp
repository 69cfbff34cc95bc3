//===- StepRunner.cpp - runs a lowered step of the llm dialect on the cpu --===//

#include "test/codegen/cpu/StepRunner.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "passes/llm/Passes.h"
#include "passes/llm_to_tile/Passes.h"
#include <cmath>

using namespace inlay;
using namespace inlay::testing;
using mlir::cast;

/// Puts `rows`, in the logical order of a weight's sources, into the order in which the weight is stored.
static std::vector<float> storeRows(llm::WeightOp weight, const std::vector<float> &rows) {
  int64_t count = weight.getTensorType().getDimSize(0), columns = static_cast<int64_t>(rows.size()) / count;
  std::vector<float> stored(rows.size());
  for (int64_t i = 0; i < count; ++i) {
    int64_t from = i;
    if (weight.getRowOrder() == llm::RowOrder::HalfPairs) {
      int64_t d = *weight.getHeadDim(), inHead = i % d;
      from = i - inHead + inHead / 2 + inHead % 2 * (d / 2);
    } else if (weight.getRowOrder() == llm::RowOrder::Alternate) {
      from = i / 2 + i % 2 * (count / 2);
    }
    std::copy_n(rows.begin() + from * columns, columns, stored.begin() + i * columns);
  }
  return stored;
}

static std::vector<float> fillTable(llm::RopeTableOp table) {
  auto type = cast<mlir::RankedTensorType>(table.getType());
  std::vector<float> values;
  for (int64_t row = 0; row < type.getDimSize(0); ++row)
    for (bool isSine : {false, true})
      for (double frequency : table.getFrequenciesOf(row)) {
        double angle = static_cast<double>(table.getPositionOf(row)) * frequency;
        values.push_back(static_cast<float>(table.getFactorOf(row) * (isSine ? std::sin(angle) : std::cos(angle))));
      }
  return values;
}

StepRunner::StepRunner(mlir::ModuleOp model, const Tensors &tensors, bool separateAll, llvm::StringRef kind)
    : module(model.clone()) {
  mlir::Builder builder(model.getContext());
  auto function = *module->getOps<mlir::func::FuncOp>().begin();
  auto number = [&](int64_t value) { return builder.getI64IntegerAttr(value); };
  function->setAttr(
      "llm.entry",
      builder.getDictionaryAttr(
          {builder.getNamedAttr("kind", builder.getStringAttr(kind)),
           builder.getNamedAttr("max_sequences", number(PagedCache::sequences)),
           builder.getNamedAttr("max_tokens", number(kind == "decode" ? PagedCache::sequences : maxTokens))}));
  auto config = module.get()->getAttrOfType<mlir::DictionaryAttr>("llm.model");
  kvHeads = config.getAs<mlir::IntegerAttr>("kv_heads").getInt();
  headDim = config.getAs<mlir::IntegerAttr>("head_dim").getInt();
  vocabulary = config.getAs<mlir::IntegerAttr>("vocab_size").getInt();

  mlir::PassManager passes(model.getContext());
  if (!separateAll)
    passes.addPass(createFuseProjectionsPass());
  FormGroupsPassOptions groups;
  groups.separateAll = separateAll;
  passes.addPass(createFormGroupsPass(groups));
  passes.addNestedPass<mlir::func::FuncOp>(createPlanBuffersPass());
  ConvertLlmToTilePassOptions convert;
  convert.pageSize = PagedCache::pageSize;
  passes.addPass(createConvertLlmToTilePass(convert));
  passes.addPass(mlir::createCSEPass());
  if (failed(passes.run(*module))) {
    ADD_FAILURE() << "the step cannot be lowered";
    return;
  }
  loadWeights(tensors);
  entry = *module->getOps<tile::EntryOp>().begin();
  mlir::OwningOpRef<mlir::ModuleOp> kernels(module->clone()); // the compilation replaces programs
  library = std::make_unique<Library>(*kernels);
}

void StepRunner::loadWeights(const Tensors &tensors) {
  for (auto weight : module->getOps<llm::WeightOp>()) {
    std::vector<float> rows;
    for (auto source : weight.getSources()->getAsRange<mlir::StringAttr>())
      llvm::append_range(rows, tensors(source.getValue()));
    weights[weight.getSymName().str()] = storeRows(weight, rows);
  }
  for (auto table : module->getOps<llm::RopeTableOp>())
    weights[table.getSymName().str()] = fillTable(table);
}

std::vector<std::string> StepRunner::origins() const {
  std::vector<std::string> result;
  if (library)
    for (auto launch : entry.getBody().front().getOps<tile::LaunchOp>())
      result.push_back(launch.getOrigin().str());
  return result;
}

StepRunner::Arrays StepRunner::describe(const llm::TokenIds &tokens, const llm::Batch &batch, PagedCache &cache,
                                        Sizes &sizes) const {
  Arrays arrays;
  arrays["TokenIds"].assign(tokens.begin(), tokens.end());
  arrays["Positions"].assign(batch.positions.begin(), batch.positions.end());
  const auto &ropeRows = batch.ropeRows.empty() ? batch.positions : batch.ropeRows;
  arrays["RopeRows"].assign(ropeRows.begin(), ropeRows.end());
  arrays["RowSequences"].assign(batch.sequences.begin(), batch.sequences.end());
  arrays["LogitRowIndices"].assign(batch.logitRows.begin(), batch.logitRows.end());
  int64_t rows = static_cast<int64_t>(tokens.size());
  for (int64_t row = 0; row < rows; ++row) {
    int32_t &page =
        cache.table[batch.sequences[row] * PagedCache::pagesPerSequence + batch.positions[row] / PagedCache::pageSize];
    if (page < 0)
      page = PagedCache::pages - ++cache.used;
  }
  arrays["PageTable"] = cache.table;
  for (int64_t first = 0, end = 0; first < rows; first = end) {
    for (end = first + 1; end < rows && end - first < static_cast<int64_t>(entry.getQueryTileRows()) &&
                          batch.sequences[end] == batch.sequences[first];)
      ++end;
    arrays["TileSequences"].push_back(static_cast<int32_t>(batch.sequences[first]));
    arrays["TileRows"].push_back(static_cast<int32_t>(first));
    arrays["TileEnds"].push_back(static_cast<int32_t>(end));
    arrays["TileKeys"].push_back(static_cast<int32_t>(batch.positions[end - 1] + 1));
  }
  sizes.tokens = static_cast<int32_t>(rows);
  sizes.sequences = PagedCache::sequences;
  sizes.queryTiles = static_cast<int32_t>(arrays["TileRows"].size());
  sizes.logitRows = static_cast<int32_t>(batch.logitRows.size());
  sizes.kvRows = static_cast<int32_t>(PagedCache::pages * kvHeads * PagedCache::pageSize);
  return arrays;
}

std::vector<float> StepRunner::run(const llm::TokenIds &tokens, const llm::Batch &batch, PagedCache &cache) {
  if (!library)
    return {};
  Sizes sizes;
  Arrays arrays = describe(tokens, batch, cache, sizes);
  // What nothing has written is no number.
  std::vector<float> workspace(entry.getWorkspaceBytes() / sizeof(float), NAN);
  std::vector<float> logits(batch.logitRows.size() * vocabulary, NAN);
  auto layerOf = [&](std::map<int64_t, std::vector<float>> &layers, int64_t layer) {
    std::vector<float> &rows = layers[layer];
    rows.resize(sizes.kvRows * headDim, NAN);
    return static_cast<void *>(rows.data());
  };
  auto memoryOf = [&](tile::MemoryAttr memory) -> void * {
    switch (memory.getKind()) {
    case tile::MemoryKind::Workspace:
      return workspace.data() + memory.getNumber() / sizeof(float);
    case tile::MemoryKind::Weight:
      return weights.at(memory.getWeight().getValue().str()).data();
    case tile::MemoryKind::Metadata:
      return arrays.at(tile::stringifyMetadata(memory.getMetadata()).str()).data();
    case tile::MemoryKind::KeyCache:
      return layerOf(cache.keys, memory.getNumber());
    case tile::MemoryKind::ValueCache:
      return layerOf(cache.values, memory.getNumber());
    case tile::MemoryKind::Logits:
      return logits.data();
    case tile::MemoryKind::Tokens:
    case tile::MemoryKind::Rank:
      return nullptr;
    }
    llvm_unreachable("unknown kind of memory");
  };
  std::vector<mlir::Attribute> extents;
  mlir::Builder builder(module->getContext());
  for (int32_t size :
       {sizes.tokens, sizes.sequences, sizes.queryTiles, sizes.logitRows, sizes.penaltyEntries, sizes.kvRows})
    extents.push_back(builder.getIndexAttr(size));
  for (auto launch : entry.getBody().front().getOps<tile::LaunchOp>()) {
    if (launch.getSection() != tile::Section::Model)
      continue;
    std::vector<void *> arguments;
    for (auto argument : launch.getArguments().getAsRange<tile::MemoryAttr>())
      arguments.push_back(memoryOf(argument));
    auto program = module->lookupSymbol<tile::ProgramOp>(launch.getProgram());
    llvm::SmallVector<mlir::Attribute> grid;
    EXPECT_TRUE(succeeded(program.getGrid().constantFold(extents, grid)));
    auto count = [&](size_t i) { return i < grid.size() ? cast<mlir::IntegerAttr>(grid[i]).getInt() : 1; };
    Kernel kernel = library->kernel(launch.getProgram().str().c_str());
    for (int64_t y = 0; y < count(1); ++y)
      for (int64_t x = 0; x < count(0); ++x)
        kernel(arguments.data(), &sizes.tokens, x, y, 0);
  }
  return logits;
}
