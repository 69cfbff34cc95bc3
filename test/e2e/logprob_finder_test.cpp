// Log-probabilities of the rows of a step, computed on one or several threads: each request gets those that it asked
// for.
#include "runtime/api/logprob_finder.h"

#include "runtime/api/active_request.h"
#include "runtime/sample/logprobs.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <random>

namespace inlay {
namespace {

// The step has a request with prompt_logprobs, one with logprobs, and one with neither.
TEST(LogprobFinder, RowsOfAStep) {
  for (size_t vocabulary : {1000u, 40000u}) { // the latter on several threads
    auto make = [&](int32_t size, int32_t logprobs, int32_t prompt_logprobs) {
      Request request;
      request.sampling.logprobs = logprobs;
      request.sampling.prompt_logprobs = prompt_logprobs;
      std::vector<int32_t> prompt(static_cast<size_t>(size));
      for (int32_t i = 0; i < size; ++i)
        prompt[static_cast<size_t>(i)] = i * 7;
      return ActiveRequest(request, std::move(prompt), nullptr, {});
    };
    ActiveRequest whole = make(21, -1, 2), asking = make(5, 3, -1), plain = make(5, -1, -1);
    auto rows = [](ActiveRequest &request, int32_t count) {
      return ScheduledRows{.sequence = request.sequences()[0].get(), .first = 0, .count = count, .drafts = 0};
    };
    LaunchedStep step;
    step.plan.rows = {rows(whole, 21), rows(plain, 5), rows(asking, 5)};
    step.plan.rows[0].prompt_rows = 20;
    step.wants_token = {true, true, true};
    step.logits_rows = 23;
    step.has_logits = true;
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    std::vector<float> logits(23 * vocabulary);
    std::ranges::generate(logits, [&] { return normal(random); });
    std::vector<int32_t> tokens(23, 11);
    LogprobFinder finder(vocabulary);
    std::span<const PromptLogprob> found = finder.Find(step, {.tokens = tokens, .logits = logits});
    ASSERT_EQ(found.size(), 23u);
    for (size_t row = 0; row < 23; ++row) {
      int32_t token = row < 20 ? whole.prompt()[row + 1] : 11, count = row < 20 ? 2 : 3;
      PromptLogprob expected = LogprobOf(std::span(logits).subspan(row * vocabulary, vocabulary), token, count);
      bool is_asked = row < 20 || row == 22;
      EXPECT_EQ(found[row].token.rank, is_asked ? expected.token.rank : 0) << row;
      EXPECT_EQ(found[row].top.size(), is_asked ? expected.top.size() : 0) << row;
      if (is_asked) {
        EXPECT_EQ(found[row].token.logprob, expected.token.logprob) << row;
      }
    }
    // A request that has ended gets none.
    asking.Finish(FinishReason::kCancelled);
    EXPECT_TRUE(finder.Find(step, {.tokens = tokens, .logits = logits})[22].top.empty());
  }
}

TEST(LogprobFinder, PromptsHaveFewRowsOfALargeVocabulary) {
  EXPECT_LE(LogprobFinder::PromptRowsOfStep(128256), 65); // 8 threads of 8 rows
  EXPECT_GE(LogprobFinder::PromptRowsOfStep(128256), 8);
  EXPECT_EQ(LogprobFinder::PromptRowsOfStep(int64_t{1} << 40), 1);
}

} // namespace
} // namespace inlay
