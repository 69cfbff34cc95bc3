// A model whose layers have windows or none: pages outside the windows are freed, and the output of a request does not
// depend on prefix caching, preemption, offload, draft tokens or failures of steps.
#include "test/e2e/engine_testing.h"
#include "test/e2e/faulty_device.h"

#include "gmock/gmock.h"

#include <thread>

namespace inlay {
namespace {

using ::testing::HasSubstr;

// Of the bundle: the first layer has no window, each of the other three is a cache group with a window of 20 positions.
constexpr int32_t kGroups = 4, kPageSize = 16;

// Small steps, so that prompts have several chunks.
EngineOptions SmallSteps() {
  EngineOptions options;
  options.target = "cpu";
  options.max_num_batched_tokens = 32;
  return options;
}

EngineOptions FewPagesAndSmallSteps(uint64_t pages) {
  EngineOptions options = SmallSteps();
  options.kv_cache_bytes = pages * Engine::Plan(INLAY_TEST_BUNDLE, options)->bytes_per_page;
  return options;
}

TEST(EngineWindows, ALongSequenceHoldsFewPages) {
  EngineOptions options = SmallSteps();
  options.max_num_seqs = 1;
  options.enable_prefix_caching = false;
  std::unique_ptr<Engine> engine = Load(options);
  std::unique_ptr<RequestHandle> handle = Submit(*engine, LongPrompt(), Greedy(400));
  auto positions = static_cast<int32_t>(handle->prompt_token_ids().size());
  int32_t most = 0;
  while (handle->Next()) {
    EngineStats stats = engine->Stats();
    if (stats.running > 0)
      most = std::max(most, stats.total_pages - stats.free_pages);
    ++positions;
  }
  // A window of 20 positions lies on at most 3 pages, with the rows of the steps in flight.
  int32_t full = (positions + kPageSize - 1) / kPageSize;
  EXPECT_GT(full, 30);
  EXPECT_GE(most, full - 1 + 2 * (kGroups - 1));
  EXPECT_LE(most, full + 3 * (kGroups - 1));
  ExpectNoPagesLost(*engine);
}

TEST(EngineWindows, ThePlanCountsWhatIsFreed) {
  EngineOptions options = SmallSteps();
  options.max_num_seqs = 3;
  absl::StatusOr<MemoryPlan> plan = Engine::Plan(INLAY_TEST_BUNDLE, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  // 1,024 positions are 64 pages of the group without a window. In each of the others a sequence holds 3, and the rows
  // of two steps are on 4.
  EXPECT_EQ(plan->total_pages, 3 * (64 + 3 * 3) + 3 * 4);
  EXPECT_EQ(plan->full_length_sequences, 3);
  EXPECT_EQ(plan->kv_cache_tokens, plan->total_pages * 1024 / 73);
  EXPECT_THAT(plan->explanation, HasSubstr("limited by all sequences at full length"));
  EXPECT_EQ(plan->total_pages, Load(options)->Stats().total_pages);
  // Less memory than for one sequence of that length without windows.
  options.kv_cache_bytes = 100 * plan->bytes_per_page;
  plan = Engine::Plan(INLAY_TEST_BUNDLE, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->total_pages, 100);
  EXPECT_EQ(plan->full_length_sequences, 1);
  EXPECT_EQ(Finish(*Submit(*Load(options), LongPrompt(), Greedy(500))).tokens.size(), 500u);
}

TEST(EngineWindows, ARequestThatNeverFitsIsRefused) {
  std::unique_ptr<Engine> engine = Load(FewPagesAndSmallSteps(40));
  Request request;
  request.prompt = "x";
  request.sampling = Greedy(900);
  EXPECT_THAT(std::string(engine->Submit(request).status().message()),
              HasSubstr("KV pages for its prompt and max_tokens, but the KV cache has 40"));
}

TEST(EngineWindows, StepsOfOtherSizesAndOthersBesideGiveTheSameBits) {
  std::vector<Answer> expected = OneByOne(*Load(), Greedy(60));
  ExpectEqual(AllAtOnce(*Load(), Greedy(60)), expected);
  for (bool ahead : {false, true}) {
    EngineOptions options = SmallSteps();
    options.async_scheduling = ahead;
    std::unique_ptr<Engine> engine = Load(options);
    ExpectEqual(AllAtOnce(*engine, Greedy(60)), expected);
    ExpectNoPagesLost(*engine);
  }
}

TEST(EngineWindows, ReusedPrefixesGiveTheSameBits) {
  EngineOptions without = SmallSteps();
  without.enable_prefix_caching = false;
  // With enough pages, and with so few that pages of prefixes are evicted.
  for (const EngineOptions &options : {SmallSteps(), FewPagesAndSmallSteps(60)}) {
    std::unique_ptr<Engine> reusing = Load(options), plain = Load(without);
    std::string prompt = LongPrompt();
    for (const std::string &text : {prompt + "x", prompt + "def f():", prompt + "x", prompt.substr(0, 300), kPrompts[4],
                                    prompt.substr(0, 301), prompt + "x"}) {
      Answer expected = Finish(*Submit(*plain, text, Greedy(12)));
      EXPECT_TRUE(Finish(*Submit(*reusing, text, Greedy(12))) == expected) << text;
    }
    EXPECT_GT(reusing->Stats().prefix_cache_hits, 0);
    ExpectNoPagesLost(*reusing);
  }
}

TEST(EngineWindows, PreemptedAndOffloadedRequestsGiveTheSameBits) {
  const std::vector<Answer> alone = OneByOne(*Load(), Greedy(60));
  for (bool swap : {false, true})
    for (bool ahead : {false, true})
      for (bool reuse : {false, true}) {
        EngineOptions options = FewPagesAndSmallSteps(40);
        if (swap)
          options = Swapping(options, 50, 40);
        options.async_scheduling = ahead;
        options.enable_prefix_caching = reuse;
        ExpectPreemptionGivesTheSameBits(options, alone);
      }
}

TEST(EngineWindows, DraftTokensGiveTheSameBits) {
  EngineOptions of_ngrams = SmallSteps(), of_a_model = SmallSteps();
  of_ngrams.num_speculative_tokens = of_a_model.num_speculative_tokens = 4;
  of_a_model.speculative_model = INLAY_TEST_BUNDLE;
  std::vector<Answer> expected = OneByOne(*Load(), Greedy(80));
  for (EngineOptions options : {of_ngrams, of_a_model})
    for (int32_t pages : {0, 40}) {
      if (pages > 0)
        options.kv_cache_bytes = FewPagesAndSmallSteps(static_cast<uint64_t>(pages)).kv_cache_bytes;
      std::unique_ptr<Engine> engine = Load(options);
      ExpectEqual(AllAtOnce(*engine, Greedy(80)), expected);
      EXPECT_GT(engine->Stats().accepted_draft_tokens, 0);
      ExpectNoPagesLost(*engine);
    }
}

TEST(EngineWindows, NSequencesAreNRequests) {
  SamplingParams one = Greedy(30), many = one;
  one.temperature = many.temperature = 0.9f;
  many.n = 3;
  many.seed = 11;
  std::unique_ptr<Engine> engine = Load(SmallSteps()), plain = Load();
  for (const std::string &prompt : {kPrompts[0], kPrompts[2], LongPrompt()}) {
    std::unique_ptr<RequestHandle> handle = Submit(*engine, prompt, many);
    std::vector<Answer> found(3);
    while (std::optional<Piece> piece = handle->Next()) {
      Answer &answer = found[static_cast<size_t>(piece->index)];
      answer.tokens.push_back(piece->token_id);
      answer.logits.push_back(std::move(piece->logits));
    }
    for (uint32_t i = 0; i < 3; ++i) {
      one.seed = 11 + i;
      EXPECT_TRUE(found[i] == Finish(*Submit(*plain, prompt, one))) << prompt << i;
    }
  }
  ExpectNoPagesLost(*engine);
}

TEST(EngineWindows, AStepThatFailsIsRunAgain) {
  std::vector<Answer> expected = OneByOne(*Load(), Greedy(24));
  for (bool ahead : {false, true})
    for (int64_t failing = 2; failing <= 26; failing += 8) {
      Faults faults;
      if (ahead)
        faults.wait = [=](int64_t event) { return event == failing; };
      else
        faults.run = [=](int64_t step, const StepSizes &) { return step == failing; };
      EngineOptions options = FewPagesAndSmallSteps(40);
      options.preemption_mode = "swap";
      options.async_scheduling = ahead;
      std::unique_ptr<Engine> engine = Load(options, [&faults](std::unique_ptr<Device> real) {
        return std::make_unique<FaultyDevice>(std::move(real), faults);
      });
      ExpectEqual(AllAtOnce(*engine, Greedy(24)), expected);
      ExpectNoPagesLost(*engine);
    }
}

} // namespace
} // namespace inlay
