// What format 4 can say: forms that this runtime does not execute are refused by name, contradictions as damage.
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/plan_facts.h"

#include "test/runtime/plan_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>

namespace inlay {
namespace {

using ::testing::HasSubstr;

constexpr const char *kUpdate = "which this runtime does not execute; update the runtime";

// A weight of a plan; `scales` of it are in other weights.
struct TestWeight {
  uint64_t rows = 4, columns = 8;
  plan::DataType type = plan::DataType_F32;
  plan::RowOrder row_order = plan::RowOrder_Plain;
  plan::Packing packing = plan::Packing_RowMajor;
  std::vector<TestSource> sources = {"a"};
  std::vector<plan::Scale> scales = {};
  std::vector<double> inv_freq = {}; // of a rope table
  uint32_t short_rows = 0, temperature_length = 1;
};

struct TestPlan {
  TestModel model = {};
  std::vector<TestWeight> weights = {{}};
  plan::KernelBody body = plan::KernelBody_Code;
  bool has_body = true;
  uint32_t page_table_group = 0;            // of the kernel's argument
  std::optional<uint32_t> cache_layer = {}; // whose keys are another argument
  std::string target = "cpu";
  std::vector<std::string> cpu_features = {};
};

std::string Build(const TestPlan &options) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<plan::Weight>> weights;
  uint64_t offset = 0;
  for (const TestWeight &weight : options.weights) {
    auto recipe = plan::CreateRecipe(b, CreateSources(b, weight.sources), weight.rows, weight.columns, weight.row_order,
                                     /*head_dim=*/0, weight.packing, b.CreateVector(weight.inv_freq),
                                     /*attention_factor=*/1, weight.short_rows, /*temperature_beta=*/0,
                                     weight.temperature_length);
    auto quantization = weight.scales.empty() ? 0 : plan::CreateQuantizationDirect(b, &weight.scales);
    uint64_t bytes = weight.rows * weight.columns * ElementBits(weight.type) / 8;
    weights.push_back(plan::CreateWeight(b, b.CreateString("w"), weight.type, bytes, offset, recipe, /*pack=*/0,
                                         plan::DataType_F32, quantization));
    offset = (offset + bytes + 255) / 256 * 256;
  }
  std::vector<plan::View> views{{plan::Count(plan::Extent_Sequences, 1, 4), 4}};
  if (options.cache_layer)
    views.emplace_back(plan::Count(plan::Extent_KvRows, 1, 1), 32);
  flatbuffers::Offset<void> body;
  if (options.has_body)
    body = options.body == plan::KernelBody_Plugin ? plan::CreatePluginDirect(b, "mine").Union()
                                                   : plan::CreateCode(b).Union();
  std::vector kernels{plan::CreateKernelDirect(b, "k", &views, options.body, body)};
  std::vector arguments{plan::CreateArgument(b, plan::BufferKind_Metadata, options.page_table_group, /*offset=*/0,
                                             plan::Metadata_PageTable)};
  if (options.cache_layer)
    arguments.push_back(plan::CreateArgument(b, plan::BufferKind_KeyCache, *options.cache_layer));
  std::vector<plan::Count> grid{plan::Count(plan::Extent_One, 1, 1)};
  std::vector launches{plan::CreateLaunchDirect(b, 0, &arguments, &grid)};
  std::vector entries{plan::CreateEntryDirect(b, "decode", plan::EntryKind_Decode, 4, 4, 1, 256, nullptr, &launches)};
  std::vector<flatbuffers::Offset<flatbuffers::String>> features;
  for (const std::string &feature : options.cpu_features)
    features.push_back(b.CreateString(feature));
  return FinishPlan(b, plan::CreateTargetDirect(b, options.target.c_str(), &kernels, &weights, &entries, &features),
                    options.model);
}

absl::Status Verify(const TestPlan &options) {
  std::string bytes = Build(options);
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
  EXPECT_TRUE(plan::VerifyPlanBuffer(verifier));
  return VerifyPlan(*plan::GetPlan(bytes.data()));
}

// The message of a plan that a later runtime may execute.
std::string Unsupported(const TestPlan &plan) {
  absl::Status status = Verify(plan);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(kUpdate));
  return std::string(status.message());
}

