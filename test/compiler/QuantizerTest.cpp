//===- QuantizerTest.cpp - compile-model --quantization --------------------===//
//
// The example model, quantized: the CPU computes what the evaluator computes in double precision with the same codes
// and scales. What quantization costs is no question here.
//
//===----------------------------------------------------------------------===//

#include "compiler/pipelines/CompileModel.h"
#include "compiler/pipelines/QuantizationEval.h"
#include "dialects/llm/Evaluator.h"
#include "frontends/hf/Checkpoint.h"
#include "frontends/hf/import/Import.h"
#include "mlir/Pass/PassManager.h"
#include "passes/llm/Passes.h"
#include "runtime/api/inlay.h"
#include "runtime/support/files.h"
#include "test/compiler/EvaluatePrompt.h"
#include "test/dialects/llm/CheckpointTensors.h"
#include "gtest/gtest.h"
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

using namespace inlay;
using namespace inlay::llm;
namespace fs = std::filesystem;

namespace {

const std::string exampleModel = "examples/stdlib_model/model", exampleText = "examples/stdlib_model/train.py";
constexpr size_t positions = 96;
/// The shortest prompt: a step of one row may be one that generates, which does not quantize activations.
constexpr size_t leastPrompt = 2;
/// A larger difference of the two largest logits than rounding to bfloat16 can turn around.
constexpr double clearMargin = 0.1;

struct Format {
  const char *name;
  std::optional<hf::Codes> layers;
  bool fp8Head;
  bool ofTokens = false;                         // activations are quantized for each token
  double mostDivergence = 1e-4, sameTop = 0.995; // of the distributions
  hf::CacheType cache = hf::CacheType::kAuto;
  std::string test() const { return std::string(name) + (ofTokens ? "_activations" : ""); }
};

struct QuantizerTest : testing::TestWithParam<Format> {
  fs::path directory = fs::path(testing::TempDir()) / "quantizer_test";
  void TearDown() override { fs::remove_all(directory); }

