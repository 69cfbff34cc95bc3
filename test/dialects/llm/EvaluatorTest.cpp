//===- EvaluatorTest.cpp - the reference against transformers --------------===//
//
// On each checkpoint of test/fixtures/models: the evaluator computes the logits of
// transformers; so does the graph that the passes have fused and grouped; a ragged
// batch in chunks computes what each sequence computes alone.
//
//===----------------------------------------------------------------------===//

#include "dialects/llm/Evaluator.h"
#include "frontends/hf/Checkpoint.h"
#include "frontends/hf/import/Import.h"
#include "passes/llm/Passes.h"
#include "test/dialects/llm/CheckpointTensors.h"
#include "gtest/gtest.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

using namespace inlay;
using namespace inlay::llm;
namespace fs = std::filesystem;

namespace {

/// Relative to the root of the repository, where tests run.
const fs::path models = "test/fixtures/models", quantizedModels = "test/fixtures/quantized";

/// Rounding to f32 in the golden run. Its own rounding is the error; ours is of the order of 1e-15.
constexpr double goldenTolerance = 1e-5;
/// Between graphs that add the same products in the same order.
constexpr double graphTolerance = 1e-12;

/// Relative L2 distance.
double distance(const std::vector<double> &found, const std::vector<double> &expected) {
  EXPECT_EQ(found.size(), expected.size());
  double difference = 0, norm = 0;
  for (auto [x, y] : llvm::zip(found, expected)) {
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return std::sqrt(difference / norm);
}

/// Rows [begin, end) of sequence `id`, with the logits of the last `logits` of them. Its position 0 is row
/// `firstRopeRow` of rope tables with two parts.
void addRows(Batch &batch, int64_t id, int64_t begin, int64_t end, int64_t logits, int64_t firstRopeRow) {
  for (int64_t position = begin; position < end; ++position) {
    if (position >= end - logits)
      batch.logitRows.push_back(batch.sequences.size());
    batch.sequences.push_back(id);
    batch.positions.push_back(position);
    batch.ropeRows.push_back(firstRopeRow + position);
  }
}

struct Fixture : testing::TestWithParam<std::string> {
  void SetUp() override { open(models / GetParam()); }

  void open(const fs::path &directory) {
    // The goldens are computed in float32. The type decides how factors are rounded, such as Gemma's of the embedding.
    hf::CheckpointOptions options;
    options.dtype = hf::DType::kFloat32;
    absl::StatusOr<hf::Checkpoint> opened = hf::OpenCheckpoint(directory.string(), options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    checkpoint = *std::move(opened);
    model = hf::importHuggingFace(context, checkpoint.config);

    auto golden = nlohmann::json::parse(std::ifstream(directory / "golden" / "golden.json"));
    golden["prompt_ids"].get_to(tokens);
    promptLength = tokens.size();
    golden["greedy_ids"].get_to(greedy);
    llvm::append_range(tokens, greedy);

    std::string logitsFile = (directory / "golden" / "logits.safetensors").string();
    absl::StatusOr<std::vector<TensorInfo>> header = ReadSafetensorsHeader(logitsFile);
    ASSERT_TRUE(header.ok()) << header.status();
    SafetensorsIndex index{{logitsFile}, {}};
    for (const TensorInfo &info : *header)
      index.tensors[info.name] = info;
    llvm::Expected<std::vector<double>> logits = readTensor(index, "logits");
    ASSERT_TRUE(static_cast<bool>(logits)) << llvm::toString(logits.takeError());
    expected = *std::move(logits);
  }

  Evaluator makeEvaluator() {
    return Evaluator([&](llvm::StringRef name) { return readTensor(checkpoint.weights, name); });
  }

  /// One step of `module`: logits, next tokens and the cache after it.
  std::vector<GraphValue> step(Evaluator &evaluator, mlir::ModuleOp module, const TokenIds &ids, const Batch &batch,
                               const KvCache &cache) {
    auto function = *module.getOps<mlir::func::FuncOp>().begin();
    mlir::FailureOr<std::vector<GraphValue>> results = evaluator.evaluate(function, {ids, batch, cache});
    EXPECT_TRUE(succeeded(results));
    return succeeded(results) ? *results : std::vector<GraphValue>{Matrix(), TokenIds(), KvCache()};
  }

  /// The row of rope tables with two parts for position 0 of a sequence of `length` tokens.
  int64_t firstRopeRow(int64_t length) const {
    int64_t shortLength = checkpoint.config.short_rope_len;
    return length > shortLength ? shortLength : 0;
  }

  /// The logits of one step over the prompt and the greedy tokens. With rope tables of two parts, the rows up to the
  /// length of the first part are those of a sequence that ends there.
  std::vector<double> evaluateAll(mlir::ModuleOp module) {
    Batch batch;
    TokenIds ids;
    int64_t total = tokens.size(), logits = greedy.size() + 1;
    if (int64_t shortLength = checkpoint.config.short_rope_len; shortLength >= promptLength && shortLength < total) {
      addRows(batch, 1, 0, shortLength, shortLength - promptLength + 1, 0);
      ids.assign(tokens.begin(), tokens.begin() + shortLength);
      logits = total - shortLength;
    }
    addRows(batch, 0, 0, total, logits, firstRopeRow(total));
    llvm::append_range(ids, tokens);
    Evaluator evaluator = makeEvaluator();
    return std::get<Matrix>(step(evaluator, module, ids, batch, {})[0]).values;
  }

  void expectFusedToEqualUnfused() {
    std::vector<double> unfused = evaluateAll(*model);
    for (auto [target, maxRows] : {std::pair{"cpu", 1}, {"cpu", 512}, {"sm_90a", 16}, {"sm_90a", 512}}) {
      SCOPED_TRACE(std::string(target) + " " + std::to_string(maxRows));
      mlir::OwningOpRef<mlir::ModuleOp> fused(model->clone());
      mlir::PassManager passes(&context);
      passes.addPass(createFuseProjectionsPass());
      FormGroupsPassOptions options;
      options.target = target;
      options.maxRows = maxRows;
      passes.addPass(createFormGroupsPass(options));
      ASSERT_TRUE(succeeded(passes.run(*fused)));
      EXPECT_LE(distance(evaluateAll(*fused), unfused), graphTolerance);
    }
  }

  mlir::MLIRContext context;
  hf::Checkpoint checkpoint;
  mlir::OwningOpRef<mlir::ModuleOp> model;
  TokenIds tokens, greedy; // `tokens` is the prompt and then `greedy`
  int64_t promptLength = 0;
  std::vector<double> expected;
};

TEST_P(Fixture, ComputesWhatTransformersComputes) {
  EXPECT_LE(distance(evaluateAll(*model), expected), goldenTolerance);
}

TEST_P(Fixture, TakesTheGreedyTokens) {
  Evaluator evaluator = makeEvaluator();
  TokenIds ids(tokens.begin(), tokens.begin() + promptLength), found;
  KvCache cache;
  int64_t length = 0;
  while (found.size() < greedy.size()) {
    int64_t next = length + ids.size();
    if (length > 0 && firstRopeRow(next) != firstRopeRow(length)) {
      // The sequence has outgrown the first part of the rope tables.
      cache = {};
      length = 0;
      ids.assign(tokens.begin(), tokens.begin() + next);
    }
    Batch batch;
    addRows(batch, 0, length, next, 1, firstRopeRow(next));
    length = next;
    std::vector<GraphValue> results = step(evaluator, *model, ids, batch, cache);
    ids = std::get<TokenIds>(results[1]);
    cache = std::get<KvCache>(results[2]);
    ASSERT_EQ(ids.size(), 1u);
    found.push_back(ids[0]);
  }
  EXPECT_EQ(found, greedy);
}

TEST_P(Fixture, FusedEqualsUnfused) { expectFusedToEqualUnfused(); }

TEST_P(Fixture, RaggedChunksEqualEachSequenceAlone) {
  // Two sequences, one of them shorter, in steps of unequal chunks side by side.
  TokenIds other(tokens.rbegin(), tokens.rbegin() + 20);
  auto alone = [&](const TokenIds &ids) {
    Batch batch;
    addRows(batch, 0, 0, ids.size(), 1, firstRopeRow(ids.size()));
    Evaluator evaluator = makeEvaluator();
    return std::get<Matrix>(step(evaluator, *model, ids, batch, {})[0]).values;
  };
  std::vector<double> expectedRows = alone(tokens);
  llvm::append_range(expectedRows, alone(other));

  Evaluator evaluator = makeEvaluator();
  KvCache cache;
  std::vector<double> found;
  int64_t firstLength = tokens.size(), secondLength = other.size();
  for (auto [first, second] : {std::pair<int64_t, int64_t>{7, 0}, {30, 13}, {firstLength, secondLength}}) {
    static constexpr int64_t firstId = 4, secondId = 2;
    auto lengthOf = [&](int64_t id) -> int64_t {
      auto layer = cache.find(0);
      if (layer == cache.end() || !layer->second->contains(id))
        return 0;
      return layer->second->at(id).keys.rows;
    };
    Batch batch;
    TokenIds ids;
    int64_t firstBegin = lengthOf(firstId), secondBegin = lengthOf(secondId);
    addRows(batch, firstId, firstBegin, first, first == firstLength, firstRopeRow(firstLength));
    addRows(batch, secondId, secondBegin, second, second == secondLength, firstRopeRow(secondLength));
    ids.assign(tokens.begin() + firstBegin, tokens.begin() + first);
    ids.insert(ids.end(), other.begin() + secondBegin, other.begin() + second);
    std::vector<GraphValue> results = step(evaluator, *model, ids, batch, cache);
    found = std::get<Matrix>(results[0]).values;
    cache = std::get<KvCache>(results[2]);
  }
  EXPECT_EQ(found, expectedRows);
}

/// Checkpoints of quantization formats. Their goldens are those of the dequantized matrices.
struct Quantized : Fixture {
  void SetUp() override { open(quantizedModels / GetParam()); }
};

TEST_P(Quantized, ComputesWhatTransformersComputes) {
  EXPECT_LE(distance(evaluateAll(*model), expected), goldenTolerance);
}

TEST_P(Quantized, FusedEqualsUnfused) { expectFusedToEqualUnfused(); }

std::vector<std::string> listFixtures(const fs::path &directory) {
  std::vector<std::string> names;
  for (const auto &entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  llvm::sort(names);
  return names;
}

std::string testName(const testing::TestParamInfo<std::string> &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Models, Fixture, testing::ValuesIn(listFixtures(models)), testName);
INSTANTIATE_TEST_SUITE_P(Formats, Quantized, testing::ValuesIn(listFixtures(quantizedModels)), testName);

} // namespace
