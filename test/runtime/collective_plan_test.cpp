// Plans with collective operations: what ranks exchange must lie in the arguments of the launches.
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/collective.h"
#include "test/runtime/plan_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using ::testing::HasSubstr;

// The sum of [tokens][16] floats on two ranks, in place. Tests change it to an invalid one.
struct CollectiveOptions {
  uint32_t ranks = 2;
  plan::CollectiveOp op = plan::CollectiveOp_AllReduce;
  plan::Extent rows = plan::Extent_Tokens;
  uint32_t columns = 16, result_columns = 0;
  plan::DataType type = plan::DataType_F32;
  std::vector<plan::View> views = {{plan::Count(plan::Extent_Tokens, 1, 1), 64},
                                   {plan::Count(plan::Extent_Tokens, 1, 1), 64}};
  plan::BufferKind from = plan::BufferKind_Workspace, to = plan::BufferKind_Workspace;
  uint64_t to_offset = 0;
  bool has_code = false, has_epilogue = false;
  uint64_t exchange_bytes = 0;
  uint32_t tensor_maps = 0;
  const char *target = "cpu";
};

// The sum as a kernel for a GPU.
CollectiveOptions Compiled() { return {.has_code = true, .exchange_bytes = 512, .target = "sm_90a"}; }

// The sum with an epilogue, which adds it to rows of bfloat16 and scales columns by a weight.
CollectiveOptions Fused() {
  CollectiveOptions options = Compiled();
  options.has_epilogue = true;
  options.views[1] = {plan::Count(plan::Extent_Tokens, 1, 1), 32};
  options.views.emplace_back(plan::Count(plan::Extent_One, 1, 1), 64);
  options.to_offset = 256;
  return options;
}

// The logits of two ranks, whose 2 * 10 columns are the 16 of the vocabulary and padding.
CollectiveOptions Logits() {
  return {.op = plan::CollectiveOp_AllGather,
          .rows = plan::Extent_LogitRows,
          .columns = 10,
          .result_columns = 16,
          .views = {{plan::Count(plan::Extent_LogitRows, 1, 1), 40}, {plan::Count(plan::Extent_LogitRows, 1, 1), 64}},
          .to = plan::BufferKind_Logits};
}

std::string PlanError(const CollectiveOptions &options) {
  flatbuffers::FlatBufferBuilder b;
  auto recipe = plan::CreateRecipe(b, CreateSources(b, {"a"}), 16, 16);
  std::vector weights{plan::CreateWeight(b, b.CreateString("w"), plan::DataType_F32, 1024, 0, recipe)};
  flatbuffers::Offset<plan::Code> code;
  if (options.has_code)
    code = plan::CreateCode(b, 0, 0, /*shared_bytes=*/0, /*dependent_launch=*/true, options.tensor_maps);
  auto collective = plan::CreateCollective(
      b, options.op, options.rows, options.columns, options.type, /*peer=*/0, options.result_columns, code,
      options.exchange_bytes, options.has_epilogue ? plan::CreateCode(b) : flatbuffers::Offset<plan::Code>());
  std::vector kernels{
      plan::CreateKernelDirect(b, "k", &options.views, plan::KernelBody_Collective, collective.Union())};
  std::vector arguments{plan::CreateArgument(b, options.from),
                        plan::CreateArgument(b, options.to, 0, options.to_offset)};
  for (size_t i = arguments.size(); i < options.views.size(); ++i)
    arguments.push_back(plan::CreateArgument(b, plan::BufferKind_Weight));
  std::vector<plan::Count> grid{plan::Count(plan::Extent_One, 1, 1)};
  std::vector launches{plan::CreateLaunchDirect(b, 0, &arguments, &grid)};
  std::vector entries{plan::CreateEntryDirect(b, "mixed", plan::EntryKind_Mixed, 4, 4, 1, 1024, nullptr, &launches)};
  std::string bytes = FinishPlan(b, plan::CreateTargetDirect(b, options.target, &kernels, &weights, &entries),
                                 {.ranks = options.ranks});
  return std::string(VerifyPlan(*plan::GetPlan(bytes.data())).message());
}

