// The output of a request must not depend on the scheduler: on prefix caching, preemption, planning ahead, page sharing
// or failures of other requests. The invariants of the pages are checked after each step.
#include "test/e2e/engine_testing.h"
#include "test/e2e/faulty_device.h"

#include "gmock/gmock.h"

#include <algorithm>
#include <thread>

namespace inlay {
namespace {

using ::testing::HasSubstr;

DeviceWrapper With(Faults &faults) {
  return [&faults](std::unique_ptr<Device> real) { return std::make_unique<FaultyDevice>(std::move(real), faults); };
}

TEST(EngineProperties, PlanningAheadGivesTheSameBits) {
  EngineOptions ahead;
  ahead.async_scheduling = true;
  std::unique_ptr<Engine> engine = Load(ahead);
  ExpectEqual(AllAtOnce(*engine, Greedy(24)), OneByOne(*Load(), Greedy(24)));
  // Sequences of different lengths. The one with a penalty needs the tokens of the previous step on the host.
  SamplingParams sampled = Greedy(20);
  sampled.temperature = 0.8f;
  sampled.seed = 3;
  std::vector<std::unique_ptr<RequestHandle>> handles;
  std::vector<Answer> expected;
  std::unique_ptr<Engine> plain = Load();
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    sampled.max_tokens = 5 + 7 * static_cast<int32_t>(i);
    sampled.repetition_penalty = i == 2 ? 1.3f : 1.0f;
    handles.push_back(Submit(*engine, kPrompts[i], sampled));
    expected.push_back(Finish(*Submit(*plain, kPrompts[i], sampled)));
  }
  for (size_t i = 0; i < handles.size(); ++i)
    EXPECT_TRUE(Finish(*handles[i]) == expected[i]) << kPrompts[i];
  ExpectNoPagesLost(*engine);
}

TEST(EngineProperties, PlanningAheadStopsWhereATextStops) {
  EngineOptions ahead;
  ahead.async_scheduling = true;
  std::unique_ptr<Engine> engine = Load(ahead);
  std::string whole = Finish(*Submit(*engine, kPrompts[1], Greedy(32))).text;
  SamplingParams sampling = Greedy(32);
  sampling.stop = {whole.substr(10, 6)};
  Answer answer = Finish(*Submit(*engine, kPrompts[1], sampling));
  EXPECT_EQ(answer.text, whole.substr(0, whole.find(sampling.stop[0])));
  EXPECT_EQ(answer.reason, FinishReason::kStop);
}

TEST(EngineProperties, ReusedPrefixesGiveTheSameBits) { ExpectReusedPrefixesGiveTheSameBits(); }

TEST(EngineProperties, PrefixesAreSharedWithinASaltAndNotByThoseWhoOptOut) {
  std::unique_ptr<Engine> engine = Load();
  auto cached = [&](const std::string &salt, bool enable) {
    Request request;
    request.prompt = LongPrompt();
    request.sampling = Greedy(2);
    request.cache_salt = salt;
    request.enable_prefix_caching = enable;
    std::unique_ptr<RequestHandle> handle = *engine->Submit(request);
    Finish(*handle);
    return handle->cached_prompt_tokens();
  };
  EXPECT_EQ(cached("", false), 0);
  EXPECT_EQ(cached("", true), 0) << "what a request that opted out computed was found";
  EXPECT_GT(cached("", true), 0);
  EXPECT_EQ(cached("a", true), 0);
  EXPECT_GT(cached("a", true), 0);
  EXPECT_EQ(cached("a", false), 0);
}

TEST(EngineProperties, GuessedTokensGiveTheSameBitsInFewerSteps) {
  std::unique_ptr<Engine> plain = Load(), engine = ExpectGuessedTokensGiveTheSameBits(*plain);
  EXPECT_LT(engine->Stats().accepted_draft_tokens, engine->Stats().draft_tokens);
  EXPECT_LT(engine->Stats().steps, plain->Stats().steps);
  ExpectEqual(AllAtOnce(*engine, Greedy(100)), AllAtOnce(*plain, Greedy(100)));
  // The noise of a position depends on the seed only, so sampled tokens are the same too. Sequences with penalties have
  // no draft tokens.
  for (float penalty : {1.0f, 1.3f}) {
    SamplingParams sampled = Greedy(80);
    sampled.temperature = 0.5f;
    sampled.seed = 11;
    sampled.repetition_penalty = penalty;
    sampled.stop = {"self.name"};
    ExpectEqual(AllAtOnce(*engine, sampled), AllAtOnce(*plain, sampled));
  }
  ExpectNoPagesLost(*engine);
  EngineOptions wrong;
  wrong.num_speculative_tokens = 5;
  wrong.async_scheduling = true;
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_BUNDLE, wrong).status().message()), HasSubstr("remove one of them"));
}

