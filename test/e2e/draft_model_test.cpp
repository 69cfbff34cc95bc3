// With a draft model, the generated tokens are the same as without, whether its draft tokens are accepted or rejected.
#include "test/e2e/engine_testing.h"
#include "test/e2e/faulty_device.h"

#include "gmock/gmock.h"

#include <future>
#include <thread>

namespace inlay {
namespace {

using ::testing::HasSubstr;

// Uses the example model as its own draft model.
EngineOptions Drafting(int32_t tokens) {
  EngineOptions options;
  options.speculative_model = INLAY_TEST_BUNDLE;
  options.num_speculative_tokens = tokens;
  return options;
}

// Changes the sampled tokens of every third step.
class WrongDevice : public FaultyDevice {
public:
  using FaultyDevice::FaultyDevice;
  absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) override {
    absl::StatusOr<EventId> event = FaultyDevice::RecordEvent(copy);
    auto *tokens = static_cast<int32_t *>(copy.to);
    if (event.ok() && *event % 3 == 0)
      for (uint64_t i = 0; i < copy.bytes / sizeof(int32_t); ++i)
        tokens[i] = (tokens[i] + 1) % 2048;
    return event;
  }
};

// Wraps the device of the draft model, which is opened first, in a device of this type.
template <class DraftDevice> DeviceWrapper OfTheDraft(Faults &faults) {
  return [&faults, opened = std::make_shared<int>(0)](std::unique_ptr<Device> real) -> std::unique_ptr<Device> {
    if ((*opened)++ > 0)
      return real;
    return std::make_unique<DraftDevice>(std::move(real), faults);
  };
}

SamplingParams Sampled(uint32_t seed, int32_t tokens) {
  SamplingParams sampling = Greedy(tokens);
  sampling.temperature = 0.9f;
  sampling.top_p = 0.95f;
  sampling.seed = seed;
  return sampling;
}

TEST(DraftModel, AModelGuessesItselfAndIsRightGreedyOrNot) {
  std::unique_ptr<Engine> engine = Load(Drafting(4)), plain = Load();
  for (const SamplingParams &sampling : {Greedy(50), Sampled(3, 50)}) {
    EngineStats before = engine->Stats(), plain_before = plain->Stats();
    ExpectEqual(OneByOne(*engine, sampling), OneByOne(*plain, sampling));
    EngineStats after = engine->Stats();
    EXPECT_GT(after.draft_tokens, before.draft_tokens);
    EXPECT_EQ(after.accepted_draft_tokens - before.accepted_draft_tokens, after.draft_tokens - before.draft_tokens);
    EXPECT_LT(3 * (after.steps - before.steps), plain->Stats().steps - plain_before.steps);
  }
  ExpectEqual(AllAtOnce(*engine, Greedy(50)), AllAtOnce(*plain, Greedy(50)));
}

TEST(DraftModel, WrongGuessesAreSeenInTheStepsAlone) {
  Faults faults;
  std::unique_ptr<Engine> engine = Load(Drafting(3), OfTheDraft<WrongDevice>(faults)), plain = Load();
  ExpectEqual(AllAtOnce(*engine, Greedy(60)), AllAtOnce(*plain, Greedy(60)));
  // Each seed gives the same tokens as without a draft model, so the distribution is the same too.
  for (uint32_t seed = 0; seed < Rounds(60u, 12u); ++seed)
    EXPECT_EQ(Finish(*Submit(*engine, kPrompts[1], Sampled(seed, 8))).tokens,
              Finish(*Submit(*plain, kPrompts[1], Sampled(seed, 8))).tokens)
        << seed;
  EXPECT_GT(engine->Stats().accepted_draft_tokens, 0);
  EXPECT_LT(engine->Stats().accepted_draft_tokens, engine->Stats().draft_tokens);
}

TEST(DraftModel, FewPagesOnBothSidesAndCancelledRequestsChangeNothing) {
  std::vector<Answer> expected = OneByOne(*Load(), Greedy(60));
  for (const char *mode : {"recompute", "swap"}) {
    EngineOptions options = Drafting(3);
    options.target = "cpu";
    options.kv_cache_bytes = 15 * Engine::Plan(INLAY_TEST_BUNDLE, options)->bytes_per_page;
    options.preemption_mode = mode;
    Faults faults;
    std::unique_ptr<Engine> engine = Load(options, OfTheDraft<WrongDevice>(faults));
    std::unique_ptr<RequestHandle> cancelled = Submit(*engine, kPrompts[2], Greedy(150));
    cancelled->Next();
    std::vector<std::unique_ptr<RequestHandle>> handles;
    for (const std::string &prompt : kPrompts)
      handles.push_back(Submit(*engine, prompt, Greedy(60)));
    for (int i = 0; i < 20; ++i)
      cancelled->Next();
    cancelled.reset();
    for (size_t i = 0; i < handles.size(); ++i)
      EXPECT_TRUE(Finish(*handles[i]) == expected[i]) << kPrompts[i];
    EXPECT_GT(engine->Stats().preemptions, 0) << "the pages were enough, so the test has no preempted sequence";
    for (int i = 0; i < 500 && engine->Stats().running > 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(engine->Stats().free_pages, engine->Stats().total_pages);
  }
}

TEST(DraftModel, OneThatFailsGuessesNoMoreAndSaysSo) {
  Faults faults;
  faults.run = [](int64_t step, const StepSizes &) { return step == 6; };
  ::testing::internal::CaptureStderr();
  {
    std::unique_ptr<Engine> engine = Load(Drafting(3), OfTheDraft<FaultyDevice>(faults));
    ExpectEqual(AllAtOnce(*engine, Greedy(40)), AllAtOnce(*Load(), Greedy(40)));
    EXPECT_TRUE(engine->Stats().health.ok());
  }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("speculative decoding is off from now on: injected: a kernel failed"));
}

TEST(DraftModel, OneThatDoesNotAnswerIsNoticed) {
  std::promise<void> answers;
  std::atomic<bool> hangs{false};
  Faults faults;
  faults.run = [&, answer = answers.get_future().share()](int64_t, const StepSizes &) {
    if (hangs)
      answer.wait();
    return false;
  };
  EngineOptions options = Drafting(2);
  options.watchdog_seconds = 0.4;
  ::testing::internal::CaptureStderr();
  std::unique_ptr<Engine> engine = Load(options, OfTheDraft<FaultyDevice>(faults));
  std::unique_ptr<RequestHandle> handle = Submit(*engine, kPrompts[1], Greedy(500));
  handle->Next();
  hangs = true;
  while (handle->Next()) {
  }
  EXPECT_THAT(std::string(handle->status().message()), HasSubstr("the device does not answer"));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr(R"("phase":"draft")"));
  answers.set_value();
}