TEST(CollectivePlanTest, SumsInPlaceOrElsewhereAreTaken) {
  EXPECT_EQ(PlanError({}), "");
  EXPECT_EQ(PlanError({.to_offset = 256}), "");
}

TEST(CollectivePlanTest, LogitsOfAPaddedVocabularyAreTaken) { EXPECT_EQ(PlanError(Logits()), ""); }

TEST(CollectivePlanTest, CodeNeedsExchangeMemory) {
  EXPECT_EQ(PlanError(Compiled()), "");
  CollectiveOptions compiled = Compiled();
  compiled.exchange_bytes = 0;
  EXPECT_THAT(PlanError(compiled), HasSubstr("'k' exchanges 0 bytes, expected 1 to"));
  compiled.exchange_bytes = uint64_t{1} << 49;
  EXPECT_THAT(PlanError(compiled), HasSubstr("'k' exchanges 562949953421312 bytes, expected 1 to"));
  EXPECT_THAT(PlanError({.exchange_bytes = 512}), HasSubstr("'k' exchanges 512 bytes without code"));
}

// A row of the logits takes 2 ranks x 48 bytes, its 40 in words of 16.
TEST(CollectivePlanTest, GathersExchangeWholeRows) {
  CollectiveOptions logits = Logits();
  logits.has_code = true;
  logits.target = "sm_90a";
  logits.exchange_bytes = 3 * 96;
  EXPECT_EQ(PlanError(logits), "");
  logits.exchange_bytes = 80;
  EXPECT_THAT(PlanError(logits), HasSubstr("'k' exchanges 80 bytes a round, expected a multiple of the 96 of a row of "
                                           "2 ranks"));
}

TEST(CollectivePlanTest, GathersHaveARoundForTheRowsOfABuffer) {
  auto rounds = [](plan::CollectiveOp op, uint64_t rows) {
    flatbuffers::FlatBufferBuilder b;
    b.Finish(plan::CreateCollective(b, op, plan::Extent_LogitRows, /*columns=*/10, plan::DataType_F32, /*peer=*/0,
                                    /*result_columns=*/16, /*code=*/0, /*exchange_bytes=*/3 * 96));
    return RoundsOf(*flatbuffers::GetRoot<plan::Collective>(b.GetBufferPointer()), /*ranks=*/2, rows);
  };
  EXPECT_EQ(rounds(plan::CollectiveOp_AllReduce, 7), 1u);
  EXPECT_EQ(rounds(plan::CollectiveOp_AllGather, 0), 0u);
  EXPECT_EQ(rounds(plan::CollectiveOp_AllGather, 3), 1u);
  EXPECT_EQ(rounds(plan::CollectiveOp_AllGather, 7), 3u);
}

TEST(CollectivePlanTest, CodeIsForEightRanksOfAGpu) {
  CollectiveOptions compiled = Compiled();
  compiled.ranks = 9;
  EXPECT_THAT(PlanError(compiled), HasSubstr("'k' has code for 9 ranks, expected at most 8"));
  compiled = Compiled();
  compiled.target = "cpu";
  EXPECT_THAT(PlanError(compiled), HasSubstr("'k' is a collective operation with code, which the target cpu"));
  compiled = Compiled();
  compiled.tensor_maps = 1;
  EXPECT_THAT(PlanError(compiled), HasSubstr("'k' is a collective operation with tensor maps or clusters"));
}

TEST(CollectivePlanTest, EpiloguesTakeOtherArguments) {
  EXPECT_EQ(PlanError(Fused()), "");
  CollectiveOptions fused = Fused();
  fused.has_epilogue = false;
  EXPECT_THAT(PlanError(fused), HasSubstr("'k' has other arguments than rows of 64 and 64 bytes"));
  fused = Fused();
  fused.columns = 8;
  EXPECT_THAT(PlanError(fused), HasSubstr("'k' has other arguments than rows of 32 and 32 bytes"));
  fused = Fused();
  fused.from = plan::BufferKind_Weight;
  EXPECT_THAT(PlanError(fused), HasSubstr("a launch of 'k' exchanges Weight, expected activations or logits"));
}