// The message of a plan that no compiler wrote.
std::string Damaged(const TestPlan &plan) {
  absl::Status status = Verify(plan);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  return std::string(status.message());
}

TEST(PlanForms, ASmallPlanIsTaken) {
  absl::Status status = Verify({});
  EXPECT_TRUE(status.ok()) << status;
}

TEST(PlanForms, StorageOfWeights) {
  EXPECT_THAT(Unsupported({.weights = {{.type = plan::DataType_F8E5M2}}}), HasSubstr("weight 'w' has elements F8E5M2"));
  EXPECT_THAT(Unsupported({.weights = {{.type = plan::DataType_I32}}}), HasSubstr("weight 'w' has elements I32"));
  EXPECT_THAT(Damaged({.weights = {{.type = plan::DataType_U4}}}),
              HasSubstr("weight 'w' has U4 elements and no scales"));
  EXPECT_THAT(Damaged({.weights = {{.columns = 7, .type = plan::DataType_U4}}}),
              HasSubstr("weight 'w' has rows of 7 elements, which are no whole bytes"));
  EXPECT_THAT(Unsupported({.weights = {{.type = static_cast<plan::DataType>(77)}}}),
              HasSubstr("weight 'w' has elements 77"));
  EXPECT_THAT(Unsupported({.weights = {{.row_order = static_cast<plan::RowOrder>(9)}}}),
              HasSubstr("weight 'w' has rows in the order 9"));
  EXPECT_THAT(Unsupported({.weights = {{.packing = static_cast<plan::Packing>(-1)}}}),
              HasSubstr("weight 'w' has the packing -1"));
}

// Integers are orders of columns: one row.
TEST(PlanForms, OrdersOfColumns) {
  const TestSource order{"g", {{plan::RecipeOp_Reshape}, {.op = plan::RecipeOp_ColumnOrder, .block = 4}}};
  absl::Status status = Verify({.weights = {{.rows = 1, .type = plan::DataType_I32, .sources = {order}}}});
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(Unsupported({.weights = {{.rows = 2, .type = plan::DataType_I32, .sources = {order}}}}),
              HasSubstr("weight 'w' has elements I32"));
}

TEST(PlanForms, StepsOfRecipes) {
  EXPECT_THAT(Unsupported({.weights = {{.sources = {{"a", {{static_cast<plan::RecipeOp>(99)}}}}}}}),
              HasSubstr("the recipe of weight 'w' has step 99 of source 'a'"));
  EXPECT_THAT(Damaged({.weights = {{.sources = {{"a", {{plan::RecipeOp_Slice, 4, 3, 2}}}}}}}),
              HasSubstr("takes 2 rows from 3 on of each 4"));
}

TEST(PlanForms, ScalesOfQuantisedWeights) {
  auto scaled = [](plan::Scale scale, plan::DataType type = plan::DataType_U4) {
    return TestPlan{.weights = {{.type = type, .scales = {scale}}, {.rows = 2, .columns = 1}}};
  };
  // A scale for each 2 rows of 8.
  absl::Status status = Verify(scaled({1, 2, 8}));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(Damaged(scaled({1, 2, 8}, plan::DataType_F32)),
              HasSubstr("weight 'w' is quantised and has F32 elements"));
  EXPECT_THAT(Damaged(scaled({1, 2, 4})), HasSubstr("has 2 x 1 scales of each 2 x 4 elements, expected 2 x 2"));
  EXPECT_THAT(Damaged(scaled({0, 2, 8})), HasSubstr("has scales of each 2 x 8 elements in weight 0"));
  EXPECT_THAT(Damaged(scaled({2, 2, 8})), HasSubstr("in weight 2"));
  EXPECT_THAT(Damaged(scaled({1, 0, 8})), HasSubstr("has scales of each 0 x 8 elements"));
}

