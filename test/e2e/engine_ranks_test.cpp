// Several ranks compute what one computes, whatever the scheduler does, and a rank that fails ends all requests. The
// bundles are the example model in float32: INLAY_TEST_BUNDLE for one rank, INLAY_TEST_RANKS_BUNDLE for two ranks that
// run each layer together, INLAY_TEST_STAGES_BUNDLE for two stages, INLAY_TEST_BOTH_BUNDLE for two stages of two ranks.
#include "test/e2e/engine_divisions.h"
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

std::unique_ptr<Engine> LoadStages(const EngineOptions &options = {}, const DeviceWrapper &wrap = nullptr) {
  return Load(options, wrap, INLAY_TEST_STAGES_BUNDLE);
}

class Divided : public ::testing::TestWithParam<Division> {
protected:
  static const char *Bundle() { return GetParam().bundle; }
  static std::unique_ptr<Engine> LoadDivided(const EngineOptions &options = {}) {
    return Load(options, nullptr, Bundle());
  }
};
class DividedTokens : public Divided {};

// Tokens are equal. Logits are sums in another order.
void ExpectSameTokens(const std::vector<Answer> &found, const std::vector<Answer> &expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].tokens, expected[i].tokens) << i << ": " << kPrompts[i];
    EXPECT_EQ(found[i].text, expected[i].text);
  }
}

TEST_P(DividedTokens, AreThoseOfOneRank) {
  std::unique_ptr<Engine> engine = LoadDivided(), plain = Load();
  SamplingParams edited = Sampled(24);
  edited.repetition_penalty = 1.2f;
  edited.logit_bias = {{32, 4.0f}, {100, -10.0f}};
  edited.min_tokens = 4;
  for (const SamplingParams &sampling : {Greedy(32), Sampled(32), edited})
    ExpectSameTokens(AllAtOnce(*engine, sampling), AllAtOnce(*plain, sampling));
  EXPECT_EQ(engine->Stats().ranks, GetParam().ranks);
  EXPECT_EQ(plain->Stats().ranks, 1);
  EXPECT_THAT(engine->Stats().distributed, HasSubstr("threads of ranks in host memory"));
  EXPECT_EQ(plain->Stats().distributed, "");
  ExpectNoPagesLost(*engine);
}

