// Plans with stages of a pipeline: each has entries, weights and layers of its own, and receives what the one before it
// sends.
#include "runtime/bundle/stages.h"
#include "runtime/bundle/weight_loader.h"
#include "test/runtime/plan_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using ::testing::HasSubstr;

// Two stages of one layer each. The first reads weight 0 and writes rows of 64 bytes, the second reads weight 1 and
// writes logits. Tests change it to an invalid plan.
struct StagesOptions {
  TestModel model = {.layers = 2, .cache_groups = {{.layers = {0, 1}}}, .ranks = 2, .stage_layers = {1, 1}};
  std::vector<plan::Transfer> sends = {plan::Transfer(0, 64)}, receives = {plan::Transfer(256, 64)};
  std::vector<plan::Transfer> first_receives = {}, last_sends = {};
  uint32_t weight_stage = 1, weight_index = 1; // of the second stage
  uint64_t weight_offset = 0;
  uint32_t layer = 1;       // whose keys the second stage reads
  uint32_t entry_stage = 1; // of the second entry
  uint32_t max_tokens = 4;  // of the second entry
  uint64_t workspace_bytes = 1024;
  bool first_has_logits = false, first_samples = false;
};

std::string Plan(const StagesOptions &options) {
  flatbuffers::FlatBufferBuilder b;
  auto weight = [&](const char *name, uint64_t offset, uint32_t stage) {
    auto recipe = plan::CreateRecipe(b, CreateSources(b, {name}), 16, 16);
    return plan::CreateWeight(b, b.CreateString(name), plan::DataType_F32, 1024, offset, recipe, 0, plan::DataType_F32,
                              0, stage);
  };
  std::vector weights{weight("a", 0, 0), weight("b", options.weight_offset, options.weight_stage)};
  std::vector kernels{CreateCodeKernel(b, "k",
                                       {{plan::Count(plan::Extent_One, 1, 1), 1024},
                                        {plan::Count(plan::Extent_KvRows, 1, 1), 32},
                                        {plan::Count(plan::Extent_LogitRows, 1, 1), 64}})};
  auto launch = [&](uint32_t index, uint32_t layer, plan::BufferKind to) {
    std::vector arguments{plan::CreateArgument(b, plan::BufferKind_Weight, index),
                          plan::CreateArgument(b, plan::BufferKind_KeyCache, layer), plan::CreateArgument(b, to)};
    std::vector<plan::Count> grid{plan::Count(plan::Extent_One, 1, 1)};
    return std::vector{plan::CreateLaunchDirect(b, 0, &arguments, &grid)};
  };
  std::vector first = launch(0, 0, options.first_has_logits ? plan::BufferKind_Logits : plan::BufferKind_Workspace),
              second = launch(options.weight_index, options.layer, plan::BufferKind_Logits);
  std::vector entries{plan::CreateEntryDirect(b, "first", plan::EntryKind_Mixed, 4, 4, 1, options.workspace_bytes,
                                              nullptr, &first, nullptr, options.first_samples ? &first : nullptr, 0,
                                              &options.first_receives, &options.sends),
                      plan::CreateEntryDirect(b, "second", plan::EntryKind_Mixed, options.max_tokens,
                                              options.max_tokens, 1, options.workspace_bytes, nullptr, &second, nullptr,
                                              nullptr, options.entry_stage, &options.receives, &options.last_sends)};
  return FinishPlan(b, plan::CreateTargetDirect(b, "cpu", &kernels, &weights, &entries), options.model);
}

std::string StagesPlanError(const StagesOptions &options) {
  std::string bytes = Plan(options);
  return std::string(VerifyPlan(*plan::GetPlan(bytes.data())).message());
}

TEST(StagesPlanTest, StagesWithWeightsOfTheirOwnAreTaken) {
  EXPECT_EQ(StagesPlanError({}), "");
  std::string bytes = Plan({});
  const plan::Plan &plan = *plan::GetPlan(bytes.data());
  const plan::Target &target = *plan.targets()->Get(0);
  EXPECT_EQ(WeightsBytes(target, 0), 1024u);
  EXPECT_EQ(WeightsBytes(target, 1), 1024u);
}

TEST(StagesPlanTest, RanksOfAStageComeTogether) {
  StagesOptions options;
  options.model.ranks = 6;
  EXPECT_EQ(StagesPlanError(options), "");
  std::string bytes = Plan(options);
  const plan::Plan &plan = *plan::GetPlan(bytes.data());
  EXPECT_EQ(RanksOfStage(plan), 3u);
  const RankPlace place = PlaceOfRank(plan, 4);
  EXPECT_EQ(place.stage, 1u);
  EXPECT_EQ(place.of_stage.index, 1u);
  EXPECT_EQ(place.of_stage.count, 3u);
  const LayerRange layers = LayersOfStage(*plan.model(), 1);
  EXPECT_EQ(layers.begin, 1u);
  EXPECT_EQ(layers.end, 2u);
}