TEST(PlanForms, RopeTablesOfTwoParts) {
  auto table = [](uint64_t rows, uint32_t short_rows, uint32_t short_rope_len) {
    TestWeight weight = {.rows = rows, .columns = 2, .sources = {}, .inv_freq = {1, 0.5}, .short_rows = short_rows};
    return TestPlan{.model = {.short_rope_len = short_rope_len}, .weights = {weight}};
  };
  absl::Status status = Verify(table(80, 16, 16));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(Damaged(table(80, 16, 8)), HasSubstr("has 16 rows for short and 64 for long sequences, expected 8"));
  EXPECT_THAT(Damaged(table(79, 16, 16)), HasSubstr("has 16 rows for short and 63 for long sequences, expected 16 and "
                                                    "at least 64"));
  EXPECT_THAT(Damaged(table(16, 16, 16)), HasSubstr("rope table 'w' has 2 columns for 2 frequencies"));
  EXPECT_THAT(Damaged({.model = {.short_rope_len = 65}}), HasSubstr("has a model with invalid sizes"));
  TestWeight weight = {.rows = 64, .columns = 2, .sources = {}, .inv_freq = {1}, .temperature_length = 0};
  EXPECT_THAT(Damaged({.weights = {weight}}), HasSubstr("rope table 'w' has the temperature 0 for each 0 positions"));
}

TEST(PlanForms, KindsOfKernels) {
  EXPECT_THAT(Unsupported({.body = plan::KernelBody_Plugin}), HasSubstr("kernel 'k' is a Plugin"));
  EXPECT_THAT(Unsupported({.body = static_cast<plan::KernelBody>(9)}), HasSubstr("kernel 'k' is a 9"));
  EXPECT_THAT(Damaged({.has_body = false}), HasSubstr("kernel 'k' has no body"));
}

TEST(PlanForms, CacheGroups) {
  auto groups = [](uint32_t layers, std::vector<TestCacheGroup> list) {
    return TestPlan{.model = {.layers = layers, .cache_groups = std::move(list)}};
  };
  EXPECT_THAT(Unsupported(groups(1, {{.type = plan::DataType_F8E5M2}})),
              HasSubstr("cache group 0 stores keys and values as F8E5M2"));
  EXPECT_TRUE(Verify(groups(1, {{.type = plan::DataType_F8E4M3}})).ok());
  EXPECT_THAT(Unsupported(groups(2, {{.layers = {0}}, {.layers = {1}, .page_size = 32}})),
              HasSubstr("cache group 1 has pages of 32 positions and 1024 bytes per layer, but group 0 of 16 positions "
                        "and 512 bytes"));
  EXPECT_THAT(Unsupported(groups(2, {{.layers = {0}}, {.layers = {1}, .head_dim = 16}})),
              HasSubstr("cache group 1 has pages of 16 positions and 1024 bytes per layer"));
  // A window, another head size with as many bytes, and a layer that reads the cache of another one.
  EXPECT_TRUE(
      Verify(groups(4, {{.layers = {0, 2}, .kv_heads = 2}, {.layers = {3}, .head_dim = 16, .window = 4}})).ok());
  EXPECT_THAT(Damaged(groups(1, {})), HasSubstr("has 0 cache groups, expected 1 to 64"));
  EXPECT_THAT(Damaged(groups(1, {{.head_dim = 0}})), HasSubstr("cache group 0 has invalid sizes"));
  EXPECT_THAT(Damaged(groups(2, {{.layers = {0, 1}}, {.layers = {1}}})),
              HasSubstr("cache group 1 lists layer 1 of 2 twice, out of order or out of range"));
  EXPECT_THAT(Damaged(groups(2, {{}, {.layers = {}}})), HasSubstr("cache group 1 has invalid sizes: 0 layers"));
  EXPECT_THAT(Damaged(groups(1, {{.window = 1u << 29}})), HasSubstr("a window of 536870912"));
  for (const std::vector<uint32_t> &layers : {std::vector<uint32_t>{2}, {1, 0}, {0, 0}})
    EXPECT_THAT(Damaged(groups(2, {{.layers = layers}})), HasSubstr("twice, out of order or out of range"));
  EXPECT_THAT(Damaged({.page_table_group = 1}), HasSubstr("reads PageTable of cache group 1 of 1"));
}