TEST(EngineProperties, BiasStaysWithItsRequestBesideGuesses) {
  EngineOptions guessing;
  guessing.num_speculative_tokens = 5;
  std::unique_ptr<Engine> engine = Load(guessing), plain = Load();
  SamplingParams forced = Greedy(40);
  forced.logit_bias[77] = 100;
  std::vector<std::unique_ptr<RequestHandle>> handles;
  std::vector<Answer> expected;
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    const SamplingParams sampling = i % 2 ? forced : Greedy(100);
    handles.push_back(Submit(*engine, kPrompts[i], sampling));
    expected.push_back(Finish(*Submit(*plain, kPrompts[i], sampling)));
  }
  for (size_t i = 0; i < handles.size(); ++i)
    EXPECT_TRUE(Finish(*handles[i]) == expected[i]) << kPrompts[i];
  EXPECT_GT(engine->Stats().accepted_draft_tokens, 0);
}

TEST(EngineProperties, GuessesTakeNoPagesFromOthers) {
  EngineOptions guessing = FewPages(16);
  guessing.num_speculative_tokens = 5;
  std::unique_ptr<Engine> engine = Load(guessing);
  ExpectEqual(AllAtOnce(*engine, Greedy(100)), OneByOne(*Load(), Greedy(100)));
  EXPECT_GT(engine->Stats().preemptions, 0);
  ExpectNoPagesLost(*engine);
}

TEST(EngineProperties, PreemptedRequestsGiveTheSameBits) {
  const std::vector<Answer> alone = OneByOne(*Load(), Greedy(60));
  for (bool ahead : {false, true})
    for (bool reuse : {false, true}) {
      EngineOptions options = FewPages(14);
      options.async_scheduling = ahead;
      options.enable_prefix_caching = reuse;
      ExpectPreemptionGivesTheSameBits(options, alone);
    }
}

TEST(EngineProperties, OffloadedRequestsGiveTheSameBits) {
  const std::vector<Answer> alone = OneByOne(*Load(), Greedy(60));
  // Host memory for all preempted pages, and for some of them only; the others are computed again.
  for (uint64_t host_pages : {40, 5})
    for (bool ahead : {false, true})
      for (bool reuse : {false, true}) {
        EngineOptions options = Swapping(FewPages(14), host_pages, 14);
        options.async_scheduling = ahead;
        options.enable_prefix_caching = reuse;
        EngineStats stats = ExpectPreemptionGivesTheSameBits(options, alone);
        EXPECT_LE(stats.swapped_in_pages, stats.swapped_out_pages);
        if (!reuse) {
          EXPECT_EQ(stats.swapped_in_pages, stats.swapped_out_pages);
        }
      }
  EngineOptions little;
  little.target = "cpu";
  little.preemption_mode = "swap";
  little.swap_space_bytes = 1;
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_BUNDLE, little).status().message()),
              HasSubstr("--swap-space is 1 bytes, but one KV page needs"));
}

