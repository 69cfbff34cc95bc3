// Plans whose steps run in halves of their rows: what half of a launch can run, and in which order halves run.
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/halves.h"
#include "test/runtime/plan_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kTokens = 64;

// A product of [tokens][16] floats with a tensor map, and the sum of its rows over two ranks, in an entry of 64 tokens
// whose steps run in halves from 32 rows on. Tests change it to an invalid one.
struct HalvesOptions {
  uint32_t halves_rows = 32, half_multiple = 16;
  plan::Halves product = plan::Halves_Main, sum = plan::Halves_Side, sampling = plan::Halves_Whole;
  plan::View rows = {plan::Count(plan::Extent_Tokens, 1, 1), 64};
  plan::Count grid = {plan::Extent_Tokens, 16, 1};
  std::vector<plan::Count> half_grid = {{plan::Extent_One, 1, 1}}; // of the sum
  uint64_t map_rows = kTokens;
  bool pushes = false, has_epilogue = false, is_library = false;
  const char *target = "sm_90a";
};

std::string PlanError(const HalvesOptions &options) {
  flatbuffers::FlatBufferBuilder b;
  std::vector weights{plan::CreateWeight(b, b.CreateString("w"), plan::DataType_F32, 1024, 0,
                                         plan::CreateRecipe(b, CreateSources(b, {"a"}), 16, 16))};
  const plan::Count tokens(plan::Extent_Tokens, 1, 1), one(plan::Extent_One, 1, 1);
  std::vector<plan::View> product_views{options.rows, {tokens, 64}, {one, 1024}};
  std::vector<plan::View> sum_views{{tokens, 64}, {tokens, 64}};
  flatbuffers::Offset<plan::Kernel> product;
  if (options.is_library) {
    plan::Columns input(0, 32, 0, plan::DataType_BF16), output(1, 32, 0, plan::DataType_BF16),
        weight(2, 32, 0, plan::DataType_BF16);
    auto body = plan::CreateLibraryProductDirect(b, "cublaslt", plan::Extent_Tokens, 16, 32, &input, &weight, &output);
    product = plan::CreateKernelDirect(b, "product", &product_views, plan::KernelBody_LibraryProduct, body.Union());
  } else {
    auto body = plan::CreateCode(b, 0, 0, 0, /*dependent_launch=*/true, /*tensor_maps=*/1, options.pushes);
    product = plan::CreateKernelDirect(b, "product", &product_views, plan::KernelBody_Code, body.Union());
  }
  flatbuffers::Offset<plan::Code> code, epilogue;
  if (std::string_view(options.target) != "cpu")
    code = plan::CreateCode(b);
  if (options.has_epilogue)
    epilogue = plan::CreateCode(b);
  auto sum = plan::CreateCollective(b, plan::CollectiveOp_AllReduce, plan::Extent_Tokens, 16, plan::DataType_F32, 0, 0,
                                    code, code.IsNull() ? 0 : 512, epilogue);
  std::vector kernels{product,
                      plan::CreateKernelDirect(b, "sum", &sum_views, plan::KernelBody_Collective, sum.Union())};
  std::vector product_arguments{plan::CreateArgument(b, plan::BufferKind_Workspace, 0, 0),
                                plan::CreateArgument(b, plan::BufferKind_Workspace, 0, 4096),
                                plan::CreateArgument(b, plan::BufferKind_Weight)};
  std::vector sum_arguments{plan::CreateArgument(b, plan::BufferKind_Workspace, 0, 4096),
                            plan::CreateArgument(b, plan::BufferKind_Workspace, 0, 8192)};
  std::vector product_grid{options.grid}, sum_grid{one};
  std::vector<uint64_t> dims{32, options.map_rows}, strides{64};
  std::vector<uint32_t> box{32, 16};
  std::vector maps{plan::CreateTensorMapDirect(b, 0, plan::DataType_BF16, &dims, &strides, &box)};
  std::vector launches{
      plan::CreateLaunchDirect(b, 0, &product_arguments, &product_grid, options.is_library ? nullptr : &maps, nullptr,
                               options.product),
      plan::CreateLaunchDirect(b, 1, &sum_arguments, &sum_grid, nullptr, nullptr, options.sum, &options.half_grid)};
  std::vector sampling{plan::CreateLaunchDirect(b, 1, &sum_arguments, &sum_grid, nullptr, nullptr, options.sampling)};
  std::vector entries{plan::CreateEntryDirect(
      b, "mixed", plan::EntryKind_Mixed, kTokens, 4, 1, /*workspace_bytes=*/16384, nullptr, &launches, nullptr,
      &sampling, 0, nullptr, nullptr, nullptr, nullptr, options.halves_rows, options.half_multiple)};
  std::string bytes = FinishPlan(b, plan::CreateTargetDirect(b, options.target, &kernels, &weights, &entries),
                                 {.ranks = 2, .max_num_batched_tokens = kTokens});
  return std::string(VerifyPlan(*plan::GetPlan(bytes.data())).message());
}

