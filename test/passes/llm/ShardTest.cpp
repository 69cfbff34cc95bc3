//===- ShardTest.cpp - a model on several ranks computes what it computes on one -===//
//
// On each checkpoint of test/fixtures: the ranks of llm-shard compute the logits of the
// whole model, and the parts of a weight are the weight. So do the stages of
// llm-split-stages, on one rank and on several.
//
//===----------------------------------------------------------------------===//

#include "dialects/llm/Evaluator.h"
#include "dialects/llm/WeightReader.h"
#include "frontends/hf/Checkpoint.h"
#include "frontends/hf/import/Import.h"
#include "mlir/Pass/PassManager.h"
#include "passes/llm/Passes.h"
#include "test/dialects/llm/CheckpointTensors.h"
#include "gtest/gtest.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

using namespace inlay;
using namespace inlay::llm;
namespace fs = std::filesystem;

namespace {

/// Relative to the root of the repository, where tests run.
const fs::path models = "test/fixtures/models", quantizedModels = "test/fixtures/quantized";
constexpr double tolerance = 1e-12;

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

/// Numbers that look random and depend on `name` and nothing else.
std::vector<double> dummyTensor(llvm::StringRef name, int64_t elements) {
  uint64_t state = elements;
  for (char letter : name)
    state = state * 31 + letter;
  std::vector<double> values(elements);
  for (double &value : values) {
    state = state * 6364136223846793005 + 1442695040888963407;
    value = static_cast<double>(static_cast<int64_t>(state >> 32) % 2001 - 1000) / 4000;
  }
  return values;
}

struct ShardTest : testing::Test {
  /// Imports a directory. The type decides how factors are rounded, such as Gemma's of the embedding.
  void open(const fs::path &directory, bool dummyWeights = false) {
    hf::CheckpointOptions options;
    options.dtype = hf::DType::kFloat32;
    options.dummy_weights = dummyWeights;
    absl::StatusOr<hf::Checkpoint> opened = hf::OpenCheckpoint(directory.string(), options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    checkpoint = *std::move(opened);
    model = hf::importHuggingFace(context, checkpoint.config);
    if (dummyWeights)
      for (auto weight : model->getOps<WeightOp>())
        tensors[SourceAttr::of((*weight.getSources())[0]).getName().str()] =
            dummyTensor(weight.getSymName(), weight.getTensorType().getNumElements());
  }

  /// Each tensor is read once.
  TensorReader reader() {
    return [this](llvm::StringRef name) -> llvm::Expected<std::vector<double>> {
      auto [it, isNew] = tensors.try_emplace(name.str());
      if (isNew) {
        llvm::Expected<std::vector<double>> elements = readTensor(checkpoint.weights, name);
        if (!elements)
          return elements.takeError();
        it->second = *std::move(elements);
      }
      return it->second;
    };
  }

  /// The module for `ranks` ranks of `stages` stages; null, with the error in `error`, if they cannot divide it.
  mlir::OwningOpRef<mlir::ModuleOp> shard(int64_t ranks, int64_t stages = 1) {
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
        error = diagnostic.str();
      return mlir::success();
    });
    mlir::OwningOpRef<mlir::ModuleOp> result(model->clone());
    mlir::PassManager passes(&context);
    SplitStagesPassOptions split;
    split.pipelineParallelSize = stages;
    passes.addPass(createSplitStagesPass(split));
    ShardPassOptions options;
    options.tensorParallelSize = ranks;
    passes.addPass(createShardPass(options));
    if (failed(passes.run(*result)))
      return {};
    return result;
  }

  void fuse(mlir::ModuleOp module) {
    mlir::PassManager passes(&context);
    passes.addPass(createFuseProjectionsPass());
    passes.addPass(createFormGroupsPass());
    ASSERT_TRUE(succeeded(passes.run(module)));
  }