// Sampled requests, one that is cancelled while pages of others are in host memory, and a step that fails.
TEST(EngineProperties, OffloadedPagesSurviveFailuresAndCancels) {
  SamplingParams sampling = Greedy(50);
  sampling.temperature = 0.8f;
  sampling.seed = 4;
  std::vector<Answer> expected = OneByOne(*Load(), sampling);
  int64_t offloaded = 0;
  for (bool ahead : {false, true})
    for (int64_t failing = ahead ? 20 : 27; failing < 90; failing += Rounds(14, 28)) {
      Faults faults;
      if (ahead)
        faults.wait = [=](int64_t event) { return event == failing; };
      else
        faults.run = [=](int64_t step, const StepSizes &) { return step == failing; };
      EngineOptions options = FewPages(14);
      options.preemption_mode = "swap";
      options.async_scheduling = ahead;
      options.enable_prefix_caching = false;
      std::unique_ptr<Engine> engine = Load(options, With(faults));
      std::unique_ptr<RequestHandle> cancelled = Submit(*engine, kPrompts[4], Greedy(100));
      cancelled->Next();
      std::vector<std::unique_ptr<RequestHandle>> handles;
      for (const std::string &prompt : kPrompts)
        handles.push_back(Submit(*engine, prompt, sampling));
      for (int i = 0; i < 20; ++i)
        cancelled->Next();
      cancelled.reset();
      for (size_t i = 0; i < handles.size(); ++i)
        EXPECT_TRUE(Finish(*handles[i]) == expected[i]) << kPrompts[i];
      offloaded += engine->Stats().swapped_out_pages;
      ExpectNoPagesLost(*engine);
    }
  EXPECT_GT(offloaded, 0);
}

TEST(EngineProperties, NSequencesAreNRequests) {
  SamplingParams one = Greedy(16);
  one.temperature = 0.9f;
  one.seed = 11;
  SamplingParams many = one;
  many.n = 4;
  for (bool ahead : {false, true}) {
    EngineOptions options;
    options.async_scheduling = ahead;
    std::unique_ptr<Engine> engine = Load(options), plain = Load();
    for (const std::string &prompt : kPrompts) {
      std::unique_ptr<RequestHandle> handle = Submit(*engine, prompt, many);
      std::vector<Answer> found(4);
      while (std::optional<Piece> piece = handle->Next()) {
        Answer &answer = found[static_cast<size_t>(piece->index)];
        answer.tokens.push_back(piece->token_id);
        answer.logits.push_back(std::move(piece->logits));
      }
      for (uint32_t i = 0; i < 4; ++i) {
        one.seed = 11 + i;
        EXPECT_TRUE(found[i] == Finish(*Submit(*plain, prompt, one))) << prompt << i;
        EXPECT_EQ(handle->finish_reason(static_cast<int32_t>(i)), FinishReason::kLength);
      }
    }
    ExpectNoPagesLost(*engine);
  }
}

TEST(EngineProperties, BestOfReturnsTheLikeliest) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams one = Greedy(8);
  one.temperature = 1.2f;
  one.logprobs = 0;
  std::vector<std::pair<double, std::vector<int32_t>>> answers;
  for (uint32_t seed = 5; seed < 9; ++seed) {
    one.seed = seed;
    std::unique_ptr<RequestHandle> handle = Submit(*engine, kPrompts[3], one);
    answers.emplace_back();
    while (std::optional<Piece> piece = handle->Next()) {
      answers.back().first -= static_cast<double>(piece->logprob);
      answers.back().second.push_back(piece->token_id);
    }
  }
  std::ranges::sort(answers);
  SamplingParams best = one;
  best.seed = 5;
  best.best_of = 4;
  EXPECT_EQ(Finish(*Submit(*engine, kPrompts[3], best)).tokens, answers.front().second);
}

TEST(EngineProperties, BiasForbidsAndForces) {
  for (bool ahead : {false, true}) {
    EngineOptions options;
    options.async_scheduling = ahead;
    std::unique_ptr<Engine> engine = Load(options);
    Answer plain = Finish(*Submit(*engine, kPrompts[1], Greedy(8)));
    SamplingParams forced = Greedy(8), forbidden = Greedy(8);
    forced.logit_bias[77] = 100;
    for (int32_t id : plain.tokens)
      forbidden.logit_bias[id] = -100;
    std::unique_ptr<RequestHandle> beside = Submit(*engine, kPrompts[1], Greedy(8));
    EXPECT_EQ(Finish(*Submit(*engine, kPrompts[1], forced)).tokens, std::vector<int32_t>(8, 77));
    for (int32_t id : Finish(*Submit(*engine, kPrompts[1], forbidden)).tokens)
      EXPECT_EQ(std::ranges::count(plain.tokens, id), 0) << id;
    EXPECT_TRUE(Finish(*beside) == plain);
  }
}

