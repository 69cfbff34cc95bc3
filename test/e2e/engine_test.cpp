// Properties of the engine with a compiled model: the results of a request do not depend on other requests.

#include "test/e2e/engine_testing.h"

#include "gmock/gmock.h"

#include <set>
#include <thread>

namespace inlay {
namespace {

using ::testing::HasSubstr;

TEST(EngineTest, RowsOfABatchAreThoseOfTheSequenceAloneBitForBit) {
  std::unique_ptr<Engine> engine = Load();
  std::vector<Answer> alone = OneByOne(*engine, Greedy(24)), together = AllAtOnce(*engine, Greedy(24));
  for (size_t i = 0; i < kPrompts.size(); ++i)
    EXPECT_TRUE(alone[i] == together[i]) << kPrompts[i];
}

TEST(EngineTest, ChunkedPromptsAreWholePromptsBitForBit) {
  std::vector<Answer> whole = OneByOne(*Load(), Greedy(8));
  EngineOptions options;
  options.max_num_batched_tokens = 16;
  options.max_num_seqs = 4;
  std::vector<Answer> chunked = AllAtOnce(*Load(options), Greedy(8));
  for (size_t i = 0; i < kPrompts.size(); ++i)
    EXPECT_TRUE(whole[i] == chunked[i]) << kPrompts[i];
}

TEST(EngineTest, ASeedGivesTheSameTokensWhateverRunsBeside) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Greedy(24);
  sampling.temperature = 0.9f;
  sampling.top_k = 40;
  sampling.top_p = 0.95f;
  sampling.seed = 7;
  std::vector<Answer> alone = OneByOne(*engine, sampling), together = AllAtOnce(*engine, sampling);
  for (size_t i = 0; i < kPrompts.size(); ++i)
    EXPECT_EQ(alone[i].tokens, together[i].tokens) << kPrompts[i];
  sampling.seed = 8;
  EXPECT_NE(OneByOne(*engine, sampling)[4].tokens, alone[4].tokens);
}

TEST(EngineTest, FiltersThatKeepOneTokenAreGreedy) {
  std::unique_ptr<Engine> engine = Load();
  std::vector<int32_t> greedy = Finish(*Submit(*engine, kPrompts[1], Greedy(16))).tokens;
  SamplingParams top_k = Greedy(16), top_p = Greedy(16), min_p = Greedy(16);
  top_k.temperature = top_p.temperature = min_p.temperature = 1.5f;
  top_k.top_k = 1;
  top_p.top_p = 1e-6f;
  min_p.min_p = 1.0f;
  for (const SamplingParams &sampling : {top_k, top_p, min_p})
    EXPECT_EQ(Finish(*Submit(*engine, kPrompts[1], sampling)).tokens, greedy);
}

TEST(EngineTest, VeryLowTemperaturesAreGreedy) {
  std::unique_ptr<Engine> engine = Load();
  std::vector<int32_t> greedy = Finish(*Submit(*engine, kPrompts[1], Greedy(16))).tokens;
  for (float temperature : {1e-38f, 9e-6f}) {
    SamplingParams sampling = Greedy(16);
    sampling.temperature = temperature;
    EXPECT_EQ(Finish(*Submit(*engine, kPrompts[1], sampling)).tokens, greedy) << temperature;
  }
}

// Each sampled token is among the k most likely tokens of the logits that it was sampled from.
TEST(EngineTest, TopKKeepsTheMostLikely) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Greedy(48);
  sampling.temperature = 5.0f;
  sampling.top_k = 3;
  sampling.seed = 1;
  Answer answer = Finish(*Submit(*engine, kPrompts[2], sampling));
  std::set<int64_t> ranks;
  for (size_t i = 0; i < answer.tokens.size(); ++i) {
    float chosen = answer.logits[i][static_cast<size_t>(answer.tokens[i])];
    ranks.insert(std::count_if(answer.logits[i].begin(), answer.logits[i].end(), [&](float x) { return x > chosen; }));
  }
  EXPECT_EQ(ranks, (std::set<int64_t>{0, 1, 2}));
}

TEST(EngineTest, RepetitionPenaltyForbidsWhatWasSaid) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Greedy(40);
  sampling.repetition_penalty = 100.0f;
  std::vector<int32_t> tokens = Finish(*Submit(*engine, kPrompts[0], sampling)).tokens;
  EXPECT_EQ(std::set<int32_t>(tokens.begin(), tokens.end()).size(), tokens.size());
}