TEST(HalvesPlanTest, ProductsAndSumsAreTaken) {
  EXPECT_EQ(PlanError({}), "");
  EXPECT_EQ(PlanError({.is_library = true}), "");
  EXPECT_EQ(PlanError({.product = plan::Halves_Whole, .sum = plan::Halves_Whole}), "");
  EXPECT_EQ(PlanError({.halves_rows = 0, .half_multiple = 0, .product = plan::Halves_Whole, .sum = plan::Halves_Whole}),
            "");
}

TEST(HalvesPlanTest, StepsHaveTwoHalves) {
  const char *expected = "expected a power of two from 16 on, and at least two of them in at most 64 rows";
  for (auto [rows, multiple] : {std::pair(31, 16), {32, 8}, {48, 24}, {65, 16}, {32, 0}})
    EXPECT_THAT(
        PlanError({.halves_rows = static_cast<uint32_t>(rows), .half_multiple = static_cast<uint32_t>(multiple)}),
        HasSubstr(expected));
  EXPECT_THAT(PlanError({.halves_rows = 0}),
              HasSubstr("a launch of 'product' runs in halves of a step, but entry 'mixed' has no steps in halves"));
}

TEST(HalvesPlanTest, TheCpuRunsWholeSteps) {
  EXPECT_THAT(PlanError({.is_library = false, .target = "cpu"}),
              HasSubstr("entry 'mixed' runs steps in halves, which the target cpu does not do"));
}

TEST(HalvesPlanTest, SumsAloneRunBesideOthers) {
  const char *expected = "expected a sum over ranks of rows of the step without an epilogue";
  EXPECT_THAT(PlanError({.product = plan::Halves_Side}),
              AllOf(HasSubstr("a launch of 'product' runs beside others"), HasSubstr(expected)));
  EXPECT_THAT(PlanError({.has_epilogue = true}),
              AllOf(HasSubstr("a launch of 'sum' runs beside others"), HasSubstr(expected)));
  EXPECT_THAT(
      PlanError({.sum = plan::Halves_Main}),
      HasSubstr("a launch of 'sum' exchanges rows in halves of a step, expected it to run beside others (Side)"));
}

TEST(HalvesPlanTest, RowsThatArePushedAreWhole) {
  // The next round of the exchange must be that of the sum, which has an epilogue.
  EXPECT_THAT(PlanError({.sum = plan::Halves_Whole, .pushes = true, .has_epilogue = true}),
              HasSubstr("a launch of 'product' exchanges rows in halves of a step"));
}

TEST(HalvesPlanTest, BlocksAreOfTokens) {
  EXPECT_THAT(PlanError({.grid = {plan::Extent_QueryTiles, 1, 1}}),
              HasSubstr("a launch of 'product' runs in halves of a step, but its grid has 1 * ceil(QueryTiles / 1) "
                        "blocks, expected a "
                        "number for its Tokens, or for One"));
  EXPECT_THAT(
      PlanError({.half_grid = {{plan::Extent_Sequences, 1, 1}}}),
      HasSubstr("a launch of 'sum' runs in halves of a step, but half_grid has 1 * ceil(Sequences / 1) blocks"));
  EXPECT_THAT(PlanError({.half_grid = {{plan::Extent_One, 0, 1}}}),
              HasSubstr("a launch of 'sum' runs in halves of a step, but half_grid has 1 * ceil(One / 0) blocks"));
  EXPECT_THAT(PlanError({.half_grid = std::vector(4, plan::Count(plan::Extent_One, 1, 1))}),
              HasSubstr("a launch of 'sum' has a grid of 4 dimensions in halves of a step, expected 1 to 3"));
}

