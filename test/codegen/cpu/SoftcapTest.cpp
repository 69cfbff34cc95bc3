//===- SoftcapTest.cpp - attention with capped scores on the cpu target ----===//
//
// Compares a kernel with the result of the reference evaluator for the same function of
// the llm dialect. test/codegen/gpu/check_attention.py tests the GPU's kernels.
//
//===----------------------------------------------------------------------===//

#include "dialects/llm/Evaluator.h"
#include "dialects/tile/Tile.h"
#include "mlir/Pass/PassManager.h"
#include "passes/llm/Passes.h"
#include "passes/llm_to_tile/Passes.h"
#include "test/codegen/cpu/KernelTesting.h"

namespace {
using namespace inlay;
using namespace inlay::testing;

constexpr int kHeads = 4, kKvHeads = 2, kHeadDim = 32, kColumns = kHeads * kHeadDim, kKvColumns = kKvHeads * kHeadDim;
constexpr int kPageSize = 16, kPagesPerSequence = 4, kPages = 12;

/// The queries are the rows of the embedding for the tokens of the step.
constexpr const char *kStep = R"(
module attributes {llm.model = {architecture = "llama", vocab_size = 64 : i64, hidden_size = 128 : i64, layers = 1 : i64,
    heads = 4 : i64, kv_heads = 2 : i64, head_dim = 32 : i64, max_model_len = 64 : i64}} {
  llm.weight @embed : tensor<64x128xf32> from ["embed"]
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> (tensor<?x128xf32>, !llm.kv_cache)
      attributes {llm.entry = {kind = "mixed", max_tokens = 16 : i64, max_sequences = 4 : i64}} {
    %q = llm.group "embed" family("rows") -> tensor<?x128xf32> {
      %0 = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x128xf32>
      llm.yield %0 : tensor<?x128xf32>
    }
    %a = llm.group "attention" family("attention") -> tensor<?x128xf32> {
      %0 = llm.paged_attention %q, %kv, %batch {layer = 0 : i64, heads = 4 : i64, kv_heads = 2 : i64, head_dim = 32 : i64,
          scale = 0.5 : f64, softcap = SOFTCAP : f64}
          : (tensor<?x128xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x128xf32>
      llm.yield %0 : tensor<?x128xf32>
    }
    return %a, %kv : tensor<?x128xf32>, !llm.kv_cache
  }
})";

llm::Matrix toMatrix(const std::vector<float> &values, int64_t columns) {
  llm::Matrix matrix(static_cast<int64_t>(values.size()) / columns, columns);
  std::copy(values.begin(), values.end(), matrix.values.begin());
  return matrix;
}

TEST(Softcap, AttentionIsTheEvaluators) {
  // The standard deviation of scores is 0.5 * sqrt(32) = 2.8: a cap of 2 changes most scores, a cap of 1000 none.
  std::vector<std::vector<double>> results;
  for (const char *cap : {"2.0", "1000.0"}) {
    mlir::DialectRegistry registry;
    registerAllDialects(registry);
    mlir::MLIRContext context(registry);
    std::string text = kStep;
    text.replace(text.find("SOFTCAP"), 7, cap);
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    ASSERT_TRUE(module);

    // Sequence 0 reads a chunk of 5 rows that ends at position 37, sequences 1 and 2 have one row each.
    Random random(1);
    const std::vector<int64_t> lengths = {38, 17, 1};
    const std::vector<int64_t> rowSequences = {0, 0, 0, 0, 0, 1, 2}, rowPositions = {33, 34, 35, 36, 37, 16, 0};
    std::vector<float> embed = random.f32(64 * kColumns);
    llm::TokenIds tokens = {3, 9, 63, 0, 12, 40, 41};
    std::vector<float> keys(kPages * kPageSize * kKvColumns, NAN), values = keys, queries;
    std::vector<int32_t> pages(lengths.size() * kPagesPerSequence, -1);
    auto layer = std::make_shared<llm::LayerCache>();
    int32_t nextPage = kPages;
    for (size_t s = 0; s < lengths.size(); ++s) {
      std::vector<float> ofKeys = random.f32(lengths[s] * kKvColumns), ofValues = random.f32(lengths[s] * kKvColumns);
      (*layer)[static_cast<int64_t>(s)] = {toMatrix(ofKeys, kKvColumns), toMatrix(ofValues, kKvColumns)};
      for (int64_t position = 0; position < lengths[s]; ++position) {
        int32_t &page = pages[s * kPagesPerSequence + position / kPageSize];
        if (page < 0)
          page = --nextPage;
        for (int64_t head = 0; head < kKvHeads; ++head) {
          int64_t row = (page * kKvHeads + head) * kPageSize + position % kPageSize;
          int64_t from = position * kKvColumns + head * kHeadDim;
          std::copy_n(&ofKeys[from], kHeadDim, &keys[row * kHeadDim]);
          std::copy_n(&ofValues[from], kHeadDim, &values[row * kHeadDim]);
        }
      }
    }
    for (int64_t token : tokens)
      queries.insert(queries.end(), &embed[token * kColumns], &embed[token * kColumns] + kColumns);

    llm::Evaluator evaluator([&](llvm::StringRef) -> llvm::Expected<std::vector<double>> {
      return std::vector<double>(embed.begin(), embed.end());
    });
    llm::Batch batch;
    batch.sequences = rowSequences;
    batch.positions = rowPositions;
    auto step = module->lookupSymbol<mlir::func::FuncOp>("step");
    auto evaluated = evaluator.evaluate(step, {tokens, batch, llm::KvCache{{0, layer}}});
    ASSERT_TRUE(succeeded(evaluated));
    const auto &expected = std::get<llm::Matrix>(evaluated->front()).values;

    mlir::PassManager passes(&context);
    passes.addNestedPass<mlir::func::FuncOp>(createPlanBuffersPass());
    ConvertLlmToTilePassOptions options;
    options.target = "cpu";
    options.pageSize = kPageSize;
    passes.addPass(createConvertLlmToTilePass(options));
    ASSERT_TRUE(succeeded(passes.run(*module)));
    auto entry = *module->getOps<tile::EntryOp>().begin();
    int32_t tileRows = static_cast<int32_t>(entry.getQueryTileRows());
    Library library(*module);
    Kernel kernel = library.kernel("step_attention");
    ASSERT_TRUE(kernel);

    std::vector<int32_t> tileSequences, tileFirst, tileEnds, tileKeys,
        positions(rowPositions.begin(), rowPositions.end());
    int32_t rows = static_cast<int32_t>(positions.size());
    for (int32_t first = 0; first < rows;) {
      int32_t end = first + 1;
      while (end < rows && end - first < tileRows && rowSequences[end] == rowSequences[first])
        ++end;
      tileSequences.push_back(static_cast<int32_t>(rowSequences[first]));
      tileFirst.push_back(first);
      tileEnds.push_back(end);
      tileKeys.push_back(positions[end - 1] + 1);
      first = end;
    }
    int32_t tiles = static_cast<int32_t>(tileSequences.size());
    std::vector<float> output(queries.size(), NAN);
    Sizes sizes{.tokens = rows,
                .sequences = static_cast<int32_t>(lengths.size()),
                .queryTiles = tiles,
                .kvRows = kPages * kKvHeads * kPageSize};
    launch(kernel, kKvHeads, tiles, sizes, queries, tileSequences, tileFirst, tileEnds, tileKeys, positions, keys,
           values, output, pages);
    for (size_t i = 0; i < output.size(); ++i)
      ASSERT_NEAR(output[i], expected[i], 2e-5) << "softcap " << cap << ", element " << i;
    results.push_back(expected);
  }
  double difference = 0;
  for (size_t i = 0; i < results[0].size(); ++i)
    difference = std::max(difference, std::fabs(results[0][i] - results[1][i]));
  EXPECT_GT(difference, 0.1); // the small cap has an effect
}

} // namespace