TEST(DraftModel, APlanCountsItsMemory) {
  EngineOptions options = Drafting(2);
  options.target = "cpu";
  EngineOptions plain = options;
  plain.speculative_model.clear();
  plain.num_speculative_tokens = 0;
  absl::StatusOr<MemoryPlan> alone = Engine::Plan(INLAY_TEST_BUNDLE, plain),
                             both = Engine::Plan(INLAY_TEST_BUNDLE, options);
  ASSERT_TRUE(alone.ok() && both.ok()) << alone.status() << both.status();
  EXPECT_EQ(alone->draft_bytes, 0u);
  // The model is its own draft model, so all memory is needed twice, including pages for the same number of tokens.
  EXPECT_EQ(both->kv_cache_tokens, alone->kv_cache_tokens);
  EXPECT_EQ(both->draft_bytes,
            alone->weights_bytes + alone->workspace_bytes + alone->buffers_bytes + alone->kv_cache_bytes);
  EXPECT_THAT(both->explanation, HasSubstr("draft model"));
  EXPECT_EQ(both->total_pages, Load(options)->Stats().total_pages);
  // The memory suffices for one model and half of the other.
  options.gpu_memory_utilization =
      1.5 * static_cast<double>(alone->weights_bytes + alone->workspace_bytes + alone->buffers_bytes) /
      static_cast<double>(alone->free_bytes);
  EXPECT_THAT(std::string(Engine::Plan(INLAY_TEST_BUNDLE, options).status().message()),
              HasSubstr("leave out --speculative-model"));
}

TEST(DraftModel, PromptsDelayAStepByOneOfTheDraftsAtMost) {
  // Rows that the draft model computed since the last step of the target, and their maximum.
  struct {
    int64_t rows = 0, most = 0;
  } draft;
  Faults of_draft, of_target;
  of_draft.run = [&](int64_t, const StepSizes &sizes) {
    draft.rows += sizes[plan::Extent_Tokens];
    draft.most = std::max(draft.most, draft.rows);
    return false;
  };
  of_target.run = [&](int64_t, const StepSizes &) {
    draft.rows = 0;
    return false;
  };
  EngineOptions options = Drafting(2);
  options.max_num_batched_tokens = 40;
  std::unique_ptr<Engine> engine = Load(options, [&, opened = 0](std::unique_ptr<Device> real) mutable {
    return std::make_unique<FaultyDevice>(std::move(real), opened++ == 0 ? of_draft : of_target);
  });
  ExpectEqual(AllAtOnce(*engine, Greedy(40)), AllAtOnce(*Load(), Greedy(40)));
  // 40 rows of prompts, and one more draft token for each of the five sequences.
  EXPECT_LE(draft.most, 40 + 5);
  EXPECT_GT(engine->Stats().accepted_draft_tokens, 0);
}

TEST(DraftModel, NeedsANumberOfTokens) {
  EngineOptions options = Drafting(0);
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_BUNDLE, options).status().message()),
              HasSubstr("--speculative-model needs --num-speculative-tokens"));
}

} // namespace
} // namespace inlay