TEST(EngineProperties, NothingEndsBeforeMinTokens) {
  for (bool ahead : {false, true}) {
    EngineOptions options;
    options.async_scheduling = ahead;
    std::unique_ptr<Engine> engine = Load(options);
    SamplingParams sampling = Greedy(16);
    sampling.stop_token_ids = {Finish(*Submit(*engine, kPrompts[1], Greedy(16))).tokens[2]};
    EXPECT_EQ(Finish(*Submit(*engine, kPrompts[1], sampling)).tokens.size(), 3u);
    sampling.min_tokens = 9;
    Answer answer = Finish(*Submit(*engine, kPrompts[1], sampling));
    EXPECT_GE(answer.tokens.size(), 9u);
    for (size_t i = 0; i < 9; ++i)
      EXPECT_NE(answer.tokens[i], sampling.stop_token_ids[0]);
  }
}

TEST(EngineProperties, PrioritiesRunEarlier) {
  EngineOptions options;
  options.scheduling_policy = "priority";
  options.max_num_seqs = 1;
  std::unique_ptr<Engine> engine = Load(options);
  std::unique_ptr<RequestHandle> first = Submit(*engine, kPrompts[0], Greedy(200));
  first->Next();
  auto submit = [&](int32_t priority) {
    Request request;
    request.prompt = kPrompts[1];
    request.sampling = Greedy(4);
    request.priority = priority;
    return *engine->Submit(request);
  };
  std::unique_ptr<RequestHandle> late = submit(5), early = submit(-5);
  Finish(*late);
  Finish(*early);
  EXPECT_LT(*early->timings().first_token, *late->timings().first_token);
}

TEST(EngineFaults, AFailedStepIsRunAgainAndNobodySeesIt) {
  std::vector<Answer> expected = OneByOne(*Load(), Greedy(12));
  for (bool ahead : {false, true})
    for (int64_t failing = 1; failing <= 14; failing += Rounds(1, 3)) {
      Faults faults;
      faults.run = [=](int64_t step, const StepSizes &) { return step == failing; };
      EngineOptions options;
      options.async_scheduling = ahead;
      options.num_speculative_tokens = ahead ? 0 : 4;
      std::unique_ptr<Engine> engine = Load(options, With(faults));
      ExpectEqual(AllAtOnce(*engine, Greedy(12)), expected);
      ExpectNoPagesLost(*engine);
    }
}

TEST(EngineFaults, AStepThatFailsWhileTheNextIsPlannedIsRunAgainToo) {
  std::vector<Answer> expected = OneByOne(*Load(), Greedy(12));
  for (bool ahead : {false, true})
    for (int64_t failing = 1; failing <= 14; failing += Rounds(1, 3)) {
      Faults faults;
      faults.wait = [=](int64_t event) { return event == failing; };
      EngineOptions options;
      options.async_scheduling = ahead;
      std::unique_ptr<Engine> engine = Load(options, With(faults));
      ExpectEqual(AllAtOnce(*engine, Greedy(12)), expected);
      ExpectNoPagesLost(*engine);
    }
}

// If the steps of one request fail, the other requests still complete.
TEST(EngineFaults, ARequestWhoseRowsFailEndsAlone) {
  Answer expected = Finish(*Submit(*Load(), kPrompts[1], Greedy(30)));
  Faults faults;
  // Only the request that must fail has penalties.
  faults.run = [](int64_t, const StepSizes &sizes) { return sizes[plan::Extent_PenaltyEntries] > 0; };
  std::unique_ptr<Engine> engine = Load({}, With(faults));
  std::unique_ptr<RequestHandle> good = Submit(*engine, kPrompts[1], Greedy(30));
  SamplingParams penalised = Greedy(30);
  penalised.presence_penalty = 1;
  std::unique_ptr<RequestHandle> bad = Submit(*engine, kPrompts[2], penalised);
  while (bad->Next()) {
  }
  EXPECT_EQ(bad->finish_reason(), FinishReason::kError);
  EXPECT_THAT(std::string(bad->status().message()), HasSubstr("injected: a kernel failed"));
  EXPECT_TRUE(Finish(*good) == expected);
  EXPECT_TRUE(engine->Stats().health.ok()) << engine->Stats().health;
  ExpectNoPagesLost(*engine);
}