TEST(CollectivePlanTest, EpiloguesFollowSumsWithCode) {
  CollectiveOptions fused = Fused();
  fused.has_code = false;
  EXPECT_THAT(PlanError(fused), HasSubstr("'k' has an epilogue, which only the code of AllReduce has"));
  CollectiveOptions logits = Logits();
  logits.has_code = logits.has_epilogue = true;
  logits.exchange_bytes = 512;
  logits.target = "sm_90a";
  EXPECT_THAT(PlanError(logits), HasSubstr("'k' has an epilogue, which only the code of AllReduce has"));
}

// Launches of three kernels: one that pushes rows of the first argument of the sum, the sum, which has an epilogue, and
// one that exchanges nothing.
struct PushOptions {
  std::vector<uint32_t> launches = {0, 1};
  uint32_t ranks = 2;
  uint64_t pushed_offset = 0;
  bool has_epilogue = true;
  bool is_early = false;
};

std::string PushError(const PushOptions &options) {
  flatbuffers::FlatBufferBuilder b;
  std::vector weights{plan::CreateWeight(b, b.CreateString("w"), plan::DataType_F32, 1024, 0,
                                         plan::CreateRecipe(b, CreateSources(b, {"a"}), 16, 16))};
  std::vector<plan::View> views(2, plan::View(plan::Count(plan::Extent_Tokens, 1, 1), 64));
  auto pushing = plan::CreateCode(b, 0, 0, 0, /*dependent_launch=*/true, 0, /*peers=*/true);
  auto code = plan::CreateCode(b);
  auto epilogue = options.has_epilogue ? plan::CreateCode(b) : flatbuffers::Offset<plan::Code>();
  auto sum = plan::CreateCollective(b, plan::CollectiveOp_AllReduce, plan::Extent_Tokens, 16, plan::DataType_F32, 0, 0,
                                    code, 512, epilogue, options.is_early);
  auto other = plan::CreateCode(b);
  std::vector kernels{plan::CreateKernelDirect(b, "linear", &views, plan::KernelBody_Code, pushing.Union()),
                      plan::CreateKernelDirect(b, "sum", &views, plan::KernelBody_Collective, sum.Union()),
                      plan::CreateKernelDirect(b, "other", &views, plan::KernelBody_Code, other.Union())};
  std::vector<plan::Count> grid{plan::Count(plan::Extent_One, 1, 1)};
  std::vector<flatbuffers::Offset<plan::Launch>> launches;
  for (uint32_t kernel : options.launches) {
    std::vector arguments{
        plan::CreateArgument(b, plan::BufferKind_Workspace, 0, kernel == 0 ? 512 : options.pushed_offset),
        plan::CreateArgument(b, plan::BufferKind_Workspace, 0, kernel == 0 ? 0 : 256)};
    launches.push_back(plan::CreateLaunchDirect(b, kernel, &arguments, &grid));
  }
  std::vector entries{plan::CreateEntryDirect(b, "mixed", plan::EntryKind_Mixed, 4, 4, 1, 1024, nullptr, &launches)};
  std::string bytes =
      FinishPlan(b, plan::CreateTargetDirect(b, "sm_90a", &kernels, &weights, &entries), {.ranks = options.ranks});
  return std::string(VerifyPlan(*plan::GetPlan(bytes.data())).message());
}

TEST(CollectivePlanTest, PushedRowsAreSummedNext) {
  EXPECT_EQ(PushError({}), "");
  EXPECT_EQ(PushError({.launches = {0, 1, 1, 0, 1}}), "");
  EXPECT_THAT(PushError({.launches = {1, 0}}), HasSubstr("a launch of 'linear' pushes rows that no launch sums"));
  EXPECT_THAT(PushError({.launches = {0, 0, 1}}),
              HasSubstr("a launch of 'linear' follows one of 'linear', which pushes rows, and does not sum them"));
  EXPECT_THAT(PushError({.pushed_offset = 512 + 256}),
              HasSubstr("a launch of 'sum' follows one of 'linear', which pushes rows, and does not sum them"));
  EXPECT_THAT(PushError({.has_epilogue = false}),
              HasSubstr("a launch of 'sum' follows one of 'linear', which pushes rows, and does not sum them"));
  EXPECT_THAT(PushError({.launches = {0}, .ranks = 1}),
              HasSubstr("'linear' pushes rows of 1 ranks for the target sm_90a, expected 2 to 8 ranks of a GPU"));
}

