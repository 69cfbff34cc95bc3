// What kernels may access of the buffers that a plan gives them.
#include "runtime/bundle/bundle.h"
#include "test/runtime/small_plan.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <utility>

namespace inlay {
namespace {

using ::testing::HasSubstr;

std::string PlanError(const SmallPlanOptions &options) {
  std::string bytes = SmallPlan(options);
  return std::string(VerifyPlan(*plan::GetPlan(bytes.data())).message());
}

plan::View Rows(plan::Extent extent, uint64_t row_bytes, uint32_t divisor = 1, uint32_t multiplier = 1) {
  return {plan::Count(extent, divisor, multiplier), row_bytes};
}

struct Behind {
  const char *name;
  plan::View fits, too_long;
  plan::BufferKind kind;
  uint64_t offset = 0;
  plan::Metadata metadata = plan::Metadata_TokenIds;
};

// For each kind of argument, the largest view that fits into its buffer, and one that is a little too long.
const Behind kBehind[] = {
    {"weight", Rows(plan::Extent_One, 48), Rows(plan::Extent_One, 49), plan::BufferKind_Weight},
    {"workspace", Rows(plan::Extent_Tokens, 64), Rows(plan::Extent_Tokens, 65), plan::BufferKind_Workspace},
    {"end of the workspace", Rows(plan::Extent_Tokens, 4), Rows(plan::Extent_Tokens, 5), plan::BufferKind_Workspace,
     240},
    {"rounded rows", Rows(plan::Extent_Tokens, 32, 8, 8), Rows(plan::Extent_Tokens, 33, 8, 8),
     plan::BufferKind_Workspace},
    {"keys", Rows(plan::Extent_KvRows, 32), Rows(plan::Extent_KvRows, 33), plan::BufferKind_KeyCache},
    {"values", Rows(plan::Extent_KvRows, 32), Rows(plan::Extent_KvRows, 32, 1, 2), plan::BufferKind_ValueCache},
    {"ids", Rows(plan::Extent_Tokens, 4), Rows(plan::Extent_Tokens, 8), plan::BufferKind_Metadata},
    {"page table", Rows(plan::Extent_Sequences, 4, 1, 4), Rows(plan::Extent_Sequences, 4, 1, 5),
     plan::BufferKind_Metadata, 0, plan::Metadata_PageTable},
    {"penalties", Rows(plan::Extent_PenaltyEntries, 4), Rows(plan::Extent_PenaltyEntries, 5), plan::BufferKind_Metadata,
     0, plan::Metadata_PenaltyCounts},
    {"logits", Rows(plan::Extent_LogitRows, 64), Rows(plan::Extent_LogitRows, 65), plan::BufferKind_Logits},
    {"tokens", Rows(plan::Extent_LogitRows, 4), Rows(plan::Extent_LogitRows, 5), plan::BufferKind_Tokens},
};

TEST(VerifyPlanTest, KernelsStayInTheBuffersThatTheyAreGiven) {
  for (const Behind &behind : kBehind) {
    SmallPlanOptions options{
        .view = behind.fits, .argument = behind.kind, .metadata = behind.metadata, .offset = behind.offset};
    EXPECT_EQ(PlanError(options), "") << behind.name;
    options.view = behind.too_long;
    EXPECT_THAT(PlanError(options), HasSubstr("plan.fb: argument 0 of 'k' has ")) << behind.name;
    EXPECT_THAT(PlanError(options), HasSubstr("; the bundle is damaged, compile it again")) << behind.name;
  }
}

TEST(VerifyPlanTest, ValuesAreAllElementsAndTheOnlyOnes) {
  EXPECT_EQ(PlanError({.values = std::vector<float>(12)}), "");
  EXPECT_THAT(PlanError({.values = std::vector<float>(12), .has_source_too = true}),
              HasSubstr("weight 'w' has values and sources"));
  EXPECT_THAT(PlanError({.values = std::vector<float>(11)}),
              HasSubstr("weight 'w' has 11 values for 4 x 3 elements F32, expected as many of F32 in plain rows"));
  for (auto [value, text] : {std::pair{std::nanf(""), "nan"}, {HUGE_VALF, "inf"}, {-HUGE_VALF, "-inf"}}) {
    std::vector<float> values(12);
    values[7] = value;
    EXPECT_THAT(PlanError({.values = values}),
                HasSubstr(std::string("weight 'w' has the value ") + text + " at 7, expected finite values"));
  }
}

TEST(VerifyPlanTest, SizesThatOverflowAreRefused) {
  EXPECT_THAT(PlanError({.view = Rows(plan::Extent_Tokens, uint64_t{1} << 48, 1, 1 << 24)}),
              HasSubstr("its kernel expects 67108864 rows of 281474976710656"));
  EXPECT_THAT(PlanError({.view = Rows(plan::Extent_Tokens, uint64_t{1} << 63)}),
              HasSubstr("rows of 9223372036854775808"));
  EXPECT_THAT(PlanError({.view = Rows(plan::Extent_Tokens, 4, 0)}),
              HasSubstr("kernel 'k' has an argument of 1 * ceil"));
}

TEST(VerifyPlanTest, CachesAreGivenToWhatExpectsThem) {
  EXPECT_THAT(PlanError({.view = Rows(plan::Extent_KvRows, 32), .argument = plan::BufferKind_Workspace}),
              HasSubstr("argument 0 of 'k' is no cache, but its kernel expects the opposite"));
  EXPECT_THAT(PlanError({.view = Rows(plan::Extent_Tokens, 32), .argument = plan::BufferKind_KeyCache}),
              HasSubstr("argument 0 of 'k' is a cache, but its kernel expects the opposite"));
}

TEST(VerifyPlanTest, LaunchesHaveAsManyArgumentsAsTheirKernels) {
  EXPECT_THAT(PlanError({.arguments = 0}), HasSubstr("a launch of 'k' has 0 arguments, but the kernel takes 1"));
  EXPECT_THAT(PlanError({.arguments = 2}), HasSubstr("a launch of 'k' has 2 arguments, but the kernel takes 1"));
}

TEST(VerifyPlanTest, EntriesTakeNoMoreThanTheModel) {
  EXPECT_THAT(PlanError({.max_tokens = 5}),
              HasSubstr("entry 'decode' takes 5 tokens of 5 sequences, but the model takes 4 of 4"));
}

TEST(VerifyPlanTest, GraphsHaveNoMoreRowsThanTheirEntries) {
  EXPECT_EQ(PlanError({.graph_buckets = {1, 4}}), "");
  EXPECT_THAT(PlanError({.graph_buckets = {1, 5}}), HasSubstr("entry 'decode' has a graph of 5 rows, expected 1 to 4"));
  EXPECT_THAT(PlanError({.graph_buckets = {0}}), HasSubstr("entry 'decode' has a graph of 0 rows, expected 1 to 4"));
}

TEST(VerifyPlanTest, TensorMapsEndWhereTheirArgumentsDo) {
  EXPECT_EQ(PlanError({.map_dims = {4, 3}}), "");
  EXPECT_THAT(PlanError({.map_dims = {4, 4}}),
              HasSubstr("a tensor map of 'k' reaches beyond the 48 bytes of its argument 0"));
  EXPECT_THAT(PlanError({.map_dims = {4, 0}}), HasSubstr("reaches beyond"));
  EXPECT_THAT(PlanError({.map_dims = {uint64_t{1} << 63, 3}}), HasSubstr("reaches beyond"));
  // The last dimension of a cache's tensor map is reduced to the size of the cache at load.
  SmallPlanOptions cache{.view = Rows(plan::Extent_KvRows, 32), .argument = plan::BufferKind_KeyCache};
  cache.map_dims = {4, uint64_t{1} << 31};
  EXPECT_EQ(PlanError(cache), "");
  cache.map_dims = {5, 2};
  EXPECT_THAT(PlanError(cache), HasSubstr("reaches beyond the 16 bytes"));
  cache.map_dims = {4};
  EXPECT_THAT(PlanError(cache), HasSubstr("a tensor map of no rows"));
}

} // namespace
} // namespace inlay
