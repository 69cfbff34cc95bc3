//===- CalibrationTest.cpp - compile-model --calibration-file --------------===//
//
// The scales that the cpu finds on a text are those of the evaluator in double precision, and cost about as much as
// scales of tokens.
//
//===----------------------------------------------------------------------===//

#include "compiler/pipelines/Calibration.h"
#include "compiler/pipelines/QuantizationEval.h"
#include "dialects/llm/Evaluator.h"
#include "formats/tokenizer/tokenizer.h"
#include "frontends/hf/Checkpoint.h"
#include "frontends/hf/import/Import.h"
#include "mlir/Pass/PassManager.h"
#include "passes/llm/Passes.h"
#include "runtime/support/files.h"
#include "test/compiler/EvaluatePrompt.h"
#include "test/dialects/llm/CheckpointTensors.h"
#include "gtest/gtest.h"

#include <cmath>
#include <filesystem>
#include <fstream>

using namespace inlay;
using namespace inlay::llm;
namespace fs = std::filesystem;

namespace {

const std::string calibratedModel = "examples/stdlib_model/model", calibrationText = "examples/stdlib_model/train.py";
constexpr int64_t matricesOfLayer = 7, inputsOfLayer = 4; // queries, keys and values share one, gate and up another

CompileRequest calibrationRequest() {
  CompileRequest request;
  request.modelDirectory = calibratedModel;
  request.output = (fs::path(testing::TempDir()) / "calibrated.inlay").string();
  request.targets = {"sm_90a"};
  request.dtype = "float32";
  request.quantization = "fp8";
  request.calibration = calibrationText;
  return request;
}

/// The model with fp8 weights, and what the evaluator computes of it.
struct EvaluatedModel {
  mlir::MLIRContext context;
  hf::Checkpoint checkpoint;
  mlir::OwningOpRef<mlir::ModuleOp> module;

  EvaluatedModel(hf::ActivationQuantization activations, const std::map<std::string, float> &scales) {
    hf::CheckpointOptions options;
    options.dtype = hf::DType::kFloat32;
    options.quantizer = {hf::Codes::kF8E4M3, false, scales};
    options.activations = activations;
    absl::StatusOr<hf::Checkpoint> opened = hf::OpenCheckpoint(calibratedModel, options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    checkpoint = *std::move(opened);
    module = hf::importHuggingFace(context, checkpoint.config);
    mlir::PassManager passes(&context);
    passes.addPass(createQuantizeActivationsPass());
    EXPECT_TRUE(succeeded(passes.run(*module)));
  }

  mlir::func::FuncOp step() { return *module->getOps<mlir::func::FuncOp>().begin(); }

  /// Makes the step return the scales of the rows that are multiplied by `weight` instead of its logits.
  void returnScalesOf(llvm::StringRef weight) {
    mlir::Operation *end = step().getBody().front().getTerminator();
    step().walk([&](LinearOp linear) {
      if (linear.getWeight() == weight)
        end->setOperand(0, linear.getScales());
    });
    mlir::FunctionType type = step().getFunctionType();
    step().setFunctionType(type.clone(type.getInputs(), end->getOperandTypes()));
  }

  Matrix evaluate(const std::vector<int32_t> &ids) {
    Evaluator evaluator([&](llvm::StringRef name) { return readTensor(checkpoint.weights, name); });
    return evaluatePrompt(evaluator, step(), ids);
  }
};

TEST(Calibration, ScalesAreTheLargestOfTheEvaluator) {
  absl::StatusOr<std::string> file = ReadFile(calibrationText);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string text = file->substr(0, 300);
  auto tokenizer = tokenizer::Tokenizer::Load(calibratedModel);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  absl::StatusOr<std::vector<int32_t>> ids = (*tokenizer)->Encode(text);
  ASSERT_TRUE(ids.ok()) << ids.status();

  CompileRequest request = calibrationRequest();
  request.explain = true;
  std::vector<std::string> lines;
  request.progress = [&](const std::string &line) { lines.push_back(line); };
  std::string out;
  absl::StatusOr<std::map<std::string, float>> scales = calibrate(request, text, out);
  ASSERT_TRUE(scales.ok()) << scales.status();

  EvaluatedModel dynamic(hf::ActivationQuantization::kDynamic, {});
  auto layers = static_cast<int64_t>(dynamic.checkpoint.config.layers.size());
  EXPECT_EQ(static_cast<int64_t>(scales->size()), matricesOfLayer * layers);
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), matricesOfLayer * layers) << out;
  ASSERT_FALSE(lines.empty());
  EXPECT_TRUE(lines.back().starts_with("calibrated " + std::to_string(inputsOfLayer * layers) + " inputs of " +
                                       std::to_string(matricesOfLayer * layers) + " matrices on " +
                                       std::to_string(ids->size()) + " tokens: scales of "))
      << lines.back();
  for (const auto &[name, scale] : *scales)
    EXPECT_TRUE(std::isfinite(scale) && scale > 0) << name << " " << scale;
  const std::string attention = "model.layers.1.self_attn.", mlp = "model.layers.1.mlp.";
  EXPECT_EQ(scales->at(attention + "q_proj.weight"), scales->at(attention + "k_proj.weight"));
  EXPECT_EQ(scales->at(attention + "q_proj.weight"), scales->at(attention + "v_proj.weight"));
  EXPECT_EQ(scales->at(mlp + "gate_proj.weight"), scales->at(mlp + "up_proj.weight"));