TEST(HalvesPlanTest, ArgumentsHaveRowsOfTokens) {
  EXPECT_THAT(PlanError({.rows = {plan::Count(plan::Extent_Sequences, 1, 1), 64}}),
              HasSubstr("argument 0 of 'product', which runs in halves of a step, has rows for its Sequences, expected "
                        "its Tokens"));
  EXPECT_THAT(PlanError({.rows = {plan::Count(plan::Extent_Tokens, 32, 1), 64}}),
              HasSubstr("argument 0 of 'product' has 1 rows of 64 bytes for each 32 tokens, so that 16 of them do not "
                        "end at a multiple of 16 bytes"));
  EXPECT_THAT(PlanError({.rows = {plan::Count(plan::Extent_Tokens, 16, 1), 8}}),
              HasSubstr("so that 16 of them do not end at a multiple of 16 bytes"));
}

TEST(HalvesPlanTest, TensorMapsEndWithRowsOfTokens) {
  EXPECT_THAT(PlanError({.map_rows = kTokens - 1}),
              HasSubstr("the last dimension of a tensor map is not the 64 rows of 64 bytes of argument 0"));
}

TEST(HalvesPlanTest, SamplingIsWhole) {
  EXPECT_THAT(PlanError({.sampling = plan::Halves_Side}),
              HasSubstr("entry 'mixed' samples in halves of a step, expected launches of the model"));
}

TEST(HalvesPlanTest, OtherKindsAreOfALaterVersion) {
  EXPECT_THAT(PlanError({.product = static_cast<plan::Halves>(7)}),
              HasSubstr("a launch of 'product' has halves of the kind 7, which this runtime does not execute"));
}

TEST(HalvesPlanTest, TheFirstHalfIsAMultiple) {
  HalvesOfSteps halves{.least_rows = 1024, .multiple = 128};
  EXPECT_FALSE(halves.Has(1023));
  EXPECT_TRUE(halves.Has(1024));
  EXPECT_EQ(halves.FirstRows(1024), 512);
  EXPECT_EQ(halves.FirstRows(1025), 640);
  EXPECT_EQ(halves.FirstRows(2000), 1024);
  EXPECT_FALSE(HalvesOfSteps{}.Has(2048));
  // Both halves have rows.
  for (int32_t multiple : {16, 128})
    for (int32_t rows = 2 * multiple; rows < 6 * multiple; ++rows) {
      const int32_t first = HalvesOfSteps{2 * multiple, multiple}.FirstRows(rows);
      EXPECT_TRUE(first % multiple == 0 && first > 0 && first < rows) << first << " of " << rows;
    }
}

TEST(HalvesPlanTest, SumsRunBehindTheLaunchesOfTheirHalf) {
  using enum LaunchPart::Rows;
  const plan::Halves whole = plan::Halves_Whole, main = plan::Halves_Main, side = plan::Halves_Side;
  const std::vector launches{whole, main, side, main, main, side, main, whole};
  EXPECT_THAT(PartsInHalves(launches),
              ElementsAre(LaunchPart{0}, LaunchPart{1, kFirst}, LaunchPart{2, kFirst, true}, LaunchPart{1, kSecond},
                          LaunchPart{2, kSecond, true}, LaunchPart{3, kFirst}, LaunchPart{4, kFirst},
                          LaunchPart{5, kFirst, true}, LaunchPart{3, kSecond}, LaunchPart{4, kSecond},
                          LaunchPart{5, kSecond, true}, LaunchPart{6, kFirst}, LaunchPart{6, kSecond}, LaunchPart{7}));
  EXPECT_THAT(WholeParts(2), ElementsAre(LaunchPart{0}, LaunchPart{1}));
}

TEST(HalvesPlanTest, RowsBeforeAHalf) {
  EXPECT_EQ(BytesBefore({plan::Count(plan::Extent_Tokens, 1, 1), 64}, 128), 128u * 64);
  EXPECT_EQ(BytesBefore({plan::Count(plan::Extent_Tokens, 16, 2), 64}, 128), 8u * 2 * 64);
  EXPECT_EQ(BytesBefore({plan::Count(plan::Extent_One, 1, 1), 64}, 128), 0u);
  EXPECT_EQ(BytesBefore({plan::Count(plan::Extent_Sequences, 1, 1), 64}, 128), 0u);
}

} // namespace
} // namespace inlay
