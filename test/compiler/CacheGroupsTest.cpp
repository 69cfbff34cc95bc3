//===- CacheGroupsTest.cpp - how layers are divided into cache groups ------===//

#include "compiler/pipelines/CacheGroups.h"

#include "dialects/llm/Llm.h"
#include "fmt/format.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

using namespace inlay;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

/// A layer of 4 query heads. `cache` is the layer whose keys and values it reads; it appends to its own only.
struct Layer {
  int64_t window = 0, kvHeads = 2, headDim = 16;
  std::optional<int64_t> cache = {};
};

class CacheGroupsTest : public testing::Test {
protected:
  CacheGroupsTest() { context.loadDialect<llm::LlmDialect, mlir::func::FuncDialect>(); }

  std::vector<CacheGroup> choose(const std::vector<Layer> &layers, const StepLimits &limits) {
    std::string body, arguments;
    for (auto [i, layer] : llvm::enumerate(layers)) {
      std::string keys = fmt::format("tensor<?x{}xbf16>", layer.kvHeads * layer.headDim),
                  queries = fmt::format("tensor<?x{}xbf16>", 4 * layer.headDim);
      arguments += fmt::format(", %k{0}: {1}, %q{0}: {2}", i, keys, queries);
      if (!layer.cache)
        body += fmt::format("%c{0} = llm.kv_append %cache, %k{0}, %k{0}, %batch {{layer = {0} : i64, head_dim = {1} : "
                            "i64}} : (!llm.kv_cache, {2}, {2}, !llm.batch) -> !llm.kv_cache\n",
                            i, layer.headDim, keys);
      body += fmt::format("%a{0} = llm.paged_attention %q{0}, %cache, %batch {{layer = {1} : i64, heads = 4 : i64, "
                          "kv_heads = {2} : i64, head_dim = {3} : i64, scale = 0.25 : f64{4}}} : ({5}, !llm.kv_cache, "
                          "!llm.batch) -> {5}\n",
                          i, layer.cache.value_or(static_cast<int64_t>(i)), layer.kvHeads, layer.headDim,
                          layer.window ? fmt::format(", window = {} : i64", layer.window) : "", queries);
    }
    auto module = mlir::parseSourceString<mlir::ModuleOp>(
        fmt::format("func.func @step(%cache: !llm.kv_cache, %batch: !llm.batch{}) {{\n{}return\n}}", arguments, body),
        &context);
    EXPECT_TRUE(module) << body;
    if (!module)
      return {};
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
      messages += diagnostic.str() + "\n";
      return mlir::success();
    });
    auto groups = chooseCacheGroups(*module, limits);
    return succeeded(groups) ? *groups : std::vector<CacheGroup>();
  }

  mlir::MLIRContext context;
  std::string messages;
};

const StepLimits kLimits{.maxModelLen = 1024, .pageSize = 16};

TEST_F(CacheGroupsTest, LayersWithoutWindowsAreOneGroup) {
  std::vector<CacheGroup> groups = choose({{}, {}, {}}, kLimits);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_THAT(groups[0].layers, ElementsAre(0, 1, 2));
  EXPECT_EQ(groups[0].window, 0);
  EXPECT_EQ(groups[0].kvHeads, 2);
  EXPECT_EQ(groups[0].headDim, 16);
  EXPECT_EQ(messages, "");
}

TEST_F(CacheGroupsTest, GroupsHaveEquallyManyLayers) {
  std::vector<CacheGroup> groups = choose({{64}, {64}, {64}, {64}, {}, {}, {64}}, kLimits);
  ASSERT_EQ(groups.size(), 4u);
  EXPECT_THAT(groups[0].layers, ElementsAre(4, 5));
  EXPECT_EQ(groups[0].window, 0);
  EXPECT_THAT(groups[1].layers, ElementsAre(0, 1));
  EXPECT_THAT(groups[2].layers, ElementsAre(2, 3));
  EXPECT_THAT(groups[3].layers, ElementsAre(6));
  EXPECT_EQ(groups[3].window, 64);
  // 2 layers of 64 pages and 3 times 2 of 5, of 7 layers of 64.
  EXPECT_THAT(messages, HasSubstr("cache groups: 4 of up to 2 layers; a sequence of 1024 positions takes 0.35 times"));
}

// Gemma 3 1B: every sixth of 26 layers has no window.
TEST_F(CacheGroupsTest, ThereAreFewGroups) {
  std::vector<Layer> layers(26, Layer{512});
  for (size_t i = 5; i < layers.size(); i += 6)
    layers[i].window = 0;
  std::vector<CacheGroup> groups = choose(layers, {.maxModelLen = 8192, .pageSize = 16});
  ASSERT_EQ(groups.size(), 7u);
  EXPECT_THAT(groups[0].layers, ElementsAre(5, 11, 17, 23));
  EXPECT_EQ(groups[6].layers.size(), 2u);
}

TEST_F(CacheGroupsTest, WindowsThatFreeLittleAreIgnored) {
  // A group of 2 layers and one of 1 take more than one of 3 if the window is almost the whole sequence.
  std::vector<CacheGroup> groups = choose({{1000}, {1000}, {}}, kLimits);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].window, 0);
  EXPECT_THAT(messages, HasSubstr("so pages outside windows are not freed"));
}

TEST_F(CacheGroupsTest, OtherHeadsAndCachesOfOtherLayers) {
  // Layer 1 has other heads of as many bytes. Layers 2 and 3 read the cache of layer 0, the larger window decides.
  std::vector<CacheGroup> groups = choose({{32}, {0, 1, 32}, {64, 2, 16, 0}, {40, 2, 16, 0}}, kLimits);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_THAT(groups[0].layers, ElementsAre(1));
  EXPECT_EQ(groups[0].headDim, 32);
  EXPECT_THAT(groups[1].layers, ElementsAre(0));
  EXPECT_EQ(groups[1].window, 64);
  // A layer without a window reads it.
  groups = choose({{32}, {0, 2, 16, 0}}, kLimits);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].window, 0);
}

TEST_F(CacheGroupsTest, LayersThatCannotSharePagesAreRefused) {
  EXPECT_TRUE(choose({{}, {0, 2, 32}}, kLimits).empty());
  EXPECT_THAT(messages, HasSubstr("has 2 kv heads of 32 ('bf16'), but layer 0 has 2 of 16 ('bf16'); expected as many "
                                  "bytes of keys for a position in all layers"));
  EXPECT_TRUE(choose({{}, {0, 2, 16, 5}}, kLimits).empty());
  EXPECT_THAT(messages, HasSubstr("reads the cache of layer 5, to which no llm.kv_append writes"));
}

} // namespace
