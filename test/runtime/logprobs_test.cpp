// Log-probabilities of rows, compared with the formula in double precision.
#include "runtime/sample/logprobs.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace inlay {
namespace {

double Reference(const std::vector<float> &logits, size_t token) {
  double top = *std::ranges::max_element(logits), sum = 0;
  for (float x : logits)
    sum += std::exp(static_cast<double>(x) - top);
  return static_cast<double>(logits[token]) - top - std::log(sum);
}

std::vector<int32_t> Ids(const PromptLogprob &found) {
  std::vector<int32_t> ids;
  for (const TokenLogprob &one : found.top)
    ids.push_back(one.id);
  return ids;
}

// Tests sizes around multiples of the lanes and blocks of the sum, with flat and with peaked distributions.
TEST(LogprobsTest, AreThoseOfTheFormula) {
  std::mt19937 random(1);
  for (size_t size : {1, 2, 15, 16, 17, 1023, 1025, 40000})
    for (float spread : {0.0f, 1.0f, 30.0f}) {
      std::normal_distribution<float> normal(5, spread + 1e-6f);
      std::vector<float> logits(size);
      std::ranges::generate(logits, [&] { return normal(random); });
      size_t token = random() % size;
      PromptLogprob found = LogprobOf(logits, static_cast<int32_t>(token), 4);
      EXPECT_NEAR(found.token.logprob, Reference(logits, token), 2e-6 + 1e-6 * spread) << size << " " << spread;
      std::vector<int32_t> order(size);
      std::iota(order.begin(), order.end(), 0);
      std::ranges::sort(order, [&](int32_t a, int32_t b) {
        float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
        return x != y ? x > y : a < b;
      });
      order.resize(std::min<size_t>(size, 4));
      EXPECT_THAT(Ids(found), ::testing::ElementsAreArray(order)) << size << " " << spread;
      EXPECT_EQ(found.top.front().logprob, LogprobOf(logits, order.front(), 0).token.logprob);
    }
}

// vLLM counts the tokens that are at least as likely (vllm/v1/sample/ops/logprobs.py).
TEST(LogprobsTest, RanksBeginWithOneAndCountEquals) {
  std::vector<float> logits = {1, 3, 2, 3};
  EXPECT_EQ(LogprobOf(logits, 0, 0).token.rank, 4);
  EXPECT_EQ(LogprobOf(logits, 2, 0).token.rank, 3);
  EXPECT_EQ(LogprobOf(logits, 1, 0).token.rank, 2);
  PromptLogprob found = LogprobOf(logits, 0, 10);
  EXPECT_THAT(Ids(found), ::testing::ElementsAre(1, 3, 2, 0));
  EXPECT_EQ(found.top[2].rank, 3);
}

TEST(LogprobsTest, MaskedTokensHaveNone) {
  std::vector<float> logits(100, -std::numeric_limits<float>::infinity());
  logits[7] = -3;
  logits[8] = -1e30f;
  EXPECT_EQ(LogprobOf(logits, 7, 0).token.logprob, 0);
  EXPECT_EQ(LogprobOf(logits, 9, 0).token.logprob, -std::numeric_limits<float>::infinity());
  EXPECT_LT(LogprobOf(logits, 8, 0).token.logprob, -1e29f);
}

} // namespace
} // namespace inlay
