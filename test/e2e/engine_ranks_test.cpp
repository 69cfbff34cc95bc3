// Two ranks compute what one computes, whatever the scheduler does, and a rank that fails ends all requests.
// INLAY_TEST_BUNDLE and INLAY_TEST_RANKS_BUNDLE are the example model in float32 for one rank and for two.
#include "test/e2e/engine_testing.h"
#include "test/e2e/faulty_device.h"

#include "gmock/gmock.h"

#include <filesystem>
#include <future>
#include <stdexcept>

namespace inlay {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

std::unique_ptr<Engine> LoadRanks(const EngineOptions &options = {}, const DeviceWrapper &wrap = nullptr) {
  return Load(options, wrap, INLAY_TEST_RANKS_BUNDLE);
}

// Tokens are equal. Logits are sums in another order.
void ExpectSameTokens(const std::vector<Answer> &found, const std::vector<Answer> &expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].tokens, expected[i].tokens) << i << ": " << kPrompts[i];
    EXPECT_EQ(found[i].text, expected[i].text);
  }
}

SamplingParams Sampled(int32_t tokens) {
  SamplingParams sampling = Greedy(tokens);
  sampling.temperature = 0.8f;
  sampling.top_p = 0.9f;
  sampling.seed = 7;
  return sampling;
}

TEST(EngineRanks, GenerateTheTokensOfOneRank) {
  std::unique_ptr<Engine> engine = LoadRanks(), plain = Load();
  SamplingParams edited = Sampled(24);
  edited.repetition_penalty = 1.2f;
  edited.logit_bias = {{32, 4.0f}, {100, -10.0f}};
  edited.min_tokens = 4;
  for (const SamplingParams &sampling : {Greedy(32), Sampled(32), edited})
    ExpectSameTokens(AllAtOnce(*engine, sampling), AllAtOnce(*plain, sampling));
  EXPECT_EQ(engine->Stats().ranks, 2);
  EXPECT_EQ(plain->Stats().ranks, 1);
  ExpectNoPagesLost(*engine);
}

// The same bits in any batch, as with one rank.
TEST(EngineRanks, ResultsDoNotDependOnTheBatch) {
  std::unique_ptr<Engine> engine = LoadRanks();
  std::vector<Answer> alone = OneByOne(*engine, Sampled(8));
  ExpectEqual(AllAtOnce(*engine, Sampled(8)), alone);
  EngineOptions ahead;
  ahead.async_scheduling = true;
  ExpectEqual(AllAtOnce(*LoadRanks(ahead), Sampled(8)), alone);
}

TEST(EngineRanks, ReuseAndShareKeysAndValues) {
  std::unique_ptr<Engine> engine = LoadRanks();
  const std::string prompt = kPrompts[4] + kPrompts[2] + kPrompts[4];
  Answer first = Finish(*Submit(*engine, prompt, Greedy(12)));
  std::unique_ptr<RequestHandle> handle = Submit(*engine, prompt, Greedy(12));
  EXPECT_TRUE(Finish(*handle) == first);
  EXPECT_GT(handle->cached_prompt_tokens(), 0);
  // Sequences of one request share the pages of the prompt and copy the last one.
  SamplingParams several = Sampled(12);
  several.n = 3;
  auto texts = [&](Engine &from) {
    std::vector<std::vector<int32_t>> tokens(3);
    std::unique_ptr<RequestHandle> request = Submit(from, prompt, several);
    while (std::optional<Piece> piece = request->Next())
      tokens[static_cast<size_t>(piece->index)].push_back(piece->token_id);
    return tokens;
  };
  EXPECT_EQ(texts(*engine), texts(*Load()));
  ExpectNoPagesLost(*engine);
}

TEST(EngineRanks, PreemptedSequencesContinue) {
  std::vector<Answer> expected = AllAtOnce(*LoadRanks(), Greedy(40));
  for (const char *mode : {"recompute", "swap"}) {
    EngineOptions options = FewPages(14, INLAY_TEST_RANKS_BUNDLE);
    options.preemption_mode = mode;
    options.swap_space_bytes = uint64_t{64} << 20;
    std::unique_ptr<Engine> engine = LoadRanks(options);
    ExpectEqual(AllAtOnce(*engine, Greedy(40)), expected);
    EXPECT_GT(engine->Stats().preemptions, 0) << mode;
    EXPECT_EQ(engine->Stats().swapped_in_pages > 0, mode == std::string("swap"));
    ExpectNoPagesLost(*engine);
  }
}

