// Sampling parameters with vLLM's names have the same meaning as in vLLM.
#include "runtime/api/chat_prompt.h"
#include "test/e2e/engine_testing.h"

#include "gmock/gmock.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

namespace inlay {
namespace {

using ::testing::HasSubstr;

struct Generated {
  std::vector<int32_t> tokens;
  std::vector<TokenLogprob> chosen;
  std::vector<std::string> pieces;
  std::string text;
  FinishReason reason = FinishReason::kNone;
  StopReason stop_reason;
};

Generated Generate(Engine &engine, const std::string &prompt, const SamplingParams &sampling) {
  Generated result;
  std::unique_ptr<RequestHandle> handle = Submit(engine, prompt, sampling);
  while (std::optional<Piece> piece = handle->Next()) {
    result.tokens.push_back(piece->token_id);
    result.chosen.push_back({piece->token_id, piece->logprob, piece->rank});
    result.pieces.push_back(piece->text);
    result.text += piece->text;
  }
  result.reason = handle->finish_reason();
  result.stop_reason = handle->stop_reason();
  return result;
}

// Returns the raw log-probabilities of `tokens` after `prompt`. They are computed as the log-probabilities of a prompt,
// so they do not depend on sampling parameters.
std::vector<TokenLogprob> RawLogprobs(Engine &engine, const std::string &prompt, const std::vector<int32_t> &tokens) {
  Request request;
  request.prompt_token_ids = *engine.Tokenize(prompt, true);
  size_t first = request.prompt_token_ids.size();
  request.prompt_token_ids.insert(request.prompt_token_ids.end(), tokens.begin(), tokens.end());
  request.sampling = Greedy(1);
  request.sampling.prompt_logprobs = 0;
  std::unique_ptr<RequestHandle> handle = *engine.Submit(request);
  handle->Next();
  std::vector<TokenLogprob> found;
  for (const PromptLogprob &one : handle->prompt_logprobs())
    found.push_back(one.token);
  found.erase(found.begin(), found.begin() + static_cast<int64_t>(first) - 1);
  return found;
}

// As with --logprobs-mode raw_logprobs, vLLM's default (vllm-project/vllm#21398), log-probabilities are computed from
// the model's logits.
TEST(EngineFields, LogprobsAreOfTheModelsOwnLogits) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams plain = Greedy(16);
  plain.logprobs = 1;
  std::vector<SamplingParams> cases(6, plain);
  cases[0].temperature = 1.7f;
  cases[0].seed = 3;
  cases[1].frequency_penalty = 1.5f;
  cases[1].repetition_penalty = 1.3f;
  cases[2].logit_bias = {{11, 4.0f}, {20, 6.0f}};
  cases[3].min_tokens = 16;
  cases[4].allowed_token_ids = {10, 11, 12, 13, 14, 15};
  cases[5].guided.regex = "[a-z]+";
  cases[5].presence_penalty = 2;
  for (const SamplingParams &sampling : cases) {
    Generated found = Generate(*engine, kPrompts[1], sampling);
    std::vector<TokenLogprob> expected = RawLogprobs(*engine, kPrompts[1], found.tokens);
    ASSERT_EQ(found.chosen.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(found.chosen[i].id, expected[i].id);
      EXPECT_NEAR(found.chosen[i].logprob, expected[i].logprob, 1e-4) << i;
      EXPECT_EQ(found.chosen[i].rank, expected[i].rank) << i;
    }
  }
}

// In vLLM, a stop string must end in the text after the first min_tokens tokens (vllm-project/vllm#22014), but it may
// begin before.
TEST(EngineFields, MinTokensHoldBackStopStrings) {
  std::unique_ptr<Engine> engine = Load();
  Generated all = Generate(*engine, kPrompts[1], Greedy(24));
  ASSERT_EQ(all.tokens.size(), 24u);
  // The second token's text is the stop string. It ends the answer at once, or at its next occurrence after min_tokens.
  SamplingParams sampling = Greedy(24);
  sampling.stop = {all.pieces[1]};
  Generated at_once = Generate(*engine, kPrompts[1], sampling);
  EXPECT_EQ(at_once.reason, FinishReason::kStop);
  EXPECT_LE(at_once.tokens.size(), 2u);
  sampling.min_tokens = 10;
  Generated later = Generate(*engine, kPrompts[1], sampling);
  EXPECT_GT(later.tokens.size(), 10u);
  EXPECT_THAT(later.text, ::testing::StartsWith(all.text.substr(0, at_once.text.size() + sampling.stop[0].size())));
  // A stop string that ends after the first min_tokens tokens counts, one that ends within them does not.
  sampling = Greedy(24);
  sampling.min_tokens = 5;
  sampling.stop = {all.pieces[4] + all.pieces[5]};
  EXPECT_EQ(Generate(*engine, kPrompts[1], sampling).tokens.size(), 6u);
  sampling.min_tokens = 6;
  EXPECT_GT(Generate(*engine, kPrompts[1], sampling).tokens.size(), 6u);
}

TEST(EngineFields, StopReasonsAndWhatTheTextKeeps) {
  std::unique_ptr<Engine> engine = Load();
  Generated all = Generate(*engine, kPrompts[1], Greedy(24));
  EXPECT_EQ(all.reason, FinishReason::kLength);
  EXPECT_EQ(all.stop_reason, StopReason());
  // With several stop strings, the one that is complete first counts, not the one that begins first.
  std::string end = all.text.substr(6, 2), longer = all.text.substr(5, 12);
  SamplingParams sampling = Greedy(24);
  sampling.stop = {longer, end};
  Generated stopped = Generate(*engine, kPrompts[1], sampling);
  size_t at = all.text.find(end);
  EXPECT_EQ(stopped.reason, FinishReason::kStop);
  EXPECT_EQ(stopped.stop_reason, (StopReason{.token_id = std::nullopt, .text = end}));
  EXPECT_EQ(stopped.text, all.text.substr(0, at));
  sampling.include_stop_str_in_output = true;
  EXPECT_EQ(Generate(*engine, kPrompts[1], sampling).text, all.text.substr(0, at + end.size()));
  // The text of a stop token is only kept with include_stop_str_in_output.
  sampling = Greedy(24);
  sampling.stop_token_ids = {all.tokens[3]};
  auto place = static_cast<size_t>(std::ranges::find(all.tokens, all.tokens[3]) - all.tokens.begin());
  std::string before;
  for (size_t i = 0; i < place; ++i)
    before += all.pieces[i];
  Generated by_token = Generate(*engine, kPrompts[1], sampling);
  EXPECT_EQ(by_token.stop_reason, (StopReason{.token_id = all.tokens[3], .text = ""}));
  EXPECT_EQ(by_token.text, before);
  sampling.include_stop_str_in_output = true;
  EXPECT_EQ(Generate(*engine, kPrompts[1], sampling).text, before + all.pieces[place]);
}

TEST(EngineFields, OnlyAllowedTokensAreGenerated) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Greedy(24);
  sampling.temperature = 1.5f;
  sampling.allowed_token_ids = {17, 30, 99, 17};
  std::set<int32_t> found;
  for (uint32_t seed = 0; seed < 4; ++seed) {
    sampling.seed = seed;
    for (int32_t token : Generate(*engine, kPrompts[1], sampling).tokens)
      found.insert(token);
  }
  EXPECT_THAT(found, ::testing::IsSubsetOf({17, 30, 99}));
  Request request;
  request.prompt = "x";
  request.sampling.allowed_token_ids = {1 << 20};
  EXPECT_THAT(std::string(engine->Submit(request).status().message()), HasSubstr("allowed_token_ids contains 1048576"));
}