TEST(EngineFaults, ADeviceThatAlwaysFailsEndsTheEngineWithTheReason) {
  Faults faults;
  faults.run = [](int64_t step, const StepSizes &) { return step > 3; };
  std::unique_ptr<Engine> engine = Load({}, With(faults));
  absl::Status refused;
  for (int i = 0; i < 5 && refused.ok(); ++i) {
    Request request;
    request.prompt = kPrompts[3];
    request.sampling = Greedy(20);
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine->Submit(request);
    refused = handle.status();
    if (!handle.ok())
      continue;
    while ((*handle)->Next()) {
    }
    EXPECT_EQ((*handle)->finish_reason(), FinishReason::kError);
  }
  EXPECT_THAT(std::string(refused.message()), HasSubstr("injected: a kernel failed"));
  EXPECT_FALSE(engine->Stats().health.ok());
}

TEST(EngineFaults, EachAllocationThatFailsIsNamed) {
  int64_t allocations = 0;
  Faults counting;
  counting.allocate = [&](uint64_t) { return ++allocations < 0; };
  Load({}, With(counting));
  ASSERT_GT(allocations, 5);
  for (int64_t failing = 1; failing <= allocations; ++failing) {
    Faults faults;
    int64_t count = 0;
    faults.allocate = [&](uint64_t) { return ++count == failing; };
    EngineOptions options;
    options.target = "cpu";
    absl::StatusOr<std::unique_ptr<Engine>> engine = LoadEngine(INLAY_TEST_BUNDLE, options, With(faults), true);
    ASSERT_FALSE(engine.ok());
    EXPECT_THAT(std::string(engine.status().message()), HasSubstr("injected: no memory for"));
  }
}

TEST(EngineRequests, ADeadlineThatPassesEndsTheRequest) {
  std::unique_ptr<Engine> engine = Load();
  Request request;
  request.prompt = kPrompts[1];
  request.sampling = Greedy(900);
  request.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(30);
  std::unique_ptr<RequestHandle> handle = *engine->Submit(request);
  while (handle->Next()) {
  }
  EXPECT_EQ(handle->status().code(), absl::StatusCode::kDeadlineExceeded);
  ExpectNoPagesLost(*engine);
}

TEST(EngineRequests, AFullQueueRefusesAndAnEngineThatShutsDownToo) {
  EngineOptions options;
  options.max_num_seqs = 1;
  options.max_waiting = 1;
  std::unique_ptr<Engine> engine = Load(options);
  std::unique_ptr<RequestHandle> running = Submit(*engine, kPrompts[1], Greedy(900));
  running->Next();
  std::unique_ptr<RequestHandle> waiting = Submit(*engine, kPrompts[1], Greedy(2));
  Request request;
  request.prompt = "x";
  EXPECT_EQ(engine->Submit(request).status().code(), absl::StatusCode::kResourceExhausted);
  running->Cancel();
  EXPECT_TRUE(engine->Shutdown(std::chrono::steady_clock::now() + std::chrono::seconds(10)).ok());
  EXPECT_EQ(waiting->finish_reason(), FinishReason::kLength);
  EXPECT_EQ(engine->Submit(request).status().code(), absl::StatusCode::kUnavailable);
}

TEST(EnginePlan, SaysWhatFitsAsLoadThenFinds) {
  EngineOptions options;
  options.target = "cpu";
  options.max_num_seqs = 3;
  absl::StatusOr<MemoryPlan> plan = Engine::Plan(INLAY_TEST_BUNDLE, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EngineStats stats = Load(options)->Stats();
  EXPECT_EQ(plan->total_pages, stats.total_pages);
  EXPECT_EQ(plan->weights_bytes, stats.weights_bytes);
  EXPECT_EQ(plan->full_length_sequences, 3);
  EXPECT_THAT(plan->explanation, HasSubstr("limited by all sequences at full length"));
}

} // namespace
} // namespace inlay