  /// Two sequences, then another step of the first; logits of the last rows, of each rank of the last stage.
  std::vector<std::vector<double>> logits(mlir::ModuleOp module, int64_t ranks) {
    auto stages = llvm::to_vector(module.getOps<mlir::func::FuncOp>());
    Evaluator evaluator(reader(), ranks);
    std::vector<std::vector<double>> result(ranks);
    std::vector<std::vector<KvCache>> caches(stages.size(), std::vector<KvCache>(ranks));
    for (auto [ids, batch] :
         {std::pair{TokenIds{3, 14, 15, 92, 65}, Batch{{0, 0, 0, 1, 1}, {0, 1, 2, 0, 1}, {2, 4}, {}}},
          {TokenIds{35}, Batch{{0}, {3}, {0}, {}}}}) {
      Batch withRows = batch;
      withRows.ropeRows = batch.positions;
      std::vector<Matrix> rows(ranks); // that a stage makes for the next one
      for (auto [stage, ofRanks] : llvm::zip(stages, caches)) {
        std::vector<std::vector<GraphValue>> arguments(ranks);
        for (int64_t rank = 0; rank < ranks; ++rank)
          for (mlir::Type type : stage.getArgumentTypes()) {
            auto tensor = mlir::dyn_cast<mlir::RankedTensorType>(type);
            arguments[rank].push_back(mlir::isa<BatchType>(type) ? GraphValue(withRows)
                                      : !tensor                  ? GraphValue(ofRanks[rank])
                                      : tensor.getRank() == 1    ? GraphValue(ids)
                                                                 : GraphValue(rows[rank]));
          }
        mlir::FailureOr<std::vector<std::vector<GraphValue>>> results = evaluator.evaluateRanks(stage, arguments);
        EXPECT_TRUE(succeeded(results));
        if (failed(results))
          return result;
        for (int64_t rank = 0; rank < ranks; ++rank) {
          rows[rank] = std::get<Matrix>((*results)[rank].front());
          ofRanks[rank] = std::get<KvCache>((*results)[rank].back());
          // Tokens of all logits, and of the best one of each rank.
          if ((*results)[rank].size() == 4)
            EXPECT_EQ(std::get<TokenIds>((*results)[rank][1]), std::get<TokenIds>((*results)[rank][2]));
        }
      }
      for (int64_t rank = 0; rank < ranks; ++rank)
        llvm::append_range(result[rank], rows[rank].values);
    }
    return result;
  }

  /// Checks all numbers of ranks that divide the model; returns them.
  std::vector<int64_t> expectRanksToEqualWhole() {
    std::vector<double> whole = logits(*model, 1)[0];
    std::vector<int64_t> possible;
    for (int64_t ranks : {2, 3, 4, 8}) {
      SCOPED_TRACE(std::to_string(ranks) + " ranks");
      mlir::OwningOpRef<mlir::ModuleOp> sharded = shard(ranks);
      if (!sharded)
        continue;
      possible.push_back(ranks);
      expectPartsToBeWhole(*sharded, ranks);
      fuse(*sharded);
      for (const std::vector<double> &found : logits(*sharded, ranks))
        EXPECT_LE(distance(found, whole), tolerance);
    }
    return possible;
  }

  /// Checks two stages of one rank, and of two where these divide the model.
  void expectStagesToEqualWhole() {
    std::vector<double> whole = logits(*model, 1)[0];
    for (int64_t ranks : {1, 2}) {
      SCOPED_TRACE(std::to_string(ranks) + " ranks of 2 stages");
      mlir::OwningOpRef<mlir::ModuleOp> divided = shard(ranks, /*stages=*/2);
      EXPECT_TRUE(divided || ranks > 1) << error;
      if (!divided)
        continue;
      EXPECT_EQ(llvm::range_size(divided->getOps<mlir::func::FuncOp>()), 2);
      fuse(*divided);
      for (const std::vector<double> &found : logits(*divided, ranks))
        EXPECT_LE(distance(found, whole), tolerance);
    }
  }

