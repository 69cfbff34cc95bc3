// Draft tokens from n-grams of the sequence.
#include "runtime/schedule/ngram_index.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <vector>

namespace inlay {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(NgramIndexTest, GivesWhatFollowedTheLastTokensBefore) {
  EXPECT_THAT(NgramIndex().Propose(std::vector{1, 2, 3, 4, 5, 1, 2}, 3), ElementsAre(3, 4, 5));
  EXPECT_THAT(NgramIndex().Propose(std::vector{1, 2, 3, 4, 5, 1, 2}, 1), ElementsAre(3));
  EXPECT_THAT(NgramIndex().Propose(std::vector{1, 2, 3, 1, 2}, 9), ElementsAre(3, 1, 2));
}

TEST(NgramIndexTest, TakesTheLongestCommonEndThenTheLatestPlace) {
  EXPECT_THAT(NgramIndex().Propose(std::vector{9, 1, 2, 7, 0, 1, 2, 8, 0, 9, 1, 2}, 1), ElementsAre(7));
  EXPECT_THAT(NgramIndex().Propose(std::vector{1, 2, 7, 0, 1, 2, 8, 5, 1, 2}, 1), ElementsAre(8));
}

TEST(NgramIndexTest, GivesNothingForWhatIsNew) {
  EXPECT_THAT(NgramIndex().Propose(std::vector<int32_t>{}, 3), IsEmpty());
  EXPECT_THAT(NgramIndex().Propose(std::vector{1}, 3), IsEmpty());
  EXPECT_THAT(NgramIndex().Propose(std::vector{1, 2, 3, 2}, 3), IsEmpty());
}

TEST(NgramIndexTest, GrowingIsTheSameAsAllAtOnce) {
  std::vector<int32_t> tokens;
  NgramIndex grown;
  for (int32_t i = 0; i < 400; ++i) {
    tokens.push_back((i * i / 7) % 13);
    std::span<const int32_t> guess = grown.Propose(tokens, 5), whole = NgramIndex().Propose(tokens, 5);
    EXPECT_EQ(std::vector<int32_t>(guess.begin(), guess.end()), std::vector<int32_t>(whole.begin(), whole.end()));
  }
}

} // namespace
} // namespace inlay
