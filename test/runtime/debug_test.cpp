// INLAY_DEBUG: parsing its value, and the checks of a step's metadata.
#include "runtime/schedule/check_step.h"
#include "runtime/support/debug_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using ::testing::HasSubstr;

TEST(DebugOptions, KnowsItsWordsAlone) {
  absl::StatusOr<DebugOptions> options = ParseDebugOptions("guard-end,poison");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->guard_end && options->poison);
  EXPECT_FALSE(options->guard_begin || options->sync_launches || options->graph_launches || options->check_steps);
  EXPECT_TRUE(ParseDebugOptions("").ok());
  EXPECT_THAT(std::string(ParseDebugOptions("poisoned").status().message()),
              HasSubstr("INLAY_DEBUG: found 'poisoned', expected one or more of guard-end, guard-begin, poison"));
  EXPECT_THAT(std::string(ParseDebugOptions("guard-begin,guard-end").status().message()),
              HasSubstr("use only one of them per run"));
}

class CheckStepTest : public ::testing::Test {
protected:
  CheckStepTest() {
    sequence_.tokens = {1, 2, 3, 4, 5};
    sequence_.prompt_size = 5;
    sequence_.cache.pages = {7, 2};
    std::vector<ScheduledRows> rows{{&sequence_, 0, 5}};
    sizes_ = *step_.Fill(rows, 5, /*query_tile_rows=*/4);
  }
  // Returns the error of the check if array[at] is `value`.
  std::string With(plan::Metadata array, size_t at, int32_t value) {
    std::vector<int32_t> changed = block_;
    changed[layout_.OffsetOf(array) / sizeof(int32_t) + at] = value;
    return std::string(CheckStep(layout_, changed.data(), sizes_, {.total_pages = 8, .vocab_size = 10}).message());
  }

  const MetadataLayout layout_{
      {.tokens = 16, .sequences = 4, .pages_per_sequence = 3, .page_size = 4, .penalty_entries = 4}};
  std::vector<int32_t> block_ = std::vector<int32_t>(layout_.bytes / sizeof(int32_t), -7);
  StepMetadata step_{layout_, block_.data()};
  Sequence sequence_;
  StepSizes sizes_{};
};

TEST_F(CheckStepTest, NamesTheIndexThatIsOutOfRange) {
  EXPECT_EQ(With(plan::Metadata_TokenIds, 0, 9), "");
  EXPECT_EQ(With(plan::Metadata_TokenIds, 1, 10), "step metadata: TokenIds[1] is 10, expected 0 to 9");
  EXPECT_EQ(With(plan::Metadata_PageTable, 1, 8), "step metadata: PageTable[1] is 8, expected 0 to 7");
  EXPECT_EQ(With(plan::Metadata_PageTable, 0, -1), "step metadata: PageTable[0] is -1, expected 0 to 7");
  EXPECT_EQ(With(plan::Metadata_Positions, 4, 12), "step metadata: Positions[4] is 12, expected 0 to 11");
  EXPECT_EQ(With(plan::Metadata_RowSequences, 0, 1), "step metadata: RowSequences[0] is 1, expected -1 to 0");
  EXPECT_EQ(With(plan::Metadata_TileEnds, 0, 6), "step metadata: TileEnds[0] is 6, expected 4 to 5");
  EXPECT_EQ(With(plan::Metadata_TileKeys, 1, 6), "step metadata: TileKeys[1] is 6, expected 0 to 5");
  EXPECT_EQ(With(plan::Metadata_LogitRowIndices, 0, 5), "step metadata: LogitRowIndices[0] is 5, expected -1 to 4");
  // Entries of the page table after the sequence's last page are not checked.
  EXPECT_EQ(With(plan::Metadata_PageTable, 2, 99), "");
}

TEST(CheckStepOfCacheGroups, FreedPagesAreThoseThatNoRowSees) {
  const MetadataLayout layout(
      {.tokens = 16, .sequences = 4, .pages_per_sequence = 3, .page_size = 4, .penalty_entries = 4, .cache_groups = 2});
  std::vector<int32_t> block(layout.bytes / sizeof(int32_t), -7);
  StepMetadata step(layout, block.data());
  Sequence sequence;
  sequence.tokens = std::vector<int32_t>(10, 1);
  sequence.prompt_size = 10;
  std::vector<ScheduledRows> rows{{&sequence, 8, 2}};
  auto check = [&](std::vector<int32_t> pages) {
    sequence.cache.pages = std::move(pages);
    StepSizes sizes = *step.Fill(rows, 2, /*query_tile_rows=*/4);
    StepBounds bounds{.total_pages = 8, .vocab_size = 10, .cache = {.page_size = 4, .windows = {0, 4}}};
    return std::string(CheckStep(layout, block.data(), sizes, bounds).message());
  };
  EXPECT_EQ(check({0, -1, 2, 3, 4, 5}), "");
  EXPECT_EQ(check({0, -1, 2, -1, 4, 5}), "step metadata: cache group 1: PageTable[1] is -1, expected 0 to 7");
  EXPECT_EQ(check({-1, -1, 2, 3, 4, 5}), "step metadata: cache group 0: PageTable[0] is -1, expected 0 to 7");
}

TEST_F(CheckStepTest, ComparesWhatArrivedButForTokens) {
  std::vector<int32_t> device = block_;
  device[layout_.OffsetOf(plan::Metadata_TokenIds) / sizeof(int32_t)] = 6; // sampled on the device
  EXPECT_TRUE(CheckArrived(layout_, block_.data(), device.data()).ok());
  size_t at = layout_.OffsetOf(plan::Metadata_Positions) / sizeof(int32_t);
  device[at] = 0x77;
  EXPECT_EQ(std::string(CheckArrived(layout_, block_.data(), device.data()).message()),
            "step metadata: byte " + std::to_string(at * 4) + " is 0x77 on the device, expected 0x0");
}

} // namespace
} // namespace inlay
