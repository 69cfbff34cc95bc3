// The metadata of a step, the page pool, edits of logits, and the checks of sampling parameters.
#include "runtime/kv/page_pool.h"
#include "runtime/sample/logits.h"
#include "runtime/sample/sampling_params.h"
#include "runtime/schedule/step.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr StepCapacity kCapacity{
    .tokens = 16, .sequences = 4, .pages_per_sequence = 3, .page_size = 4, .penalty_entries = 4};

class StepTest : public ::testing::Test {
protected:
  std::vector<int32_t> Ints(plan::Metadata array, size_t count) const {
    if (MetadataLayout::IsPenalty(array))
      return step_.penalties()[static_cast<size_t>(array - plan::Metadata_PenaltyRows)];
    const int32_t *first = block_.data() + layout_.OffsetOf(array) / sizeof(int32_t);
    return {first, first + count};
  }
  std::vector<float> Floats(plan::Metadata array, size_t count) const {
    const auto *first = reinterpret_cast<const float *>(block_.data() + layout_.OffsetOf(array) / sizeof(int32_t));
    return {first, first + count};
  }
  // Returns a sequence with the tokens token, token + 1, ..., token + length - 1.
  static Sequence MakeSequence(int32_t token, int32_t length, std::vector<int32_t> pages) {
    Sequence sequence;
    for (int32_t i = 0; i < length; ++i)
      sequence.tokens.push_back(token + i);
    sequence.prompt_size = length;
    sequence.cache.pages = std::move(pages);
    return sequence;
  }

  // Copies the ranges of used() from the host's block to the device's.
  void CopyUsed() {
    device_.resize(block_.size(), -7);
    for (const CopyRows &part : step_.used())
      for (uint64_t row = 0, at = part.offset; row < part.rows; ++row, at += part.pitch)
        std::copy_n(block_.data() + at / sizeof(int32_t), part.bytes / sizeof(int32_t),
                    device_.data() + at / sizeof(int32_t));
    step_.Copied();
  }
  std::vector<int32_t> OnDevice(plan::Metadata array, size_t count) const {
    const int32_t *first = device_.data() + layout_.OffsetOf(array) / sizeof(int32_t);
    return {first, first + count};
  }

  const MetadataLayout layout_{kCapacity};
  std::vector<int32_t> block_ = std::vector<int32_t>(layout_.bytes / sizeof(int32_t), -7), device_;
  StepMetadata step_{layout_, block_.data()};
};

TEST_F(StepTest, RaggedRowsAreInTilesOfOneSequence) {
  Sequence a = MakeSequence(10, 5, {7, 2}), b = MakeSequence(20, 3, {4}), c = MakeSequence(30, 9, {1, 3, 5});
  a.cache.computed = 4;
  b.cache.first_rope_row = 100;
  // The first sequence generates, the second has its whole prompt in the step, the third a chunk of its prompt.
  std::vector<ScheduledRows> rows{{&a, 4, 1}, {&b, 0, 3}, {&c, 2, 5}};
  absl::StatusOr<StepSizes> sizes = step_.Fill(rows, 9, /*query_tile_rows=*/4);
  ASSERT_TRUE(sizes.ok()) << sizes.status();
  EXPECT_THAT(*sizes, ElementsAre(9, 3, 4, 2, 0, 0));
  EXPECT_THAT(Ints(plan::Metadata_TokenIds, 9), ElementsAre(14, 20, 21, 22, 32, 33, 34, 35, 36));
  EXPECT_THAT(Ints(plan::Metadata_Positions, 9), ElementsAre(4, 0, 1, 2, 2, 3, 4, 5, 6));
  EXPECT_THAT(Ints(plan::Metadata_RopeRows, 9), ElementsAre(4, 100, 101, 102, 2, 3, 4, 5, 6));
  EXPECT_THAT(Ints(plan::Metadata_RowSequences, 9), ElementsAre(0, 1, 1, 1, 2, 2, 2, 2, 2));
  EXPECT_THAT(Ints(plan::Metadata_PageTable, 9), ElementsAre(7, 2, -1, 4, -1, -1, 1, 3, 5));
  // Tiles with 7, 6, 5 and 3 keys: the last row of the third sequence, its first four rows, and the other two
  // sequences.
  EXPECT_THAT(Ints(plan::Metadata_TileSequences, 4), ElementsAre(2, 2, 0, 1));
  EXPECT_THAT(Ints(plan::Metadata_TileRows, 4), ElementsAre(8, 4, 0, 1));
  EXPECT_THAT(Ints(plan::Metadata_TileEnds, 4), ElementsAre(9, 8, 1, 4));
  EXPECT_THAT(Ints(plan::Metadata_TileKeys, 4), ElementsAre(7, 6, 5, 3));
  // The third sequence has no logits, because its prompt continues in a later step.
  EXPECT_THAT(Ints(plan::Metadata_LogitRowIndices, 2), ElementsAre(0, 3));
  EXPECT_THAT(step_.penalties(), ::testing::Each(::testing::IsEmpty()));
}

