// Plans with matrix products that a library computes: the matrices must lie within the arguments of the launches.
#include "runtime/bundle/bundle.h"
#include "test/runtime/plan_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using ::testing::HasSubstr;

// Describes output[tokens][16] += input[tokens][8 .. 40) x weight[16][32] transposed. Tests change it to an invalid
// one.
struct ProductOptions {
  std::string target = "sm_90a";
  std::string library = "cublaslt";
  plan::Extent rows = plan::Extent_Tokens;
  uint32_t columns = 16, k = 32;
  plan::Columns input{0, 48, 8, plan::DataType_BF16};
  plan::Columns weight{1, 32, 0, plan::DataType_BF16};
  plan::Columns output{2, 16, 0, plan::DataType_BF16};
};

std::string PlanError(const ProductOptions &options) {
  flatbuffers::FlatBufferBuilder b;
  auto recipe = plan::CreateRecipe(b, CreateSources(b, {"a"}), 16, 32);
  std::vector weights{plan::CreateWeight(b, b.CreateString("w"), plan::DataType_BF16, 1024, 0, recipe)};
  plan::Count tokens(plan::Extent_Tokens, 1, 1);
  std::vector<plan::View> views{{tokens, 96}, {plan::Count(plan::Extent_One, 1, 1), 1024}, {tokens, 32}};
  auto product = plan::CreateLibraryProductDirect(b, options.library.c_str(), options.rows, options.columns, options.k,
                                                  &options.input, &options.weight, &options.output, &options.output);
  std::vector kernels{plan::CreateKernelDirect(b, "k", &views, plan::KernelBody_LibraryProduct, product.Union())};
  std::vector arguments{plan::CreateArgument(b, plan::BufferKind_Workspace),
                        plan::CreateArgument(b, plan::BufferKind_Weight),
                        plan::CreateArgument(b, plan::BufferKind_Workspace, 0, 512)};
  std::vector<plan::Count> grid{plan::Count(plan::Extent_One, 1, 1)};
  std::vector launches{plan::CreateLaunchDirect(b, 0, &arguments, &grid)};
  std::vector entries{plan::CreateEntryDirect(b, "mixed", plan::EntryKind_Mixed, 4, 4, 1, 1024, nullptr, &launches)};
  std::string bytes = FinishPlan(b, plan::CreateTargetDirect(b, options.target.c_str(), &kernels, &weights, &entries));
  return std::string(VerifyPlan(*plan::GetPlan(bytes.data())).message());
}

TEST(LibraryPlanTest, AProductThatLiesInItsArgumentsIsTaken) { EXPECT_EQ(PlanError({}), ""); }

TEST(LibraryPlanTest, OtherLibrariesAreRefused) {
  EXPECT_THAT(PlanError({.library = "cutlass"}),
              HasSubstr("'k' is a product of the library 'cutlass', which this runtime does not execute"));
}

TEST(LibraryPlanTest, TheCpuHasNone) {
  EXPECT_THAT(PlanError({.target = "cpu"}), HasSubstr("'k' uses a library, which the target cpu does not support"));
}

TEST(LibraryPlanTest, RowsAreThoseOfTheStep) {
  EXPECT_THAT(PlanError({.rows = plan::Extent_KvRows}), HasSubstr("'k' is a product with invalid sizes"));
  EXPECT_THAT(PlanError({.rows = plan::Extent_LogitRows}), HasSubstr("the input of 'k' is 32 columns from 8 on"));
}

TEST(LibraryPlanTest, ColumnsStayInTheirRows) {
  EXPECT_THAT(PlanError({.input = {0, 48, 17, plan::DataType_BF16}}),
              HasSubstr("the input of 'k' is 32 columns from 17 on of rows of 48"));
  EXPECT_THAT(PlanError({.output = {2, 17, 0, plan::DataType_BF16}}),
              HasSubstr("the output of 'k' is 16 columns from 0 on of rows of 17, its argument has other rows"));
  EXPECT_THAT(PlanError({.output = {2, 16, 0, plan::DataType_F32}}), HasSubstr("the output of 'k'"));
}

TEST(LibraryPlanTest, TheWeightIsWhole) {
  EXPECT_THAT(PlanError({.columns = 15}), HasSubstr("the weight of 'k'"));
  EXPECT_THAT(PlanError({.k = 33}), HasSubstr("the weight of 'k' is 33 columns from 0 on of rows of 32"));
}

TEST(LibraryPlanTest, ArgumentsExist) {
  EXPECT_THAT(PlanError({.weight = {3, 32, 0, plan::DataType_BF16}}),
              HasSubstr("the weight of 'k' is not an argument of floats"));
}

TEST(LibraryPlanTest, BothFactorsHaveTheSameType) {
  EXPECT_THAT(PlanError({.weight = {1, 32, 0, plan::DataType_F16}}),
              HasSubstr("'k' is a product of types that cublaslt does not multiply"));
}

} // namespace
} // namespace inlay