// An engine that returns no logits, so that ranks sample from their parts of the vocabulary where they can.
std::unique_ptr<Engine> LoadWithoutLogits(const char *bundle, const DeviceWrapper &wrap = nullptr) {
  EngineOptions options;
  options.target = "cpu";
  options.threads = 2;
  absl::StatusOr<std::unique_ptr<Engine>> engine = LoadEngine(bundle, options, wrap, true);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

// Greedy parameters that `change` has changed.
SamplingParams Changed(int32_t tokens, const std::function<void(SamplingParams &)> &change) {
  SamplingParams sampling = Greedy(tokens);
  sampling.seed = 3;
  change(sampling);
  return sampling;
}

// Ways to sample, and whether they need the logits of all ranks.
struct WayToSample {
  const char *name;
  bool needs_logits;
  std::function<void(SamplingParams &)> change;
};
const std::vector<WayToSample> kWaysToSample = {
    {"greedy", false, [](SamplingParams &) {}},
    {"temperature", false, [](SamplingParams &sampling) { sampling.temperature = 0.9f; }},
    {"high temperature", false, [](SamplingParams &sampling) { sampling.temperature = 3; }},
    {"top_k", true, [](SamplingParams &sampling) { sampling.temperature = 1, sampling.top_k = 5; }},
    {"top_p", true, [](SamplingParams &sampling) { sampling.temperature = 1, sampling.top_p = 0.8f; }},
    {"min_p", true, [](SamplingParams &sampling) { sampling.temperature = 1, sampling.min_p = 0.1f; }},
    {"penalty", true, [](SamplingParams &sampling) { sampling.repetition_penalty = 1.2f; }},
    {"bias", true, [](SamplingParams &sampling) { sampling.logit_bias = {{32, 2.0f}}; }},
    {"logprobs", true, [](SamplingParams &sampling) { sampling.logprobs = 1; }},
};

TEST_P(DividedTokens, FromPartsAreThoseOfOneRank) {
  constexpr size_t kPrompt = 2;
  std::unique_ptr<Engine> engine = LoadWithoutLogits(GetParam().bundle), plain = LoadWithoutLogits(INLAY_TEST_BUNDLE);
  std::vector<std::vector<int32_t>> tokens; // of kPrompt, by way
  for (const WayToSample &way : kWaysToSample) {
    SCOPED_TRACE(way.name);
    SamplingParams sampling = Changed(16, way.change);
    std::vector<Answer> found = AllAtOnce(*engine, sampling);
    ExpectSameTokens(found, AllAtOnce(*plain, sampling));
    tokens.push_back(found[kPrompt].tokens);
  }
  // Steps with rows of all ways: a token does not depend on how those beside it are sampled.
  std::vector<std::unique_ptr<RequestHandle>> handles;
  for (const WayToSample &way : kWaysToSample)
    handles.push_back(Submit(*engine, kPrompts[kPrompt], Changed(16, way.change)));
  for (size_t i = 0; i < handles.size(); ++i)
    EXPECT_EQ(Finish(*handles[i]).tokens, tokens[i]) << kWaysToSample[i].name;
  ExpectNoPagesLost(*engine);
}

// The same bits in any batch, as with one rank.
TEST_P(Divided, ResultsDoNotDependOnTheBatch) {
  std::unique_ptr<Engine> engine = LoadDivided();
  std::vector<Answer> alone = OneByOne(*engine, Sampled(8));
  ExpectEqual(AllAtOnce(*engine, Sampled(8)), alone);
  if (GetParam().stages > 1)
    return;
  EngineOptions ahead;
  ahead.async_scheduling = true;
  ExpectEqual(AllAtOnce(*LoadDivided(ahead), Sampled(8)), alone);
}

TEST_P(Divided, RanksReuseAndShareKeysAndValues) {
  std::unique_ptr<Engine> engine = LoadDivided();
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

TEST_P(Divided, PreemptedSequencesContinue) {
  std::vector<Answer> expected = AllAtOnce(*LoadDivided(), Greedy(40));
  for (const char *mode : {"recompute", "swap"}) {
    EngineOptions options = FewPages(14, Bundle());
    options.preemption_mode = mode;
    options.swap_space_bytes = uint64_t{64} << 20;
    std::unique_ptr<Engine> engine = LoadDivided(options);
    ExpectEqual(AllAtOnce(*engine, Greedy(40)), expected);
    EXPECT_GT(engine->Stats().preemptions, 0) << mode;
    EXPECT_EQ(engine->Stats().swapped_in_pages > 0, mode == std::string("swap"));
    ExpectNoPagesLost(*engine);
  }
}

TEST_P(Divided, DraftTokensChangeNothing) {
  std::vector<Answer> expected = AllAtOnce(*LoadDivided(), Greedy(30));
  // Draft tokens of n-grams, of a model on one rank, and of one on two ranks.
  for (const char *draft : {"", INLAY_TEST_BUNDLE, Bundle()}) {
    EngineOptions options;
    options.num_speculative_tokens = 3;
    options.speculative_model = draft;
    std::unique_ptr<Engine> engine = LoadDivided(options);
    ExpectEqual(AllAtOnce(*engine, Greedy(30)), expected);
    EXPECT_GT(engine->Stats().accepted_draft_tokens, 0) << draft;
  }
}

TEST_P(Divided, GuidedTextIsThatOfOneRank) {
  SamplingParams sampling = Sampled(40);
  sampling.ignore_eos = false;
  sampling.guided.regex = "[a-z]{3,8}( = [0-9]{2,6}){1,3}";
  ExpectSameTokens(AllAtOnce(*LoadDivided(), sampling), AllAtOnce(*Load(), sampling));
}

std::string NameOf(const ::testing::TestParamInfo<Division> &info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Ranks, Divided, ::testing::Values(kTwoRanks, kTwoStages), NameOf);
INSTANTIATE_TEST_SUITE_P(Ranks, DividedTokens, ::testing::Values(kTwoRanks, kTwoStages, kBoth), NameOf);

// While a stage runs a step, the one before it runs the next one.
TEST(EngineStages, RunDifferentStepsAtOnce) {
  std::atomic<int> begun[2] = {}, overlaps = 0; // runs of each stage
  Faults faults[2];
  faults[0].run = [&](int64_t, const StepSizes &) {
    ++begun[0];
    return false;
  };
  faults[1].run = [&](int64_t, const StepSizes &) {
    const int own = ++begun[1];
    for (int i = 0; i < 200 && begun[0] <= own; ++i)
      std::this_thread::sleep_for(1ms);
    overlaps += begun[0] > own;
    return false;
  };
  std::unique_ptr<Engine> engine =
      LoadStages({}, [&faults, opened = std::make_shared<size_t>(0)](std::unique_ptr<Device> real) {
        return std::make_unique<FaultyDevice>(std::move(real), faults[(*opened)++]);
      });
  auto first = Submit(*engine, kPrompts[0], Greedy(16)), second = Submit(*engine, kPrompts[1], Greedy(16));
  Finish(*first);
  Finish(*second);
  EXPECT_GE(overlaps, 16);
  EXPECT_EQ(begun[0], begun[1]);
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

// Both stages have two of the four layers. The embedding is on the first, the head on the last, which also has logits.
TEST(EngineStages, EachHasItsLayers) {
  EngineOptions options;
  options.target = "cpu";
  options.kv_cache_bytes = 1 << 20;
  absl::StatusOr<MemoryPlan> whole = Engine::Plan(INLAY_TEST_BUNDLE, options),
                             first = Engine::Plan(INLAY_TEST_STAGES_BUNDLE, options);
  ASSERT_TRUE(whole.ok() && first.ok()) << first.status();
  EXPECT_EQ(first->ranks, 2);
  EXPECT_EQ(first->bytes_per_page * 2, whole->bytes_per_page);
  EXPECT_EQ(first->total_pages, whole->total_pages * 2);
  EXPECT_LT(first->weights_bytes, whole->weights_bytes);
  EXPECT_LT(first->buffers_bytes, whole->buffers_bytes);
  EXPECT_THAT(first->explanation, HasSubstr("stage 0 of 2, cpu"));
}

TEST(EngineRanks, OptionsThatDoNotFitAreNamed) {
  EngineOptions options;
  options.tensor_parallel_size = 4;
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
              HasSubstr("was compiled for 2; remove the option, or compile the model with --tensor-parallel-size 4"));
  options = {};
  options.pipeline_parallel_size = 4;
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_STAGES_BUNDLE, options).status().message()),
              HasSubstr("was compiled for 2; remove the option, or compile the model with --pipeline-parallel-size 4"));
  options.pipeline_parallel_size = 2;
  options.async_scheduling = true;
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_STAGES_BUNDLE, options).status().message()),
              HasSubstr("--async-scheduling is for bundles with one stage"));
  options = {};
  options.distributed_timeout = 0;
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
              HasSubstr("--distributed-timeout is 0, expected seconds in (0, 1000000]"));
  options = {};
  options.distributed_backend = "nccl";
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
              HasSubstr("--distributed-backend nccl is for GPUs"));
  options.distributed_backend = "mpi";
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
              HasSubstr("--distributed-backend is 'mpi', expected auto, peer or nccl"));
  options = {};
  options.devices = {0};
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
              HasSubstr("--device names 1 GPU, but " INLAY_TEST_RANKS_BUNDLE " was compiled for 2 ranks"));
  options.devices = {0, 0};
  EXPECT_EQ(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
            "--device names GPUs, but " INLAY_TEST_RANKS_BUNDLE
            " runs on the target cpu; remove the option, or compile "
            "the model with --target sm_90a");
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