  /// Each element of a divided weight is in one part, and the parts are in the order of the ranks.
  void expectPartsToBeWhole(mlir::ModuleOp sharded, int64_t ranks) {
    mlir::SymbolTable wholes(*model);
    WeightReader wholeReader(reader(), 0, 1);
    std::vector<std::unique_ptr<WeightReader>> readers;
    for (int64_t rank = 0; rank < ranks; ++rank)
      readers.push_back(std::make_unique<WeightReader>(reader(), rank, ranks));
    for (auto weight : sharded.getOps<WeightOp>()) {
      SCOPED_TRACE(weight.getSymName().str());
      auto name = mlir::FlatSymbolRefAttr::get(weight.getSymNameAttr());
      llvm::StringRef wholeName = name.getValue();
      wholeName.consume_back(".shard");
      auto of = wholes.lookup<WeightOp>(wholeName);
      ASSERT_TRUE(of);
      ShardAttr divided = SourceAttr::of((*weight.getSources())[0]).getShard();
      const Matrix &expected = **wholeReader.read(of, mlir::FlatSymbolRefAttr::get(of.getSymNameAttr()));
      std::vector<const Matrix *> parts;
      for (int64_t rank = 0; rank < ranks; rank += divided ? ranks / divided.getParts() : 1)
        parts.push_back(*readers[rank]->read(weight, name));
      if (!divided) {
        for (const Matrix *part : parts)
          ASSERT_EQ(part->values, expected.values);
        continue;
      }
      std::vector<double> joined;
      if (divided.getAxis() == Axis::Rows) {
        for (const Matrix *part : parts)
          llvm::append_range(joined, part->values);
        // What is beyond the whole is padding.
        ASSERT_GE(joined.size(), expected.values.size());
        for (double padding : llvm::drop_begin(joined, expected.values.size()))
          ASSERT_EQ(padding, 0);
        joined.resize(expected.values.size());
      } else {
        for (int64_t row = 0; row < expected.rows; ++row)
          for (const Matrix *part : parts)
            llvm::append_range(joined, part->row(row));
      }
      ASSERT_EQ(joined, expected.values);
    }
  }

  mlir::MLIRContext context;
  hf::Checkpoint checkpoint;
  mlir::OwningOpRef<mlir::ModuleOp> model;
  std::map<std::string, std::vector<double>> tensors;
  std::string error;
};

struct Models : ShardTest, testing::WithParamInterface<std::string> {};
TEST_P(Models, RanksEqualWhole) {
  open(models / GetParam());
  // 3 heads and 64 columns of the MLP.
  bool canBeDivided = GetParam() != "falcon-7b";
  EXPECT_EQ(!expectRanksToEqualWhole().empty(), canBeDivided) << error;
}

TEST_P(Models, StagesEqualWhole) {
  open(models / GetParam());
  expectStagesToEqualWhole();
}

struct Quantized : ShardTest, testing::WithParamInterface<std::string> {};
TEST_P(Quantized, RanksEqualWhole) {
  open(quantizedModels / GetParam());
  // One group for all columns, a group that is cut, or columns that are sorted.
  static const std::set<std::string> undividable = {"bnb-nf4",   "bnb-nf4-nested", "ct-actorder",  "ct-w4a16",
                                                    "fp8-block", "gptq",           "gptq-desc-act"};
  EXPECT_EQ(expectRanksToEqualWhole().empty(), undividable.contains(GetParam())) << error;
}
TEST_P(Quantized, StagesEqualWhole) {
  open(quantizedModels / GetParam());
  expectStagesToEqualWhole();
}

/// A Llama of 8 heads with so many kv heads, and a vocabulary that no number of ranks divides.
struct KvHeads : ShardTest, testing::WithParamInterface<int> {};
TEST_P(KvHeads, RanksEqualWhole) {
  fs::path directory = fs::path(testing::TempDir()) / ("shard_test_" + std::to_string(GetParam()));
  fs::create_directories(directory);
  std::ofstream(directory / "config.json")
      << R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 48,)"
      << R"("num_hidden_layers": 2, "num_attention_heads": 8, "vocab_size": 101, "rms_norm_eps": 1e-5, "hidden_act": "silu",)"
      << R"("torch_dtype": "float32", "max_position_embeddings": 64, "tie_word_embeddings": true,)"
      << R"("num_key_value_heads": )" << GetParam() << "}";
  open(directory, /*dummyWeights=*/true);
  EXPECT_EQ(expectRanksToEqualWhole(), (std::vector<int64_t>{2, 4, 8})) << error;
  fs::remove_all(directory);
}

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

INSTANTIATE_TEST_SUITE_P(Llama, KvHeads, testing::Values(1, 2, 4, 8));
INSTANTIATE_TEST_SUITE_P(Fixtures, Models, testing::ValuesIn(listFixtures(models)), testName);
INSTANTIATE_TEST_SUITE_P(Fixtures, Quantized, testing::ValuesIn(listFixtures(quantizedModels)), testName);

} // namespace