TEST(PlanForms, PageTablesAreThoseOfTheLaunchsCaches) {
  auto launch = [](uint32_t layer, uint32_t page_table_group) {
    return TestPlan{.model = {.layers = 3, .cache_groups = {{.layers = {0}}, {.layers = {1}, .window = 4}}},
                    .page_table_group = page_table_group,
                    .cache_layer = layer};
  };
  EXPECT_TRUE(Verify(launch(0, 0)).ok()) << Verify(launch(0, 0));
  EXPECT_TRUE(Verify(launch(1, 1)).ok());
  EXPECT_THAT(Damaged(launch(1, 0)),
              HasSubstr("reads the cache of layer 1 through the page table of cache group 0, expected group 1"));
  EXPECT_THAT(Damaged(launch(2, 0)), HasSubstr("reads the cache of layer 2 of 3"));
  EXPECT_THAT(Damaged(launch(0, 2)), HasSubstr("reads PageTable of cache group 2 of 2"));
}

TEST(PlanForms, FactsNameTheCacheGroups) {
  std::string bytes = Build({.model = {.layers = 2, .cache_groups = {{}, {.layers = {1}, .window = 4}}}});
  EXPECT_THAT(PlanFacts(*plan::GetPlan(bytes.data())), HasSubstr(R"("window":4)"));
}

TEST(PlanForms, SizesOfAStepHaveNames) {
  std::vector<std::string> names{std::begin(kStepSizeNames), std::end(kStepSizeNames)}, more = names;
  names.pop_back(); // of a compiler that knew fewer
  EXPECT_TRUE(Verify({.model = {.step_sizes = names}}).ok());
  more.emplace_back("experts");
  EXPECT_THAT(Unsupported({.model = {.step_sizes = more}}), HasSubstr("gives kernels 'experts' as size 6 of a step"));
  EXPECT_THAT(Unsupported({.model = {.step_sizes = {"sequences"}}}),
              HasSubstr("gives kernels 'sequences' as size 0 of a step"));
  EXPECT_THAT(Damaged({.model = {.step_sizes = {}}}), HasSubstr("names no sizes of a step"));
}

TEST(PlanForms, NamesOfTargetsAreNamesOfFiles) {
  EXPECT_THAT(Damaged({.target = "../cpu"}),
              HasSubstr("the name of a target has the byte 0x2e, expected letters, digits and '_'"));
}

// They are JSON, which has no other bytes.
TEST(PlanForms, FactsOfAPlanAreUtf8) {
  std::string bytes = Build({.cpu_features = {"avx\xff"}});
  EXPECT_THAT(PlanFacts(*plan::GetPlan(bytes.data())), HasSubstr("avx\xef\xbf\xbd"));
}

TEST(PlanForms, Ranks) {
  EXPECT_TRUE(Verify({.model = {.ranks = 2}}).ok());
  EXPECT_THAT(Damaged({.model = {.ranks = 0}}), HasSubstr("is for 0 ranks, expected 1 to 64"));
  EXPECT_THAT(Damaged({.model = {.ranks = 65}}), HasSubstr("is for 65 ranks, expected 1 to 64"));
  TestStep shard{.op = plan::RecipeOp_Shard, .parts = 2};
  EXPECT_TRUE(Verify({.model = {.ranks = 4}, .weights = {{.sources = {{"a", {shard}}}}}}).ok());
  EXPECT_THAT(Damaged({.model = {.ranks = 3}, .weights = {{.sources = {{"a", {shard}}}}}}),
              HasSubstr("source 'a' of weight 'w' has 2 parts, expected a divisor of the 3 ranks"));
}

} // namespace
} // namespace inlay