TEST(EngineRanks, DraftTokensChangeNothing) {
  std::vector<Answer> expected = AllAtOnce(*LoadRanks(), Greedy(30));
  // Draft tokens of n-grams, of a model on one rank, and of one on two ranks.
  for (const char *draft : {"", INLAY_TEST_BUNDLE, INLAY_TEST_RANKS_BUNDLE}) {
    EngineOptions options;
    options.num_speculative_tokens = 3;
    options.speculative_model = draft;
    std::unique_ptr<Engine> engine = LoadRanks(options);
    ExpectEqual(AllAtOnce(*engine, Greedy(30)), expected);
    EXPECT_GT(engine->Stats().accepted_draft_tokens, 0) << draft;
  }
}

TEST(EngineRanks, GuidedTextIsThatOfOneRank) {
  SamplingParams sampling = Sampled(40);
  sampling.ignore_eos = false;
  sampling.guided.regex = "[a-z]{3,8}( = [0-9]{2,6}){1,3}";
  std::unique_ptr<Engine> engine = LoadRanks();
  ExpectSameTokens(AllAtOnce(*engine, sampling), AllAtOnce(*Load(), sampling));
}

TEST(EngineRanks, EachHasItsPartOfTheMemory) {
  EngineOptions options;
  options.target = "cpu";
  absl::StatusOr<MemoryPlan> whole = Engine::Plan(INLAY_TEST_BUNDLE, options),
                             part = Engine::Plan(INLAY_TEST_RANKS_BUNDLE, options);
  ASSERT_TRUE(whole.ok() && part.ok()) << part.status();
  EXPECT_EQ(part->ranks, 2);
  EXPECT_EQ(part->bytes_per_page * 2, whole->bytes_per_page);
  // The embedding and the norms are on all ranks.
  EXPECT_LT(part->weights_bytes, whole->weights_bytes);
  EXPECT_THAT(part->explanation, HasSubstr("each of 2 ranks on cpu"));
}

TEST(EngineRanks, OptionsThatDoNotFitAreNamed) {
  EngineOptions options;
  options.tensor_parallel_size = 4;
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
              HasSubstr("was compiled for 2; remove the option, or compile the model with --tensor-parallel-size 4"));
  options = {};
  options.distributed_timeout = 0;
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
              HasSubstr("--distributed-timeout is 0, expected seconds in (0, 1000000]"));
}

// --- Failures ----------------------------------------------------------------

int64_t ThreadsOfThisProcess() {
  auto all = std::filesystem::directory_iterator("/proc/self/task");
  return std::distance(begin(all), end(all));
}

// Wraps the device of one rank: devices are opened in the order of the ranks.
DeviceWrapper OfRank(uint32_t rank, Faults &faults) {
  return [rank, &faults, opened = std::make_shared<uint32_t>(0)](std::unique_ptr<Device> real) {
    return (*opened)++ == rank ? std::make_unique<FaultyDevice>(std::move(real), faults) : std::move(real);
  };
}

class RankFailures : public ::testing::TestWithParam<uint32_t> {
protected:
  static constexpr std::chrono::seconds kTimeout{2};

  // Runs requests until `fault`, which a rank does in a step, ends them all with one status. Returns it.
  absl::Status EndAll(const std::function<bool()> &fault, const std::function<void()> &release = {}) {
    const int64_t threads = ThreadsOfThisProcess();
    std::atomic<bool> is_on{false};
    Faults faults;
    faults.run = [&](int64_t, const StepSizes &) { return is_on && fault(); };
    EngineOptions options;
    options.distributed_timeout = std::chrono::duration<double>(kTimeout).count();
    std::unique_ptr<Engine> engine = LoadRanks(options, OfRank(GetParam(), faults));
    std::vector<std::unique_ptr<RequestHandle>> handles;
    for (const std::string &prompt : kPrompts)
      handles.push_back(Submit(*engine, prompt, Greedy(400)));
    for (auto &handle : handles)
      EXPECT_TRUE(handle->Next());
    is_on = true;
    auto begin = std::chrono::steady_clock::now();
    absl::Status first;
    for (auto &handle : handles) {
      while (handle->Next()) {
      }
      EXPECT_EQ(handle->finish_reason(), FinishReason::kError);
      if (first.ok())
        first = handle->status();
      EXPECT_EQ(handle->status(), first);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2 * kTimeout);
    EXPECT_EQ(engine->Stats().health, first);
    Request late;
    late.prompt = "x";
    EXPECT_EQ(engine->Submit(late).status(), first);
    engine.reset();
    if (release)
      release();
    // A rank that stalled goes on after the engine was destroyed. Then its threads end.
    for (int i = 0; i < 1000 && ThreadsOfThisProcess() > threads; ++i)
      std::this_thread::sleep_for(10ms);
    EXPECT_EQ(ThreadsOfThisProcess(), threads);
    return first;
  }