  std::unique_ptr<Engine> load(const std::string &model, const std::string &dtype,
                               WeightsMode weights = WeightsMode::Pack) {
    CompileRequest request;
    request.weights = weights;
    request.modelDirectory = model;
    request.dtype = dtype;
    request.output = (directory / "quantized.inlay").string();
    request.overwrite = true;
    request.targets = {"cpu"};
    request.quantization = GetParam().layers ? GetParam().name : "";
    request.quantizeLmHead = GetParam().fp8Head;
    request.kvCacheDtype = GetParam().cache == hf::CacheType::kFp8 ? "fp8" : "auto";
    request.activations = GetParam().ofTokens ? "dynamic" : "none";
    std::string out;
    absl::Status status = compileModel(request, out);
    EXPECT_TRUE(status.ok()) << status;
    EngineOptions options;
    options.target = "cpu";
    options.return_logits = true;
    // A prompt whose prefix is known may have one token left, which a decode step computes from floats.
    options.enable_prefix_caching = !GetParam().ofTokens;
    absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(request.output, options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return engine.ok() ? *std::move(engine) : nullptr;
  }

  /// The logits after each token; with floats in the place of quantized activations if `areFloats`.
  static Matrix evaluate(const std::string &directory, const std::string &dtype, const std::vector<int32_t> &ids,
                         bool areFloats = !GetParam().ofTokens) {
    hf::CheckpointOptions options;
    options.dtype = hf::ParseDType(dtype);
    options.quantizer = {GetParam().layers, GetParam().fp8Head};
    options.kv_cache = GetParam().cache;
    options.activations = areFloats ? hf::ActivationQuantization::kNone : hf::ActivationQuantization::kDynamic;
    absl::StatusOr<hf::Checkpoint> checkpoint = hf::OpenCheckpoint(directory, options);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    mlir::MLIRContext context;
    mlir::OwningOpRef<mlir::ModuleOp> model = hf::importHuggingFace(context, checkpoint->config);
    mlir::PassManager passes(&context);
    passes.addPass(createQuantizeActivationsPass()); // nothing without the option
    EXPECT_TRUE(succeeded(passes.run(*model)));
    Evaluator evaluator([&](llvm::StringRef name) { return readTensor(checkpoint->weights, name); });
    return evaluatePrompt(evaluator, *model->getOps<mlir::func::FuncOp>().begin(), ids);
  }
};

TEST_P(QuantizerTest, CpuComputesWhatTheEvaluatorDoes) {
  // Where activations are quantized, a rounding to bfloat16 changes codes, each by all of its distance to the next one.
  const std::string dtype = GetParam().ofTokens ? "float32" : "bfloat16";
  std::unique_ptr<Engine> engine = load(exampleModel, dtype);
  ASSERT_TRUE(engine);
  absl::StatusOr<std::string> text = ReadFile(exampleText);
  ASSERT_TRUE(text.ok()) << text.status();
  absl::StatusOr<std::vector<int32_t>> ids = engine->Tokenize(text->substr(0, 1000), /*add_special_tokens=*/true);
  ASSERT_TRUE(ids.ok()) << ids.status();
  ASSERT_GT(ids->size(), positions);
  Matrix reference = evaluate(exampleModel, dtype, {ids->begin(), ids->begin() + positions});
  ASSERT_EQ(reference.rows, static_cast<int64_t>(positions));
  absl::StatusOr<std::vector<std::vector<float>>> found = logitsAfter(*engine, *ids, leastPrompt, positions + 1);
  ASSERT_TRUE(found.ok()) << found.status();

  DistributionComparison all, clear;
  int equal = 0; // distributions, but for rounding
  for (size_t i = leastPrompt - 1; i < positions; ++i) {
    auto row = reference.row(i);
    std::vector<float> expected(row.begin(), row.end()), sorted = expected;
    std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater());
    double before = all.klSum;
    all.add(expected, (*found)[i - (leastPrompt - 1)], (*ids)[i + 1]);
    equal += all.klSum - before < 1e-9;
    if (sorted[0] - sorted[1] > clearMargin)
      clear.add(expected, (*found)[i - (leastPrompt - 1)], (*ids)[i + 1]);
  }
  EXPECT_LE(all.klSum / static_cast<double>(all.positions), GetParam().mostDivergence) << all.describe();
  EXPECT_GT(clear.positions, 60);
  EXPECT_GE(static_cast<double>(clear.sameTop), GetParam().sameTop * static_cast<double>(clear.positions))
      << clear.describe();
  if (GetParam().ofTokens) {
    EXPECT_GE(equal, 16);
  }
}

struct LinkedQuantizerTest : QuantizerTest {};

/// Weights that are quantized while they are loaded are those of a bundle.
TEST_P(LinkedQuantizerTest, WeightsAreEqual) {
  std::vector<std::vector<float>> logits[2];
  for (WeightsMode mode : {WeightsMode::Pack, WeightsMode::Link}) {
    std::unique_ptr<Engine> engine = load("test/fixtures/models/llama-gqa", "bfloat16", mode);
    ASSERT_TRUE(engine);
    absl::StatusOr<std::vector<std::vector<float>>> found = logitsAfter(*engine, {1, 50, 60, 70, 80}, 1, 6);
    ASSERT_TRUE(found.ok()) << found.status();
    logits[mode == WeightsMode::Link] = *std::move(found);
  }
  EXPECT_EQ(logits[0], logits[1]);
}

/// Of logits after a prompt of leastPrompt tokens and after each one that follows.
double relativeError(Matrix &reference, const std::vector<std::vector<float>> &found) {
  double error = 0, norm = 0;
  for (auto [i, row] : llvm::enumerate(found))
    for (auto [expected, value] : llvm::zip_equal(reference.row(leastPrompt - 1 + static_cast<int64_t>(i)), row)) {
      error += (value - expected) * (value - expected);
      norm += expected * expected;
    }
  return std::sqrt(error / norm);
}

/// Tests in float32 with the ids of a small vocabulary.
struct SmallModelTest : QuantizerTest {
  std::vector<int32_t> ids;
  SmallModelTest() {
    for (int32_t i = 0; i < 24; ++i)
      ids.push_back(3 + i * 7 % 40);
  }
  absl::StatusOr<std::vector<std::vector<float>>> logitsOfCpu(const std::string &model) {
    std::unique_ptr<Engine> engine = load(model, "float32");
    return engine ? logitsAfter(*engine, ids, leastPrompt, ids.size() + 1) : absl::InternalError("no engine");
  }
};

struct OddSizesTest : SmallModelTest {};

/// Rows and columns that no vector, block or unit of codes divides.
TEST_P(OddSizesTest, CpuComputesWhatTheEvaluatorDoes) {
  const std::string model = "test/fixtures/models/llama-odd-sizes";
  absl::StatusOr<std::vector<std::vector<float>>> found = logitsOfCpu(model);
  ASSERT_TRUE(found.ok()) << found.status();
  Matrix reference = evaluate(model, "float32", ids);
  EXPECT_LT(relativeError(reference, *found), 1e-5);
}

struct BlocksTest : SmallModelTest {
  /// Writes a checkpoint of one layer whose matrices are e4m3 in blocks of 128 x 128: rows of 2 and 3 groups.
  std::string write() {
    constexpr int64_t hidden = 256, intermediate = 384, vocabulary = 160, head = 64, block = 128;
    fs::path model = directory / "blocks";
    fs::create_directories(model);
    nlohmann::json config = nlohmann::json::parse(std::ifstream("test/fixtures/quantized/fp8-block/config.json"));
    config.update({{"hidden_size", hidden},
                   {"intermediate_size", intermediate},
                   {"num_hidden_layers", 1},
                   {"num_attention_heads", hidden / head},
                   {"num_key_value_heads", 2}});
    std::ofstream(model / "config.json") << config;
    nlohmann::json header;
    std::string data;
    std::minstd_rand random(7);
    auto number = [&] { return static_cast<float>(random()) / static_cast<float>(std::minstd_rand::max()); };
    auto add = [&](const std::string &name, const char *type, std::vector<int64_t> shape, auto make) {
      size_t begin = data.size();
      for (int64_t i = 0; i < std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies()); ++i) {
        auto value = make();
        data.append(reinterpret_cast<const char *>(&value), sizeof(value));
      }
      header[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
    };
    auto floats = [&](const std::string &name, std::vector<int64_t> shape) {
      add(name, "F32", std::move(shape), [&] { return number() - 0.5f; });
    };
    auto blocks = [&](const std::string &module, int64_t rows, int64_t columns) {
      const std::string name = "model.layers.0." + module + "_proj.weight";
      // Magnitudes of 0.25 to 0.94 of both signs, and scales that differ by a factor of 4 from block to block.
      add(name, "F8_E4M3", {rows, columns},
          [&] { return static_cast<uint8_t>(40 + random() % 15 + random() % 2 * 128); });
      add(name + "_scale_inv", "F32", {rows / block, columns / block},
          [&] { return (1 + 3 * number()) / std::sqrt(static_cast<float>(columns)); });
    };
    floats("model.embed_tokens.weight", {vocabulary, hidden});
    floats("lm_head.weight", {vocabulary, hidden});
    for (const char *norm : {"model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"})
      floats(std::string(norm) + ".weight", {hidden});
    blocks("self_attn.q", hidden, hidden);
    blocks("self_attn.k", 2 * head, hidden);
    blocks("self_attn.v", 2 * head, hidden);
    blocks("self_attn.o", hidden, hidden);
    blocks("mlp.gate", intermediate, hidden);
    blocks("mlp.up", intermediate, hidden);
    blocks("mlp.down", hidden, intermediate);
    const std::string text = header.dump();
    const uint64_t length = text.size();
    std::ofstream file(model / "model.safetensors", std::ios::binary);
    file.write(reinterpret_cast<const char *>(&length), sizeof(length)) << text << data;
    return model.string();
  }
};

/// Each 128 columns of a row have a scale. A code that a rounding moves to its neighbour changes logits by less than
/// the bound; floats in the place of codes, or a scale of other columns, by more.
TEST_P(BlocksTest, CpuComputesWhatTheEvaluatorDoes) {
  const std::string model = write();
  absl::StatusOr<std::vector<std::vector<float>>> found = logitsOfCpu(model);
  ASSERT_TRUE(found.ok()) << found.status();
  Matrix reference = evaluate(model, "float32", ids);
  EXPECT_LT(relativeError(reference, *found), 3e-3);
  Matrix floats = evaluate(model, "float32", ids, /*areFloats=*/true);
  EXPECT_GT(relativeError(floats, *found), 1e-2);
}

/// Rounding to bfloat16 moves about one key or value in twenty to the code beside the evaluator's, which costs a tenth
/// of what the cache costs. With activations in f32 codes are equal: kernels_test has fp8_cache among its steps.
constexpr double mostKlOfMovedCodes = 2e-3;

/// int4 refuses columns that are no multiple of 32.
INSTANTIATE_TEST_SUITE_P(Formats, OddSizesTest,
                         testing::Values(Format{"fp8", hf::Codes::kF8E4M3, true}, Format{"int8", hf::Codes::kI8, false},
                                         Format{"fp8", hf::Codes::kF8E4M3, false, /*ofTokens=*/true},
                                         Format{"int8", hf::Codes::kI8, false, /*ofTokens=*/true}),
                         [](const auto &info) { return info.param.test(); });
INSTANTIATE_TEST_SUITE_P(Formats, BlocksTest, testing::Values(Format{"blocks", std::nullopt, false, /*ofTokens=*/true}),
                         [](const auto &info) { return info.param.test(); });
const Format int8{"int8", hf::Codes::kI8, false}, int4{"int4", hf::Codes::kU4, true};
INSTANTIATE_TEST_SUITE_P(Formats, LinkedQuantizerTest, testing::Values(int8, int4),
                         [](const auto &info) { return info.param.test(); });
INSTANTIATE_TEST_SUITE_P(Formats, QuantizerTest,
                         testing::Values(Format{"fp8", hf::Codes::kF8E4M3, false}, int8, int4,
                                         Format{"fp8_cache", std::nullopt, false, /*ofTokens=*/false,
                                                mostKlOfMovedCodes, 0.995, hf::CacheType::kFp8},
                                         // A code of e4m3 that a rounding moves to its neighbour changes a number by up
                                         // to an eighth, which moves codes of the layers and tokens after it. So
                                         // distributions are equal up to such a code, and then as close as the
                                         // quantization is to floats.
                                         Format{"fp8", hf::Codes::kF8E4M3, false, /*ofTokens=*/true, 3e-3, 0.95},
                                         Format{"int8", hf::Codes::kI8, false, /*ofTokens=*/true}),
                         [](const auto &info) { return info.param.test(); });

TEST(DistributionComparison, IsThatOfTheDefinition) {
  DistributionComparison comparison;
  comparison.add(std::vector<float>{0, 0}, std::vector<float>{0, std::log(3.0f)}, 1); // 1/2, 1/2 and 1/4, 3/4
  EXPECT_NEAR(comparison.klSum, 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3), 1e-6);
  EXPECT_EQ(comparison.sameTop, 0);
  EXPECT_NEAR(comparison.referenceLogprobs, std::log(0.5), 1e-6);
  EXPECT_NEAR(comparison.otherLogprobs, std::log(0.75), 1e-6);
  comparison.add(std::vector<float>{3, 1}, std::vector<float>{4, 2}, 0);
  EXPECT_EQ(comparison.sameTop, 1);
  EXPECT_EQ(comparison.positions, 2);
  EXPECT_NEAR(comparison.klMost, comparison.klSum, 1e-6);
}

