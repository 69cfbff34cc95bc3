//===- StepsTest.cpp - whole steps on the cpu target -----------------------===//
//
// Each file of test/codegen/steps by the reference evaluator and by kernels that fuse
// ops, a step of two prompts and one of decoding; and by kernels of one op each.
//
//===----------------------------------------------------------------------===//

#include "test/codegen/cpu/StepRunner.h"

#include <cmath>

namespace {
using namespace inlay;
using namespace inlay::testing;

/// Sums of up to 300 products in f32, a few ops one after the other.
constexpr double kTolerance = 5e-6;

double relativeError(const std::vector<float> &found, const std::vector<double> &expected) {
  EXPECT_EQ(found.size(), expected.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (found[i] - expected[i]) * (found[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

class Steps : public ::testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    mlir::DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    module = mlir::parseSourceFile<mlir::ModuleOp>("test/codegen/steps/" + std::string(GetParam()) + ".mlir", &context);
    ASSERT_TRUE(module);
    for (auto weight : module->getOps<llm::WeightOp>()) {
      mlir::RankedTensorType type = weight.getTensorType();
      // Products keep the size of their input.
      float scale = type.getRank() == 1 ? 0.5f : 1 / std::sqrt(static_cast<float>(type.getDimSize(1)));
      std::vector<float> &values = tensors[weight.getSymName().str()] = random.f32(type.getNumElements(), scale);
      if (weight.getSymName().ends_with("_scale"))
        for (float &value : values)
          value = std::abs(value) + 0.01f;
    }
  }

  std::vector<float> read(llvm::StringRef name) { return tensors.at(name.str()); }

  /// Logits of the step of prompts and of the one after it.
  std::vector<float> runFused() {
    auto reader = [&](llvm::StringRef name) { return read(name); };
    StepRunner mixed(*module, reader, /*separateAll=*/false, "mixed"), decode(*module, reader, false, "decode");
    PagedCache cache;
    std::vector<float> logits = mixed.run(promptTokens, prompts, cache);
    llvm::append_range(logits, decode.run(nextTokens, next, cache));
    return logits;
  }

  /// Both as steps of the kind "mixed", by kernels of one op each.
  std::vector<float> runSeparate() {
    StepRunner mixed(*module, [&](llvm::StringRef name) { return read(name); }, /*separateAll=*/true, "mixed");
    for (llvm::StringRef origin : mixed.origins())
      EXPECT_FALSE(origin.split(": ").second.contains(' ')) << origin.str() << ": expected one op";
    PagedCache cache;
    std::vector<float> logits = mixed.run(promptTokens, prompts, cache);
    llvm::append_range(logits, mixed.run(nextTokens, next, cache));
    return logits;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  Random random{7};
  std::map<std::string, std::vector<float>> tensors;
  // Sequence 2 has six tokens, sequence 0 two; then one more each.
  llm::TokenIds promptTokens = {3, 1, 4, 1, 5, 9, 2, 49}, nextTokens = {7, 33};
  llm::Batch prompts = {{2, 2, 2, 2, 2, 2, 0, 0}, {0, 1, 2, 3, 4, 5, 0, 1}, {5, 7}, {}};
  llm::Batch next = {{0, 2}, {2, 6}, {0, 1}, {}};
};

TEST_P(Steps, ComputeWhatTheEvaluatorComputes) {
  llm::Evaluator evaluator([&](llvm::StringRef name) -> llvm::Expected<std::vector<double>> {
    std::vector<float> values = read(name);
    return std::vector<double>(values.begin(), values.end());
  });
  auto function = *module->getOps<mlir::func::FuncOp>().begin();
  auto first = evaluator.evaluate(function, {promptTokens, prompts, llm::KvCache()});
  ASSERT_TRUE(succeeded(first));
  auto second = evaluator.evaluate(function, {nextTokens, next, first->at(2)});
  ASSERT_TRUE(succeeded(second));
  std::vector<double> expected = std::get<llm::Matrix>(first->at(0)).values;
  llvm::append_range(expected, std::get<llm::Matrix>(second->at(0)).values);

  EXPECT_LE(relativeError(runFused(), expected), kTolerance);
  EXPECT_LE(relativeError(runSeparate(), expected), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Files, Steps, ::testing::Values("fp8_cache", "learned_positions", "parallel", "sandwich"),
                         [](const auto &info) { return std::string(info.param); });

} // namespace