TEST(StagesPlanTest, StagesHaveAllLayersAndRanks) {
  auto error = [](const std::function<void(TestModel &)> &spoil) {
    StagesOptions options;
    spoil(options.model);
    return StagesPlanError(options);
  };
  EXPECT_THAT(error([](TestModel &model) { model.ranks = 3; }),
              HasSubstr("is for 3 ranks, which 2 stages cannot share evenly"));
  EXPECT_THAT(error([](TestModel &model) { model.ranks = 0; }), HasSubstr("is for 0 ranks, expected 1 to 64"));
  EXPECT_THAT(error([](TestModel &model) { model.stage_layers = {1, 2}; }), HasSubstr("has stages with 3 layers, but"));
  EXPECT_THAT(error([](TestModel &model) { model.stage_layers = {3}; }), HasSubstr("has a stage with 3 of 2 layers"));
  EXPECT_THAT(error([](TestModel &model) { model.stage_layers = {2, 0}; }),
              HasSubstr("has no layer with keys and values in stage 1"));
  EXPECT_THAT(error([](TestModel &model) { model.cache_groups[0].layers = {1}; }),
              HasSubstr("has no layer with keys and values in stage 0"));
}

TEST(StagesPlanTest, AStageReceivesWhatTheOneBeforeItSends) {
  EXPECT_THAT(StagesPlanError({.sends = {}}),
              HasSubstr("entry 'second' of stage 1 does not receive what 'first' of stage 0"));
  EXPECT_THAT(StagesPlanError({.receives = {plan::Transfer(0, 32)}}), HasSubstr("does not receive what"));
  EXPECT_THAT(StagesPlanError({.sends = {}, .receives = {}}), HasSubstr("does not receive what"));
  EXPECT_THAT(StagesPlanError({.first_receives = {plan::Transfer(0, 64)}}),
              HasSubstr("entry 'first' of stage 0 of 2 exchanges rows with a stage that does not exist"));
  EXPECT_THAT(StagesPlanError({.last_sends = {plan::Transfer(0, 64)}}), HasSubstr("a stage that does not exist"));
}

TEST(StagesPlanTest, WhatStagesExchangeIsInTheWorkspace) {
  EXPECT_EQ(StagesPlanError({.sends = {plan::Transfer(768, 64)}}), "");
  EXPECT_THAT(StagesPlanError({.sends = {plan::Transfer(784, 64)}}),
              HasSubstr("entry 'first' exchanges 4 rows of 64 bytes at 784 of 1024 bytes of the workspace"));
  EXPECT_THAT(StagesPlanError({.sends = {plan::Transfer(8, 64)}}), HasSubstr("exchanges 4 rows of 64 bytes at 8 of"));
  EXPECT_THAT(StagesPlanError({.sends = {plan::Transfer(0, ~uint64_t{0} / 2)}}), HasSubstr("exchanges 4 rows of"));
  EXPECT_THAT(StagesPlanError({.sends = {plan::Transfer(~uint64_t{15}, 64)}}), HasSubstr("exchanges 4 rows of"));
  EXPECT_THAT(StagesPlanError({.sends = {plan::Transfer(0, 0)}}), HasSubstr("exchanges 4 rows of 0 bytes"));
}

// Parts that overlap are each in the workspace, and could have a sum that overflows.
TEST(StagesPlanTest, WhatStagesExchangeHasASize) {
  const uint64_t most = uint64_t{1} << 48;
  const std::vector<plan::Transfer> half(2, plan::Transfer(0, most / 8)), many(65536, plan::Transfer(0, most / 4));
  EXPECT_EQ(StagesPlanError({.sends = half, .receives = half, .workspace_bytes = most}), "");
  EXPECT_THAT(StagesPlanError({.sends = many, .receives = many, .workspace_bytes = most}),
              HasSubstr("entry 'first' exchanges 562949953421312 bytes with another stage, expected at most "
                        "281474976710656"));
}

TEST(StagesPlanTest, AStageUsesWhatItsRanksHave) {
  EXPECT_THAT(StagesPlanError({.weight_index = 0}),
              HasSubstr("a launch of 'k' in stage 1 reads weight 'a' of stage 0"));
  EXPECT_THAT(StagesPlanError({.layer = 0}),
              HasSubstr("in stage 1 reads the cache of layer 0, which another stage has"));
  EXPECT_THAT(StagesPlanError({.first_has_logits = true}),
              HasSubstr("in stage 0 uses logits or tokens, which are those of "
                        "stage 1"));
  EXPECT_THAT(StagesPlanError({.first_samples = true}),
              HasSubstr("entry 'first' of stage 0 samples tokens, expected only the "
                        "last of 2 stages to"));
}

TEST(StagesPlanTest, EntriesAndWeightsAreOfStagesThatExist) {
  EXPECT_THAT(StagesPlanError({.weight_stage = 2}), HasSubstr("weight 'b' is of stage 2 of 2"));
  EXPECT_THAT(StagesPlanError({.weight_offset = 1024}),
              HasSubstr("weight 'b' is at offset 1024, but the previous one ends"));
  EXPECT_THAT(StagesPlanError({.entry_stage = 2}), HasSubstr("entry 'second' is of stage 2 of 2"));
  EXPECT_THAT(StagesPlanError({.entry_stage = 0}), HasSubstr("a launch of 'k' in stage 0 reads weight 'b' of stage 1"));
  EXPECT_THAT(StagesPlanError({.max_tokens = 3}),
              HasSubstr("stages 0 and 1 of target 'cpu' have different entry points"));
}

} // namespace
} // namespace inlay