/// What is refused, by name.
TEST(Quantizer, Errors) {
  auto message = [](auto change) {
    CompileRequest request;
    request.modelDirectory = exampleModel;
    request.output = (fs::path(testing::TempDir()) / "never.inlay").string();
    request.targets = {"cpu"};
    request.quantization = "int4";
    change(request);
    std::string out;
    return std::string(compileModel(request, out).message());
  };
  EXPECT_EQ(message([](CompileRequest &request) { request.modelDirectory = "test/fixtures/quantized/awq"; }),
            "config.json: quantization_config: found weights that are quantized (awq), expected floats with "
            "--quantization int4; drop the option, or use the unquantized checkpoint");
  EXPECT_EQ(message([](CompileRequest &request) {
              request.quantization.clear();
              request.quantizationEval = exampleText;
            }),
            "--quantization-eval-file examples/stdlib_model/train.py: nothing is quantized; add --quantization, "
            "--quantize-lm-head or --kv-cache-dtype fp8");
  EXPECT_EQ(message([](CompileRequest &request) {
              request.weights = WeightsMode::Dummy;
              request.quantizationEval = exampleText;
            }),
            "--quantization-eval-file examples/stdlib_model/train.py: dummy weights say nothing about text; compile a "
            "checkpoint");
}

} // namespace
