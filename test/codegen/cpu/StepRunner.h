//===- StepRunner.h - runs a lowered step of the llm dialect on the cpu ----===//
//
// Lowers the step of a module to the cpu target and executes its launches, as the
// runtime does with a plan: weights in the order that their recipes say, a workspace,
// a paged cache and the metadata of each step.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_TEST_CODEGEN_CPU_STEPRUNNER_H
#define INLAY_TEST_CODEGEN_CPU_STEPRUNNER_H

#include "dialects/llm/Evaluator.h"
#include "dialects/tile/Tile.h"
#include "test/codegen/cpu/KernelTesting.h"

namespace inlay::testing {

/// The elements of a tensor of the checkpoint, by its name.
using Tensors = std::function<std::vector<float>(llvm::StringRef)>;

/// Keys and values of all layers and sequences, in pages that are taken from the last one on.
struct PagedCache {
  static constexpr int64_t pageSize = 4, pagesPerSequence = 16, sequences = 4, pages = sequences * pagesPerSequence;
  std::map<int64_t, std::vector<float>> keys, values; // by layer
  std::vector<int32_t> table = std::vector<int32_t>(pages, -1);
  int32_t used = 0;
};

/// Steps of one kind. All float types of the module are f32.
class StepRunner {
public:
  static constexpr int64_t maxTokens = 8;

  /// `separateAll`: each op becomes a kernel of its own. `kind` is "decode" or "mixed". Errors are failures of the
  /// test.
  StepRunner(mlir::ModuleOp model, const Tensors &tensors, bool separateAll, llvm::StringRef kind);

  /// The rows of logits of one step over `batch`, whose sequences are 0 to PagedCache::sequences - 1 and whose rows of
  /// one sequence are neighbours.
  std::vector<float> run(const llm::TokenIds &tokens, const llm::Batch &batch, PagedCache &cache);

  /// The ops of each launch, as `origin` names them.
  std::vector<std::string> origins() const;

private:
  using Arrays = std::map<std::string, std::vector<int32_t>>;

  mlir::OwningOpRef<mlir::ModuleOp> module;
  mutable tile::EntryOp entry;
  std::unique_ptr<Library> library;
  std::map<std::string, std::vector<float>> weights;
  int64_t kvHeads = 0, headDim = 0, vocabulary = 0;

  void loadWeights(const Tensors &tensors);
  Arrays describe(const llm::TokenIds &tokens, const llm::Batch &batch, PagedCache &cache, Sizes &sizes) const;
};

} // namespace inlay::testing

#endif // INLAY_TEST_CODEGEN_CPU_STEPRUNNER_H