TEST(EngineTest, StopStringsEndBeforeThemselvesAcrossTokens) {
  std::unique_ptr<Engine> engine = Load();
  std::string whole = Finish(*Submit(*engine, kPrompts[1], Greedy(32))).text;
  ASSERT_GT(whole.size(), 20u);
  SamplingParams sampling = Greedy(32);
  sampling.stop = {whole.substr(10, 6)};
  Answer answer = Finish(*Submit(*engine, kPrompts[1], sampling));
  EXPECT_EQ(answer.text, whole.substr(0, whole.find(sampling.stop[0])));
  EXPECT_EQ(answer.reason, FinishReason::kStop);
}

TEST(EngineTest, PagesComeBackAlsoFromCancelledRequests) {
  std::unique_ptr<Engine> engine = Load();
  {
    std::unique_ptr<RequestHandle> kept = Submit(*engine, kPrompts[1], Greedy(4));
    std::unique_ptr<RequestHandle> dropped = Submit(*engine, kPrompts[2], Greedy(900));
    dropped->Next();
    dropped.reset();
    Finish(*kept);
  }
  for (int i = 0; i < 500 && engine->Stats().running > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(engine->Stats().free_pages, engine->Stats().total_pages);
}

TEST(EngineTest, MoreRequestsThanSequencesWaitTheirTurn) {
  EngineOptions options;
  options.max_num_seqs = 2;
  std::unique_ptr<Engine> engine = Load(options);
  std::vector<Answer> answers = AllAtOnce(*engine, Greedy(6)), alone = OneByOne(*engine, Greedy(6));
  for (size_t i = 0; i < kPrompts.size(); ++i)
    EXPECT_TRUE(answers[i] == alone[i]) << kPrompts[i];
}

struct BadRequest {
  std::string name;
  Request request;
  std::string message;
};

class BadRequests : public ::testing::TestWithParam<BadRequest> {};

TEST_P(BadRequests, AreRefusedByName) {
  std::unique_ptr<Engine> engine = Load();
  absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine->Submit(GetParam().request);
  ASSERT_FALSE(handle.ok());
  EXPECT_THAT(std::string(handle.status().message()), HasSubstr(GetParam().message));
}

Request With(std::string prompt, std::vector<int32_t> ids, void (*change)(SamplingParams &) = nullptr) {
  Request request;
  request.prompt = std::move(prompt);
  request.prompt_token_ids = std::move(ids);
  if (change)
    change(request.sampling);
  return request;
}

INSTANTIATE_TEST_SUITE_P(
    Requests, BadRequests,
    ::testing::Values(
        BadRequest{"Empty", With("", {}), "the prompt is empty"},
        BadRequest{"IdOutOfRange", With("", {1, 99999}), "contains token id 99999, expected ids in [0, 2048)"},
        BadRequest{"NegativeId", With("", {-1}), "contains token id -1"},
        BadRequest{"TooLong", With("", std::vector<int32_t>(1024, 1)), "1024 tokens, expected fewer than 1024"},
        BadRequest{"NegativeTemperature", With("x", {}, [](SamplingParams &s) { s.temperature = -1; }),
                   "temperature is -1"},
        BadRequest{"NotANumber", With("x", {}, [](SamplingParams &s) { s.top_p = NAN; }), "top_p is nan"},
        BadRequest{"NoTokens", With("x", {}, [](SamplingParams &s) { s.max_tokens = 0; }), "max_tokens is 0"},
        BadRequest{"ManyStops", With("x", {}, [](SamplingParams &s) { s.stop.assign(100, "a"); }),
                   "number of stop strings is 100"}),
    [](const auto &info) { return info.param.name; });

TEST(EngineTest, BoundsAreLoweredButNotRaised) {
  EngineOptions options;
  options.target = "cpu";
  options.max_model_len = 4096;
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(INLAY_TEST_BUNDLE, options);
  ASSERT_FALSE(engine.ok());
  EXPECT_THAT(std::string(engine.status().message()),
              HasSubstr("--max-model-len is 4096, the bundle was compiled for"));
}

TEST(EngineTest, ABundleWithoutChatTemplateSaysSo) {
  absl::StatusOr<std::string> prompt = Load()->ApplyChatTemplate({.messages_json = "[]", .variables_json = {}});
  EXPECT_EQ(prompt.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(prompt.status().message()), HasSubstr("has no chat template"));
}

TEST(EngineTest, AMissingTargetNamesTheFlag) {
  EngineOptions options;
  options.target = "sm_90a";
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(INLAY_TEST_BUNDLE, options);
  ASSERT_FALSE(engine.ok());
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr("compile the model with --target sm_90a"));
}

} // namespace
} // namespace inlay