TEST_F(StepTest, WhatAStepHasIsCopiedAndLittleElse) {
  device_ = block_;
  Sequence a = MakeSequence(10, 9, {7, 2, 5}), b = MakeSequence(20, 5, {4, 1});
  a.cache.computed = 8;
  b.cache.computed = 4;
  std::vector<ScheduledRows> rows{{&a, 8, 1}, {&b, 4, 1}};
  ASSERT_TRUE(step_.Fill(rows, 4, /*query_tile_rows=*/1).ok());
  CopyUsed();
  EXPECT_THAT(OnDevice(plan::Metadata_TokenIds, 5), ElementsAre(18, 24, 0, 0, 0));
  EXPECT_THAT(OnDevice(plan::Metadata_TileRows, 4), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(OnDevice(plan::Metadata_LogitRowIndices, 4), ElementsAre(0, 1, -1, -1));
  EXPECT_THAT(OnDevice(plan::Metadata_PageTable, 6), ElementsAre(7, 2, 5, 4, 1, -1));
  // With fewer pages, entries of earlier steps are overwritten with -1. A step that changes none copies none.
  b.cache.pages = a.cache.pages = {6};
  for (bool changes : {true, false}) {
    ASSERT_TRUE(step_.Fill(rows, 2, /*query_tile_rows=*/1).ok());
    CopyUsed();
    EXPECT_THAT(OnDevice(plan::Metadata_PageTable, 6), ElementsAre(6, -1, -1, 6, -1, -1));
    ASSERT_EQ(step_.used().size(), changes ? 3u : 2u);
    if (changes) {
      EXPECT_EQ(step_.used()[2].bytes, 3 * sizeof(int32_t));
    }
  }
  EXPECT_EQ(step_.used()[0].bytes, 2 * sizeof(int32_t));
}

TEST(StepOfCacheGroups, EachGroupHasAPageTable) {
  StepCapacity capacity = kCapacity;
  capacity.cache_groups = 2;
  const MetadataLayout layout(capacity);
  EXPECT_EQ(layout.bytes - MetadataLayout(kCapacity).bytes, layout.page_table_bytes);
  std::vector<int32_t> block(layout.bytes / sizeof(int32_t), -7);
  StepMetadata step(layout, block.data());
  auto table = [&](size_t group) {
    const int32_t *first = block.data() + layout.OffsetOfPageTable(group) / sizeof(int32_t);
    return std::vector<int32_t>(first, first + 6);
  };
  Sequence a, b;
  a.tokens = b.tokens = std::vector<int32_t>(9, 1);
  a.prompt_size = b.prompt_size = 9;
  a.cache.pages = {7, -1, 2, -1, 5, 3}; // the first two pages of the second group were freed
  b.cache.pages = {4, 6};
  std::vector<ScheduledRows> rows{{&a, 8, 1}, {&b, 2, 1}};
  ASSERT_TRUE(step.Fill(rows, 2, /*query_tile_rows=*/1).ok());
  step.Copied();
  EXPECT_THAT(table(0), ElementsAre(7, 2, 5, 4, -1, -1));
  EXPECT_THAT(table(1), ElementsAre(-1, -1, 3, 6, -1, -1));
  ASSERT_EQ(step.used().size(), 4u);
  EXPECT_EQ(step.used()[3].offset - step.used()[2].offset, layout.page_table_bytes);
  EXPECT_EQ(step.used()[3].bytes, 3 * sizeof(int32_t));
  a.cache.pages = {8, 9};
  ASSERT_TRUE(step.Fill(rows, 2, /*query_tile_rows=*/1).ok());
  step.Copied();
  EXPECT_THAT(table(1), ElementsAre(9, -1, -1, 6, -1, -1));
  b.cache.pages[1] = 7; // of the second group only
  ASSERT_TRUE(step.Fill(rows, 2, /*query_tile_rows=*/1).ok());
  ASSERT_EQ(step.used().size(), 3u);
  EXPECT_EQ(step.used()[2].offset, layout.OffsetOfPageTable(1));
  EXPECT_EQ(step.used()[2].bytes, sizeof(int32_t));
  // That copy failed, so the next step copies the whole tables.
  ASSERT_TRUE(step.Fill(rows, 2, /*query_tile_rows=*/1).ok());
  ASSERT_EQ(step.used().size(), 4u);
  EXPECT_EQ(step.used()[3].bytes * step.used()[3].rows, 12 * sizeof(int32_t));
  step.Copied();
  a.cache.pages.resize(8, 1);
  EXPECT_EQ(std::string(step.Fill(rows, 2, 1).status().message()),
            "a step has 4 pages of a sequence, expected at most 3");
}

TEST_F(StepTest, PaddingKeepsNothingOfEarlierSteps) {
  std::vector<Sequence> sequences;
  for (int32_t i = 0; i < 4; ++i) {
    sequences.push_back(MakeSequence(i, 1, {3 * i, 3 * i + 1, 3 * i + 2}));
    sequences.back().sampling.seed = 9;
    sequences.back().sampling.top_k = 5;
    sequences.back().sampling.top_p = 0.5f;
    sequences.back().sampling.presence_penalty = 1;
  }
  std::vector<ScheduledRows> rows;
  for (Sequence &sequence : sequences)
    rows.push_back({&sequence, 0, 1});
  ASSERT_TRUE(step_.Fill(rows, 4, 1).ok());

  Sequence last = MakeSequence(40, 1, {8});
  std::vector<ScheduledRows> one{{&last, 0, 1}};
  absl::StatusOr<StepSizes> sizes = step_.Fill(one, 4, 1);
  ASSERT_TRUE(sizes.ok()) << sizes.status();
  EXPECT_THAT(*sizes, ElementsAre(4, 4, 4, 4, 0, 0));
  EXPECT_THAT(Ints(plan::Metadata_TokenIds, 4), ElementsAre(40, 0, 0, 0));
  EXPECT_THAT(Ints(plan::Metadata_Positions, 4), ElementsAre(0, -1, -1, -1));
  EXPECT_THAT(Ints(plan::Metadata_RowSequences, 4), ElementsAre(0, -1, -1, -1));
  EXPECT_THAT(Ints(plan::Metadata_TileSequences, 4), ElementsAre(0, -1, -1, -1));
  EXPECT_THAT(Ints(plan::Metadata_LogitRowIndices, 4), ElementsAre(0, -1, -1, -1));
  EXPECT_THAT(Ints(plan::Metadata_PageTable, 12), ElementsAre(8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
  EXPECT_THAT(Floats(plan::Metadata_Temperature, 4), ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(Ints(plan::Metadata_TopK, 4), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Floats(plan::Metadata_TopP, 4), ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(Ints(plan::Metadata_Seeds, 4), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Floats(plan::Metadata_RepetitionPenalty, 4), ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(Floats(plan::Metadata_PresencePenalty, 4), ElementsAre(0, 0, 0, 0));
}

TEST_F(StepTest, PenaltiesNameTheRowOfLogitsAndNotOfTokens) {
  Sequence plain = MakeSequence(1, 2, {0}), penalised = MakeSequence(5, 1, {1});
  plain.counts = {{9, 9}}; // not used without a penalty
  penalised.sampling.frequency_penalty = 0.5f;
  penalised.counts = {{5, 0}, {8, 2}};
  std::vector<ScheduledRows> rows{{&plain, 0, 2}, {&penalised, 0, 1}};
  absl::StatusOr<StepSizes> sizes = step_.Fill(rows, 3, 4);
  ASSERT_TRUE(sizes.ok()) << sizes.status();
  EXPECT_THAT(*sizes, ElementsAre(3, 2, 2, 2, 2, 0));
  EXPECT_THAT(Ints(plan::Metadata_PenaltyRows, 2), ElementsAre(1, 1));
  EXPECT_THAT(Ints(plan::Metadata_PenaltyTokens, 2), ElementsAre(5, 8));
  EXPECT_THAT(Ints(plan::Metadata_PenaltyCounts, 2), ElementsAre(0, 2));
  EXPECT_THAT(Floats(plan::Metadata_FrequencyPenalty, 2), ElementsAre(0, 0.5f));
}

TEST_F(StepTest, StepsBeyondTheCapacityAreRefused) {
  auto error = [&](std::span<const ScheduledRows> rows, int32_t padded, int32_t tile) {
    return std::string(step_.Fill(rows, padded, tile).status().message());
  };
  Sequence longer = MakeSequence(0, 20, {0}), many_pages = MakeSequence(0, 1, {0, 1, 2, 3});
  EXPECT_EQ(error(std::vector<ScheduledRows>{{&longer, 0, 17}}, 17, 4), "a step has 17 rows, expected at most 16");
  EXPECT_EQ(error(std::vector<ScheduledRows>{{&longer, 0, 3}}, 2, 4),
            "a step of 3 rows is padded to 2 rows, expected at least as many");
  EXPECT_EQ(error(std::vector<ScheduledRows>{{&longer, 0, 1}}, 5, 1), "a step has 5 sequences, expected at most 4");
  EXPECT_EQ(error(std::vector<ScheduledRows>{{&many_pages, 0, 1}}, 1, 1),
            "a step has 4 pages of a sequence, expected at most 3");
  Sequence penalised = MakeSequence(0, 1, {0});
  penalised.sampling.repetition_penalty = 2;
  for (int32_t id = 0; id < 5; ++id)
    penalised.counts[id] = 1;
  EXPECT_EQ(error(std::vector<ScheduledRows>{{&penalised, 0, 1}}, 1, 1),
            "a step has 5 penalty entries, expected at most 4");
}

TEST_F(StepTest, ArraysDoNotOverlap) {
  auto place = [&](int array) {
    auto one = static_cast<plan::Metadata>(array);
    return std::pair(MetadataLayout::IsPenalty(one), layout_.OffsetOf(one));
  };
  for (int a = 0; a <= plan::Metadata_MAX; ++a)
    for (int b = 0; b <= plan::Metadata_MAX; ++b)
      if (a != b)
        EXPECT_NE(place(a), place(b));
  for (int a = 0; a <= plan::Metadata_MAX; ++a)
    EXPECT_EQ(place(a).second % 256, 0u);
}

TEST(PagePool, EveryPageIsGivenOnceUntilItComesBack) {
  PagePool pool(5);
  EXPECT_EQ(pool.total(), 5);
  std::optional<std::vector<int32_t>> a = pool.Take(3), b = pool.Take(2);
  ASSERT_TRUE(a && b);
  std::vector<int32_t> all = *a;
  all.insert(all.end(), b->begin(), b->end());
  EXPECT_THAT(all, ::testing::UnorderedElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(pool.free(), 0);
  EXPECT_FALSE(pool.Take(1));
  EXPECT_TRUE(pool.Take(0));
  pool.Release(*b);
  EXPECT_EQ(pool.free(), 2);
  EXPECT_FALSE(pool.Take(3)) << "allocated more pages than are free";
  EXPECT_EQ(pool.free(), 2) << "a failed Take() allocated pages";
  EXPECT_THAT(*pool.Take(2), ::testing::UnorderedElementsAreArray(*b));
}

TEST(EditLogits, TokensThatTheMaskLacksAreNeverSampled) {
  Sequence sequence;
  sequence.edits.mask = std::make_shared<TokenMask>();
  sequence.edits.mask->words = {0, 0b101};
  sequence.edits.logit_bias[0] = 100;
  sequence.edits.logit_bias[32] = 2;
  EXPECT_TRUE(sequence.edits_logits());
  EXPECT_FALSE(sequence.takes_drafts());
  std::vector<float> logits(35, 1.0f), expected(35, kNeverSampled);
  expected[32] = 3;
  expected[34] = 1;
  EditLogits(sequence, sequence.length(), logits);
  EXPECT_EQ(logits, expected);
}

TEST(EditLogits, AnEndComesBeforeMinTokensWhereNothingElseMay) {
  Sequence sequence;
  sequence.edits.end_ids = {1, 2};
  sequence.edits.min_tokens = 5;
  sequence.edits.mask = std::make_shared<TokenMask>();
  sequence.edits.mask->words = {0b1010}; // an end token and another token
  std::vector<float> logits(4, 1.0f);
  EditLogits(sequence, sequence.length(), logits);
  EXPECT_EQ(logits, std::vector<float>({kNeverSampled, kNeverSampled, kNeverSampled, 1}));
  sequence.edits.mask->words = {0b0110};
  logits.assign(4, 1.0f);
  EditLogits(sequence, sequence.length(), logits);
  EXPECT_EQ(logits, std::vector<float>({kNeverSampled, 1, 1, kNeverSampled}));
}

TEST(SamplingParams, FieldsOutOfRangeAreNamedWithWhatIsPossible) {
  auto error = [](auto change) {
    SamplingParams params;
    change(params);
    return std::string(ValidateSamplingParams(params, /*vocab_size=*/100).message());
  };
  EXPECT_EQ(error([](SamplingParams &) {}), "");
  EXPECT_EQ(error([](SamplingParams &p) { p.temperature = 0, p.top_p = 1, p.min_p = 1, p.logprobs = 100; }), "");
  EXPECT_EQ(error([](SamplingParams &p) { p.temperature = -1; }), "temperature is -1, expected [0, 100]");
  EXPECT_THAT(error([](SamplingParams &p) { p.temperature = NAN; }), HasSubstr("temperature is nan"));
  EXPECT_THAT(error([](SamplingParams &p) { p.temperature = INFINITY; }), HasSubstr("temperature is inf"));
  EXPECT_EQ(error([](SamplingParams &p) { p.top_k = -1; }), "top_k is -1, expected [0, 1073741824]");
  EXPECT_EQ(error([](SamplingParams &p) { p.top_p = 0; }), "top_p is 0, expected (0, 1]");
  EXPECT_EQ(error([](SamplingParams &p) { p.min_p = 1.5f; }), "min_p is 1.5, expected [0, 1]");
  EXPECT_EQ(error([](SamplingParams &p) { p.repetition_penalty = 0; }), "repetition_penalty is 0, expected (0, 100]");
  EXPECT_EQ(error([](SamplingParams &p) { p.presence_penalty = -3; }), "presence_penalty is -3, expected [-2, 2]");
  EXPECT_EQ(error([](SamplingParams &p) { p.frequency_penalty = 3; }), "frequency_penalty is 3, expected [-2, 2]");
  EXPECT_EQ(error([](SamplingParams &p) { p.max_tokens = 0; }), "max_tokens is 0, expected [1, 1073741824]");
  EXPECT_EQ(error([](SamplingParams &p) { p.logprobs = 101; }), "logprobs is 101, expected [-1, 100]");
  EXPECT_EQ(error([](SamplingParams &p) { p.stop_token_ids = {5, 100}; }),
            "stop_token_ids contains 100, expected ids in [0, 100)");
  EXPECT_EQ(error([](SamplingParams &p) { p.stop = {""}; }), "a stop string has 0 bytes, expected 1 to 1024");
  EXPECT_THAT(error([](SamplingParams &p) { p.stop.assign(65, "x"); }), HasSubstr("number of stop strings is 65"));
}

} // namespace
} // namespace inlay
