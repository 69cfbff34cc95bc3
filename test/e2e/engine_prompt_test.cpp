// Log-probabilities of prompts are equal to those of the same tokens when they are generated. They do not depend on the
// other rows of a step or on how a prompt is split into chunks.
#include "test/e2e/engine_testing.h"

namespace inlay {
namespace {

std::vector<float> Values(const std::vector<PromptLogprob> &found) {
  std::vector<float> values;
  for (const PromptLogprob &one : found) {
    values.push_back(one.token.logprob);
    for (const TokenLogprob &top : one.top)
      values.insert(values.end(), {static_cast<float>(top.id), top.logprob});
  }
  return values;
}

SamplingParams WithPrompt(int32_t tokens) {
  SamplingParams sampling = Greedy(tokens);
  sampling.prompt_logprobs = 3;
  return sampling;
}

struct Found {
  Answer answer;
  std::vector<float> prompt;
  bool operator==(const Found &) const = default;
};

std::vector<Found> Ask(Engine &engine, const SamplingParams &sampling, bool together) {
  std::vector<std::unique_ptr<RequestHandle>> handles;
  std::vector<Found> found;
  auto take = [&](RequestHandle &handle) {
    Answer answer = Finish(handle);
    EXPECT_EQ(handle.prompt_logprobs().size() + 1, handle.prompt_token_ids().size());
    found.push_back({std::move(answer), Values(handle.prompt_logprobs())});
  };
  for (const std::string &prompt : kPrompts) {
    handles.push_back(Submit(engine, prompt, sampling));
    if (!together)
      take(*handles.back());
  }
  if (together)
    for (auto &handle : handles)
      take(*handle);
  return found;
}

TEST(EnginePrompt, WhatWasGeneratedIsFoundAgain) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams generating = Greedy(24);
  generating.logprobs = 3;
  std::unique_ptr<RequestHandle> first = Submit(*engine, kPrompts[2], generating);
  std::vector<PromptLogprob> expected;
  Request again;
  while (std::optional<Piece> piece = first->Next()) {
    expected.push_back({{piece->token_id, piece->logprob}, piece->top});
    again.prompt_token_ids.push_back(piece->token_id);
  }
  std::vector<int32_t> prompt = first->prompt_token_ids();
  again.prompt_token_ids.insert(again.prompt_token_ids.begin(), prompt.begin(), prompt.end());
  again.sampling = WithPrompt(1);
  absl::StatusOr<std::unique_ptr<RequestHandle>> second = engine->Submit(again);
  ASSERT_TRUE(second.ok()) << second.status();
  // prompt_logprobs() is available after the first piece.
  ASSERT_TRUE((*second)->Next());
  std::vector<PromptLogprob> found = (*second)->prompt_logprobs();
  ASSERT_EQ(found.size(), prompt.size() - 1 + expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_EQ(found[i].token.id, again.prompt_token_ids[i + 1]);
  EXPECT_EQ(Values({found.end() - static_cast<int64_t>(expected.size()), found.end()}), Values(expected));
}

TEST(EnginePrompt, NothingBesideThemShows) {
  std::vector<Found> expected = Ask(*Load(), WithPrompt(12), /*together=*/false);
  std::vector<Answer> plain = OneByOne(*Load(), Greedy(12));
  for (size_t i = 0; i < plain.size(); ++i)
    EXPECT_TRUE(expected[i].answer == plain[i]) << kPrompts[i];
  EngineOptions ahead, narrow, one, guessing;
  ahead.async_scheduling = true;
  narrow.max_num_batched_tokens = 24;
  narrow.max_num_seqs = 3;
  one.max_num_seqs = 1;
  guessing.num_speculative_tokens = 3;
  guessing.async_scheduling = false;
  for (const EngineOptions &options : {EngineOptions(), ahead, narrow, one, guessing}) {
    std::unique_ptr<Engine> engine = Load(options);
    for (bool together : {true, false}) // in the second round, the prompts are in the prefix cache
      EXPECT_TRUE(Ask(*engine, WithPrompt(12), together) == expected);
    // Another request in the same steps has edited and penalised logits.
    SamplingParams edited = Greedy(12);
    edited.logit_bias = {{5, -3.0f}};
    edited.repetition_penalty = 1.2f;
    Answer alone = Finish(*Submit(*engine, kPrompts[1], edited));
    std::unique_ptr<RequestHandle> beside = Submit(*engine, kPrompts[1], edited);
    EXPECT_TRUE(Ask(*engine, WithPrompt(12), true) == expected);
    EXPECT_TRUE(Finish(*beside) == alone);
  }
}

TEST(EnginePrompt, SurvivePreemption) {
  std::vector<Found> expected = Ask(*Load(), WithPrompt(40), /*together=*/false);
  EngineOptions options = FewPages(14);
  for (const char *mode : {"recompute", "swap"}) {
    options.preemption_mode = mode;
    std::unique_ptr<Engine> engine = Load(options);
    EXPECT_TRUE(Ask(*engine, WithPrompt(40), true) == expected) << mode;
    EXPECT_GT(engine->Stats().preemptions, 0) << mode;
  }
}

TEST(EnginePrompt, OfSeveralSequencesOnce) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams several = WithPrompt(6);
  several.n = 3;
  std::unique_ptr<RequestHandle> handle = Submit(*engine, kPrompts[4], several);
  while (handle->Next()) {
  }
  EXPECT_EQ(Values(handle->prompt_logprobs()), Ask(*engine, WithPrompt(6), false)[4].prompt);
  // A request that does not ask for them gets none. One that asks for too many is refused.
  std::unique_ptr<RequestHandle> plain = Submit(*engine, kPrompts[4], Greedy(2));
  Finish(*plain);
  EXPECT_TRUE(plain->prompt_logprobs().empty());
  Request request;
  request.prompt = "x";
  request.sampling.prompt_logprobs = 100000;
  EXPECT_EQ(engine->Submit(request).status().code(), absl::StatusCode::kInvalidArgument);
}

} // namespace
} // namespace inlay