TEST(CollectivePlanTest, EarlySumsFollowTheLaunchThatPushes) {
  EXPECT_EQ(PushError({.is_early = true}), "");
  EXPECT_EQ(PushError({.launches = {0, 2, 1}}), ""); // it waits for earlier launches
  EXPECT_THAT(
      PushError({.launches = {0, 2, 1}, .is_early = true}),
      HasSubstr("a launch of 'sum' receives rows early and follows one of 'other', expected the launch that pushes "
                "them before it"));
  EXPECT_THAT(
      PushError({.launches = {0, 1, 1}, .is_early = true}),
      HasSubstr("a launch of 'sum' receives rows early and follows one of 'sum', expected the launch that pushes "
                "them before it"));
  EXPECT_THAT(
      PushError({.launches = {1}, .is_early = true}),
      HasSubstr("a launch of 'sum' receives rows early and is the first launch, expected the launch that pushes them "
                "before it"));
  EXPECT_THAT(PushError({.has_epilogue = false, .is_early = true}),
              HasSubstr("'sum' receives rows early without an epilogue, expected a sum that other ops follow"));
}

TEST(CollectivePlanTest, OneRankHasNone) {
  EXPECT_THAT(PlanError({.ranks = 1}), HasSubstr("'k' is a collective operation in a plan for one rank"));
}

TEST(CollectivePlanTest, OtherOperationsAreRefused) {
  EXPECT_THAT(PlanError({.op = plan::CollectiveOp_Send}),
              HasSubstr("'k' is the collective operation Send, which this runtime does not execute"));
  EXPECT_THAT(PlanError({.op = static_cast<plan::CollectiveOp>(9)}), HasSubstr("'k' is the collective operation 9"));
}

TEST(CollectivePlanTest, SumsAreOfFloats) {
  EXPECT_THAT(PlanError({.type = plan::DataType_I8}), HasSubstr("'k' combines elements I8"));
  CollectiveOptions logits = Logits();
  logits.type = plan::DataType_U4;
  EXPECT_THAT(PlanError(logits), HasSubstr("'k' combines elements U4"));
}

TEST(CollectivePlanTest, RowsAreThoseOfTheViews) {
  EXPECT_THAT(PlanError({.rows = plan::Extent_KvRows}), HasSubstr("'k' makes 16 columns of 16 on each of 2 ranks"));
  EXPECT_THAT(PlanError({.rows = plan::Extent_LogitRows}),
              HasSubstr("'k' has other arguments than rows of 64 and 64 bytes"));
  EXPECT_THAT(PlanError({.columns = 8}), HasSubstr("'k' has other arguments than rows of 32 and 32 bytes"));
  CollectiveOptions logits = Logits();
  logits.result_columns = 21;
  EXPECT_THAT(PlanError(logits), HasSubstr("'k' makes 21 columns of 10 on each of 2 ranks"));
}

TEST(CollectivePlanTest, RanksExchangeActivationsAndLogits) {
  EXPECT_THAT(PlanError({.from = plan::BufferKind_Weight}),
              HasSubstr("a launch of 'k' exchanges Weight, expected activations or logits"));
}

TEST(CollectivePlanTest, WhatOthersReadIsNotWritten) {
  EXPECT_THAT(PlanError({.to_offset = 64}), HasSubstr("a launch of 'k' writes over what other ranks read"));
  CollectiveOptions fused = Fused();
  fused.to_offset = 0; // a communicator would sum there
  EXPECT_THAT(PlanError(fused), HasSubstr("a launch of 'k' writes over what other ranks read"));
  CollectiveOptions gathers = Logits();
  gathers.to = plan::BufferKind_Workspace;
  EXPECT_THAT(PlanError(gathers), HasSubstr("a launch of 'k' writes over what other ranks read"));
  gathers.to_offset = 160;
  EXPECT_EQ(PlanError(gathers), "");
}

} // namespace
} // namespace inlay