class RankFailures : public ::testing::TestWithParam<std::tuple<Division, uint32_t>> {
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
    std::unique_ptr<Engine> engine = Load(options, OfRank(rank(), faults), division().bundle);
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

  static const Division &division() { return std::get<0>(GetParam()); }
  static uint32_t rank() { return std::get<1>(GetParam()); }
  static std::string Name() { return "rank " + std::to_string(rank()); }
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
  // The rank before the stalled one sends it rows of the next step, the one after it expects those of this one.
  const std::string other = division().stages == 1 ? "all_reduce of " : rank() == 1 ? "send of " : "receive of ";
  EXPECT_THAT(std::string(status.message()), HasSubstr("has waited 2 s (--distributed-timeout) "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(other));
  EXPECT_THAT(std::string(status.message()), HasSubstr(Name() + " (step "));
  // The log says what each rank does.
  EXPECT_THAT(log, HasSubstr("inlay: " + Name() + " (step "));
  EXPECT_THAT(log, HasSubstr(": computing, for "));
  EXPECT_THAT(log, HasSubstr("call 1: " + other));
}

INSTANTIATE_TEST_SUITE_P(Ranks, RankFailures,
                         ::testing::Combine(::testing::Values(kTwoRanks, kTwoStages), ::testing::Values(0u, 1u)),
                         [](const auto &info) {
                           return std::get<0>(info.param).name + ("Rank" + std::to_string(std::get<1>(info.param)));
                         });

TEST(EngineRanks, GatherLogitsWhereTheyAreNeeded) {
  Faults faults;
  std::unique_ptr<Engine> engine = LoadWithoutLogits(INLAY_TEST_RANKS_BUNDLE, OfRank(1, faults));
  for (const WayToSample &way : kWaysToSample) {
    faults.used.clear();
    Finish(*Submit(*engine, kPrompts[1], Changed(4, way.change)));
    ExpectNoPagesLost(*engine); // no step runs any more
    EXPECT_EQ(faults.used.contains(plan::BufferKind_Logits), way.needs_logits) << way.name;
    EXPECT_EQ(faults.used.contains(plan::BufferKind_Rank), !way.needs_logits) << way.name;
  }
}

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
