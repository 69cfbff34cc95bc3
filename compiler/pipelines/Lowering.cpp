//===- Lowering.cpp - from an imported model to tile programs --------------===//

#include "compiler/pipelines/Lowering.h"

#include "dialects/llm/Llm.h"
#include "dialects/llm/Stages.h"
#include "dialects/tile/Tile.h"
#include "dialects/tile/UniquePrograms.h"
#include "mlir/Transforms/Passes.h"
#include "passes/llm/Passes.h"
#include "passes/llm_to_tile/Passes.h"
#include "passes/tile/Passes.h"

using namespace mlir;
using namespace inlay;

/// A GPU target has a decode entry point for each power of two up to this number of sequences.
static constexpr int64_t batchRows = 128;
/// Columns of the narrowest tile of a product on a GPU, that of the family matvec.
static constexpr int64_t gpuTileColumns = 16;

std::vector<EntryPoint> inlay::chooseEntryPoints(StringRef target, const StepLimits &limits) {
  std::vector<EntryPoint> entries;
  auto addDecode = [&](std::string name, int64_t sequences, int64_t previous) {
    EntryPoint entry{std::move(name), true, sequences, sequences, {}};
    for (int64_t bucket = previous ? 2 * previous : 1; bucket < sequences; bucket *= 2)
      entry.graphBuckets.push_back(bucket);
    entry.graphBuckets.push_back(sequences);
    entries.push_back(std::move(entry));
  };
  // Steps of one sequence have separate programs: on the cpu, a tile has as many rows as the step, and on a GPU, a
  // single row is kept in shared memory. On a GPU, linear layers take about the same time for 1 to 8 sequences, but
  // attention splits the context over more blocks when there are fewer sequences. Programs that do not depend on this
  // are shared by these entry points. From 16 sequences on, the kernel family swap_ab computes as many rows as the
  // entry point has.
  int64_t previous = 0;
  auto addUpTo = [&](int64_t sequences) {
    if (sequences < limits.maxNumSeqs) {
      addDecode("decode_" + std::to_string(sequences), sequences, previous);
      previous = sequences;
    }
  };
  for (int64_t sequences = 1; sequences <= (target == "cpu" ? 1 : batchRows); sequences *= 2)
    addUpTo(sequences);
  addDecode("decode_" + std::to_string(limits.maxNumSeqs), limits.maxNumSeqs, previous);
  entries.push_back(
      {"mixed", false, limits.maxNumBatchedTokens, std::min(limits.maxNumSeqs, limits.maxNumBatchedTokens), {}});
  return entries;
}

std::string inlay::entryName(const EntryPoint &entry, ModuleOp module, int64_t stage) {
  return llm::getStageLayers(module).empty() ? entry.name : entry.name + "_stage" + std::to_string(stage);
}

/// Moves the programs, the entry point and new weights from `source` to `destination`. Programs with the same text
/// become one.
static void mergePrograms(ModuleOp source, ModuleOp destination, tile::UniquePrograms &programs) {
  SymbolTable symbols(destination);
  DenseMap<StringAttr, StringAttr> renamed;
  for (auto program : llvm::make_early_inc_range(source.getOps<tile::ProgramOp>())) {
    StringAttr name = program.getSymNameAttr();
    renamed[name] = programs.insert(program, name.getValue(), symbols);
  }
  for (auto weight : llvm::make_early_inc_range(source.getOps<llm::WeightOp>()))
    if (!symbols.lookup(weight.getSymName())) {
      weight->remove();
      symbols.insert(weight);
    }
  for (auto entry : llvm::make_early_inc_range(source.getOps<tile::EntryOp>())) {
    entry.walk([&](tile::LaunchOp launch) {
      launch.setProgramAttr(FlatSymbolRefAttr::get(renamed.lookup(launch.getProgramAttr().getAttr())));
    });
    entry->remove();
    symbols.insert(entry);
  }
}