  std::string Name() const { return "rank " + std::to_string(GetParam()); }
};

TEST_P(RankFailures, AnErrorEndsAllRequests) {
  absl::Status status = EndAll([] { return true; });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(Name() + ": injected: a kernel failed; the engine cannot continue; restart the process"));
}

TEST_P(RankFailures, AnExceptionEndsAllRequests) {
  absl::Status status = EndAll([]() -> bool { throw std::runtime_error("out of luck"); });
  EXPECT_THAT(std::string(status.message()), HasSubstr(Name() + ": has thrown an exception: out of luck"));
}

TEST_P(RankFailures, AStallEndsAllRequests) {
  std::promise<void> answers;
  std::shared_future<void> answer = answers.get_future();
  ::testing::internal::CaptureStderr();
  absl::Status status = EndAll(
      [answer] {
        answer.wait();
        return false;
      },
      [&] { answers.set_value(); });
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(std::string(status.message()), HasSubstr("has waited 2 s (--distributed-timeout) in all_reduce of "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(" for " + Name() + " (step "));
  // The log says what each rank does.
  EXPECT_THAT(log, HasSubstr("inlay: " + Name() + " (step "));
  EXPECT_THAT(log, HasSubstr("call 0: computing"));
  EXPECT_THAT(log, HasSubstr("call 1: all_reduce of "));
}

INSTANTIATE_TEST_SUITE_P(Ranks, RankFailures, ::testing::Values(0u, 1u),
                         [](const auto &info) { return "Rank" + std::to_string(info.param); });

// The thread of rank 0 is the engine's.
TEST(EngineRanks, TheEndOfAThreadEndsAllRequests) {
  std::atomic<bool> is_on{false};
  Faults faults;
  faults.run = [&](int64_t, const StepSizes &) {
    if (is_on)
      pthread_exit(nullptr);
    return false;
  };
  std::unique_ptr<Engine> engine = LoadRanks({}, OfRank(1, faults));
  std::unique_ptr<RequestHandle> handle = Submit(*engine, kPrompts[1], Greedy(400));
  EXPECT_TRUE(handle->Next());
  is_on = true;
  while (handle->Next()) {
  }
  EXPECT_THAT(std::string(handle->status().message()), HasSubstr("the thread of rank 1 (step "));
}

TEST(EngineRanks, RanksThatSampleDifferentTokensEndAllRequests) {
  class WrongDevice : public FaultyDevice {
  public:
    using FaultyDevice::FaultyDevice;
    absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) override {
      absl::StatusOr<EventId> event = FaultyDevice::RecordEvent(copy);
      if (event.ok() && *event == 5 && copy.bytes > 0)
        ++*static_cast<int32_t *>(copy.to);
      return event;
    }
  };
  Faults faults;
  std::unique_ptr<Engine> engine =
      LoadRanks({}, [&, opened = std::make_shared<int>(0)](std::unique_ptr<Device> real) -> std::unique_ptr<Device> {
        if ((*opened)++ == 0)
          return real;
        return std::make_unique<WrongDevice>(std::move(real), faults);
      });
  std::unique_ptr<RequestHandle> handle = Submit(*engine, kPrompts[1], Greedy(20));
  int tokens = 0;
  while (handle->Next())
    ++tokens;
  EXPECT_EQ(tokens, 4);
  EXPECT_THAT(std::string(handle->status().message()), HasSubstr("the ranks sample different tokens: rank 0 "));
}

TEST(EngineRanks, ErrorsWhileLoadingAreReturned) {
  for (uint32_t rank : {0u, 1u}) {
    Faults faults;
    faults.allocate = [](uint64_t) { return true; };
    EngineOptions options;
    options.target = "cpu";
    absl::StatusOr<std::unique_ptr<Engine>> engine =
        LoadEngine(INLAY_TEST_RANKS_BUNDLE, options, OfRank(rank, faults), true);
    EXPECT_EQ(std::string(engine.status().message()), "injected: no memory for weights");
  }
}

} // namespace
} // namespace inlay