// Whether `tokens` contains `word`.
bool Holds(const std::vector<int32_t> &tokens, const std::vector<int32_t> &word) {
  return !std::ranges::search(tokens, word).empty();
}

TEST(EngineFields, BadWordsAreNotGenerated) {
  EngineOptions ahead;
  ahead.async_scheduling = true;
  for (const EngineOptions &options : {EngineOptions(), ahead}) {
    std::unique_ptr<Engine> engine = Load(options);
    Generated all = Generate(*engine, kPrompts[1], Greedy(24));
    // Words of one token and of several, cut from the answer.
    int tried = 0;
    for (size_t begin : {2, 5, 9})
      for (size_t size : {1, 2, 3}) {
        std::vector<int32_t> part(all.tokens.begin() + static_cast<int64_t>(begin),
                                  all.tokens.begin() + static_cast<int64_t>(begin + size));
        SamplingParams sampling = Greedy(24);
        sampling.bad_words = {*engine->Detokenize(part)};
        size_t first = sampling.bad_words[0].find_first_not_of(" \n\t");
        if (first == std::string::npos) // white space alone is not a word
          continue;
        ++tried;
        std::string bare = sampling.bad_words[0].substr(first);
        std::vector<int32_t> alone = *engine->Tokenize(bare, false);
        Generated without = Generate(*engine, kPrompts[1], sampling);
        EXPECT_FALSE(Holds(without.tokens, alone)) << sampling.bad_words[0];
        EXPECT_EQ(without.tokens.size(), 24u);
        // If the word was generated without bad_words, the output changes.
        if (Holds(all.tokens, alone)) {
          EXPECT_NE(without.tokens, all.tokens);
        }
      }
    EXPECT_GE(tried, 4);
  }
}