  // No code lies before this input, so that only float32 rounds. Behind codes, a rounding may change one.
  for (auto [weight, tolerance] : {std::pair("model.layers.0.self_attn.q_proj.weight", 1e-5),
                                   std::pair("model.layers.1.mlp.down_proj.weight", 0.05)}) {
    EvaluatedModel evaluated(hf::ActivationQuantization::kDynamic, {});
    evaluated.returnScalesOf(weight);
    Matrix rows = evaluated.evaluate(*ids);
    ASSERT_EQ(rows.rows, static_cast<int64_t>(ids->size()));
    ASSERT_EQ(rows.columns, 1);
    double most = *std::max_element(rows.values.begin(), rows.values.end());
    EXPECT_NEAR(scales->at(weight), most, tolerance * most) << weight;
  }

  // What static scales cost, beside those of tokens, on the same text.
  EvaluatedModel fixed(hf::ActivationQuantization::kAuto, *scales);
  EvaluatedModel floats(hf::ActivationQuantization::kNone, {});
  fixed.module->walk([&](QuantizeOp op) { EXPECT_TRUE(op.getScale()); });
  Matrix reference = floats.evaluate(*ids), ofTokens = dynamic.evaluate(*ids), ofAll = fixed.evaluate(*ids);
  double divergence[2];
  for (auto [sum, other] : {std::pair(&divergence[0], &ofTokens), std::pair(&divergence[1], &ofAll)}) {
    DistributionComparison comparison;
    for (int64_t i = 0; i + 1 < reference.rows; ++i) {
      auto a = reference.row(i), b = other->row(i);
      comparison.add(std::vector<float>(a.begin(), a.end()), std::vector<float>(b.begin(), b.end()),
                     (*ids)[static_cast<size_t>(i + 1)]);
    }
    *sum = comparison.klSum / static_cast<double>(comparison.positions);
  }
  EXPECT_GT(divergence[1], 0);
  EXPECT_LE(divergence[1], 2 * divergence[0]) << divergence[0];
}

/// What is refused, by name.
TEST(Calibration, Errors) {
  auto message = [](auto change) {
    CompileRequest request = calibrationRequest();
    change(request);
    std::string out;
    return std::string(compileModel(request, out).message());
  };
  const std::string prefix = "--calibration-file " + calibrationText + ": ";
  EXPECT_EQ(message([](CompileRequest &request) { request.quantization = "int8"; }),
            prefix + "--quantization is int8, expected fp8; static scales are for activations of fp8 weights: add "
                     "--quantization fp8");
  EXPECT_EQ(message([](CompileRequest &request) { request.quantization.clear(); }),
            prefix + "--quantization is missing, expected fp8; static scales are for activations of fp8 weights: add "
                     "--quantization fp8");
  for (const char *activations : {"none", "dynamic"})
    EXPECT_EQ(message([&](CompileRequest &request) { request.activations = activations; }),
              prefix + "--activation-quantization is " + activations +
                  ", which uses no static scales; drop one of the options");
  EXPECT_EQ(message([](CompileRequest &request) { request.weights = WeightsMode::Dummy; }),
            prefix + "dummy weights say nothing about text; compile a checkpoint");
  EXPECT_EQ(message([](CompileRequest &request) { request.modelDirectory = "test/fixtures/models/llama-gqa"; }),
            prefix + "test/fixtures/models/llama-gqa has no tokenizer.json; add the tokenizer of the model");
}

} // namespace