FailureOr<OwningOpRef<ModuleOp>> inlay::lowerToTile(ModuleOp model, StringRef target, const StepLimits &limits,
                                                    ArrayRef<EntryPoint> entries, StringRef sourceType,
                                                    const Ablation &without, StringRef tuning, LibraryUse library,
                                                    bool quantizesActivations, const SumOptions &sums) {
  MLIRContext *context = model.getContext();
  OwningOpRef<ModuleOp> shared(model.clone());
  if (target != "cpu") {
    context->loadDialect<tile::TileDialect>();
    tile::TargetAttr known = tile::knownTarget(context, target);
    if (!known)
      return model.emitError() << "is compiled for " << target
                               << ", which is not a known target; expected cpu or sm_90a";
    (*shared)->setAttr(tile::kTargetAttr, known);
  }
  // All entry points share one set of weights, so passes that change weights run once.
  PassManager common(context);
  if (!without.fusion) {
    FuseProjectionsPassOptions projections;
    projections.tileColumns = target == "cpu" ? 1 : gpuTileColumns;
    common.addPass(createFuseProjectionsPass(projections));
  }
  if (target != "cpu")
    common.addPass(createPackWeightsPass());
  if (failed(common.run(*shared)))
    return failure();

  OwningOpRef<ModuleOp> result(shared->clone());
  for (auto function : llvm::make_early_inc_range(result->getOps<func::FuncOp>()))
    function.erase();
  tile::UniquePrograms programs;
  Builder builder(context);
  for (const EntryPoint &entry : entries) {
    OwningOpRef<ModuleOp> step(shared->clone());
    for (auto function : step->getOps<func::FuncOp>()) {
      function.setSymName(entryName(entry, *step, llm::getStage(function)));
      function->setAttr("llm.entry",
                        builder.getDictionaryAttr(
                            {builder.getNamedAttr("kind", builder.getStringAttr(entry.decode ? "decode" : "mixed")),
                             builder.getNamedAttr("max_sequences", builder.getI64IntegerAttr(entry.maxSequences)),
                             builder.getNamedAttr("max_tokens", builder.getI64IntegerAttr(entry.maxTokens))}));
    }
    PassManager passes(context);
    if (target != "cpu" && library != LibraryUse::Never) {
      SelectLibraryPassOptions select;
      select.tuning = tuning.str();
      select.always = library == LibraryUse::Always;
      select.maxRows = entry.maxTokens;
      passes.addPass(createSelectLibraryPass(select));
    }
    // On the cpu every token of a decode step is computed from floats, whatever its prompt was computed from.
    if (quantizesActivations && (target != "cpu" || !entry.decode)) {
      QuantizeActivationsPassOptions quantize;
      quantize.target = target.str();
      quantize.maxRows = entry.maxTokens;
      passes.addPass(createQuantizeActivationsPass(quantize));
    }
    FormGroupsPassOptions groups;
    groups.target = target.str();
    groups.maxRows = entry.maxTokens;
    groups.separateNorms = without.normPrologues;
    groups.sumPrologues = sums.sumPrologues;
    groups.separateAll = without.fusion;
    const bool hasHalves =
        target != "cpu" && !entry.decode && sums.halvesRows > 0 && sums.halvesRows <= entry.maxTokens;
    groups.sumsInHalves = hasHalves;
    passes.addPass(createFormGroupsPass(groups));
    if (hasHalves) {
      OverlapCollectivesPassOptions overlap;
      overlap.leastRows = sums.halvesRows;
      passes.addNestedPass<func::FuncOp>(createOverlapCollectivesPass(overlap));
    }
    passes.addNestedPass<func::FuncOp>(createPlanBuffersPass());
    if (target != "cpu")
      passes.addNestedPass<func::FuncOp>(createPushSumsPass());
    ConvertLlmToTilePassOptions convert;
    convert.target = target.str();
    convert.pageSize = limits.pageSize;
    passes.addPass(createConvertLlmToTilePass(convert));
    if (target != "cpu") {
      // Before programs of several entries become one: attention's schedule depends on the entry's sequences.
      SelectSchedulePassOptions select;
      select.tuning = tuning.str();
      passes.addPass(createSelectSchedulePass(select));
    }
    passes.addPass(createCSEPass());
    if (failed(passes.run(*step)))
      return failure();
    mergePrograms(*step, *result, programs);
  }
  if (target == "cpu" || sourceType.empty())
    return result;
  PassManager passes(context);
  PackToTilePassOptions pack;
  pack.sourceType = sourceType.str();
  passes.addPass(createPackToTilePass(pack));
  if (failed(passes.run(*result)))
    return failure();
  return result;
}