TEST(EngineFields, SpecialTokensAreTextIfTheyAreNotSkipped) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Greedy(3);
  // Find a special token: one whose text Detokenize() leaves out.
  for (int32_t id = 0; id < 2048 && sampling.allowed_token_ids.empty(); ++id)
    if (absl::StatusOr<std::string> text = engine->Detokenize({id}); text.ok() && text->empty())
      sampling.allowed_token_ids = {id};
  ASSERT_FALSE(sampling.allowed_token_ids.empty()) << "the example model has no special token";
  EXPECT_EQ(Generate(*engine, kPrompts[1], sampling).text, "");
  sampling.skip_special_tokens = false;
  std::string text = Generate(*engine, kPrompts[1], sampling).text;
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(text.substr(0, text.size() / 3), text.substr(text.size() / 3, text.size() / 3));
}

// vLLM refuses it too: "Got priority ... but Priority scheduling is not enabled".
TEST(EngineFields, APriorityNeedsItsPolicy) {
  std::unique_ptr<Engine> engine = Load();
  Request request;
  request.prompt = "x";
  request.priority = 2;
  EXPECT_THAT(std::string(engine->Submit(request).status().message()), HasSubstr("--scheduling-policy priority"));
}

// Returns a chat template in which `content` is the expression for a message's text.
std::unique_ptr<tokenizer::ChatRenderer> Renderer(const char *content) {
  std::filesystem::path directory = std::filesystem::path(testing::TempDir()) / "chat_prompt";
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "chat_template.jinja")
      << "{% for m in messages %}<{{ m.role }}>{{ " << content
      << " }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
  auto tokenizer = tokenizer::Tokenizer::Load(std::string(INLAY_TEST_BUNDLE) + "/tokenizer");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  auto renderer = tokenizer::ChatRenderer::Load(directory, **tokenizer);
  EXPECT_TRUE(renderer.ok()) << renderer.status();
  return *std::move(renderer);
}

TEST(ChatPrompt, DeveloperIsSystemToTemplatesThatDoNotNameIt) {
  ChatRequest chat;
  chat.messages_json = R"([{"role": "developer", "content": "d"}, {"role": "user", "content": "developer"}])";
  EXPECT_EQ(*RenderChat(*Renderer("m.content"), chat), "<system>d</s><user>developer</s><assistant>");
}

// A template that names the role `developer` gets it. That of openai/gpt-oss does, that of Llama 3 does not.
TEST(ChatPrompt, DeveloperStaysToTemplatesThatNameIt) {
  ChatRequest chat;
  chat.messages_json = R"([{"role": "developer", "content": "d"}])";
  EXPECT_EQ(*RenderChat(*Renderer("m.content ~ ('!' if m.role == 'developer')"), chat), "<developer>d!</s><assistant>");
}

// The results are those of transformers' apply_chat_template(continue_final_message=True). See
// huggingface/transformers#34253 and #35433 for trimmed messages.
TEST(ChatPrompt, MayEndWithinTheLastMessage) {
  ChatRequest chat;
  chat.messages_json = R"([{"role": "user", "content": "b "}, {"role": "assistant", "content": " a b "}])";
  chat.add_generation_prompt = false;
  chat.continue_final_message = true;
  EXPECT_EQ(*RenderChat(*Renderer("m.content"), chat), "<user>b </s><assistant> a b ");
  EXPECT_EQ(*RenderChat(*Renderer("m.content | trim"), chat), "<user>b</s><assistant>a b");
  EXPECT_THAT(std::string(RenderChat(*Renderer("'x'"), chat).status().message()),
              HasSubstr("does not render the last message"));
  chat.messages_json = R"([{"role": "user", "content": ""}])";
  EXPECT_EQ(*RenderChat(*Renderer("m.content"), chat), "<user>");
  chat.messages_json = R"([{"role": "user", "content": [{"type": "text", "text": "p"}, {"type": "image"}]}])";
  EXPECT_EQ(*RenderChat(*Renderer("m.content[0].text"), chat), "<user>p");
  chat.messages_json = R"([{"role": "user", "content": null}])";
  EXPECT_THAT(std::string(RenderChat(*Renderer("m.content"), chat).status().message()), HasSubstr("has no text"));
  chat.add_generation_prompt = true;
  EXPECT_THAT(std::string(RenderChat(*Renderer("m.content"), chat).status().message()), HasSubstr("both true"));
}

} // namespace
} // namespace inlay
