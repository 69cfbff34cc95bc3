//===- SourceTest.cpp - rows of fused tensors, as the reference reads them -===//
//
// The same layouts as test/runtime/recipe_test.cpp, which holds the runtime to them.
//
//===----------------------------------------------------------------------===//

#include "dialects/llm/Evaluator.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace inlay::llm;

namespace {

struct SourceTest : testing::Test {
  SourceTest() { context.loadDialect<LlmDialect, mlir::func::FuncDialect>(); }

  /// The weight `@w` of three columns made from `source`, by a product with the identity: element (c, r) of the
  /// result is element (r, c) of the weight. Empty if it cannot be made.
  std::vector<double> read(const std::string &source, int64_t rows, const std::vector<double> &tensor) {
    std::string n = std::to_string(rows);
    auto module = mlir::parseSourceString<mlir::ModuleOp>(
        "llm.weight @w : tensor<" + n + "x3xf32> from [" + source +
            "]\nfunc.func @f(%x: tensor<?x3xf32>) -> tensor<?x" + n +
            "xf32> {\n  %y = llm.linear %x, @w : (tensor<?x3xf32>) -> tensor<?x" + n +
            "xf32>\n  return %y : tensor<?x" + n + "xf32>\n}",
        &context);
    EXPECT_TRUE(module);
    if (!module)
      return {};
    Matrix identity(3, 3);
    identity.values = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    Evaluator evaluator([&](llvm::StringRef) -> llvm::Expected<std::vector<double>> { return tensor; });
    auto results = evaluator.evaluate(*module->getOps<mlir::func::FuncOp>().begin(), {identity});
    return succeeded(results) ? std::get<Matrix>((*results)[0]).values : std::vector<double>();
  }

  mlir::MLIRContext context;
};

struct Layout {
  const char *name, *parameters;
  int64_t tensorRows;
  std::vector<int64_t> expected; // rows of the tensor
};

const std::vector<Layout> layouts = {
    {"k of concatenated q, k, v", "block = 10, offset = 4, count = 3", 10, {4, 5, 6}},
    {"k of [heads, 3, d]", "block = 6, offset = 2, count = 2", 12, {2, 3, 8, 9}},
    {"q of [kv, q/kv + 2, d]", "block = 8, offset = 0, count = 4", 16, {0, 1, 2, 3, 8, 9, 10, 11}},
    {"up of alternating gate, up", "block = 2, offset = 1, count = 1", 6, {1, 3, 5}},
    {"interleaved rope", "deinterleave = [4, 4]", 8, {0, 2, 1, 3, 4, 6, 5, 7}},
    {"interleaved rope of a part of a head", "deinterleave = [7, 4]", 7, {0, 2, 1, 3, 4, 5, 6}},
    {"interleaved rope of k in [heads, 3, d]",
     "block = 12, offset = 4, count = 4, deinterleave = [4, 4]",
     24,
     {4, 6, 5, 7, 16, 18, 17, 19}},
};

TEST_F(SourceTest, PartsOfFusedTensors) {
  for (const Layout &layout : layouts) {
    SCOPED_TRACE(layout.name);
    int64_t rows = layout.expected.size();
    std::vector<double> stored, turned, expected;
    for (int64_t row = 0; row < layout.tensorRows; ++row)
      for (int64_t column = 0; column < 3; ++column)
        stored.push_back(row * 10 + column);
    for (int64_t column = 0; column < 3; ++column) {
      for (int64_t row = 0; row < layout.tensorRows; ++row)
        turned.push_back(row * 10 + column);
      for (int64_t row : layout.expected)
        expected.push_back(row * 10 + column);
    }
    std::string parameters = layout.parameters;
    EXPECT_EQ(read("#llm.source<\"t\", " + parameters + ">", rows, stored), expected);
    EXPECT_EQ(read("#llm.source<\"t\", transposed, " + parameters + ">", rows, turned), expected);
  }
}

TEST_F(SourceTest, TensorsThatAreNotWholeBlocksAreNamed) {
  std::string message;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) { message = diagnostic.str(); });
  EXPECT_TRUE(read("#llm.source<\"t\", block = 4, offset = 0, count = 2>", 4, std::vector<double>(18)).empty());
  EXPECT_EQ(message, "'llm.weight' op has the source #llm.source<\"t\", block = 4, offset = 0, count = 2>, but the "
                     "tensor has 6 rows of 3");
}

} // namespace
