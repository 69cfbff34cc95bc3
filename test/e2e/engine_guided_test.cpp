// Guided decoding: the output follows the constraint, other requests do not change it, and a constraint that cannot be
// compiled ends only its own request.
#include "test/e2e/engine_testing.h"
#include "test/e2e/faulty_device.h"

#include "nlohmann/json.hpp"
#include "gmock/gmock.h"

#include <algorithm>
#include <random>
#include <regex>
#include <set>
#include <thread>

namespace inlay {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr const char *kSchema = R"({
  "type": "object",
  "properties": {
    "name": {"type": "string", "maxLength": 12},
    "age": {"type": "integer", "minimum": 0, "maximum": 150},
    "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3}
  },
  "required": ["name", "age", "tags"],
  "additionalProperties": false
})";

SamplingParams Guided(GuidedParams form, uint32_t seed, int32_t tokens = 120) {
  SamplingParams sampling;
  sampling.seed = seed;
  sampling.max_tokens = tokens;
  sampling.guided = std::move(form);
  return sampling;
}

Answer Generate(Engine &engine, const SamplingParams &sampling, const std::string &prompt = kPrompts[1]) {
  return Finish(*Submit(engine, prompt, sampling));
}

void ExpectPerson(const std::string &text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object()) << text;
  EXPECT_EQ(json.size(), 3u) << text;
  ASSERT_TRUE(json["name"].is_string() && json["age"].is_number_integer() && json["tags"].is_array()) << text;
  EXPECT_TRUE(json["age"] >= 0 && json["age"] <= 150) << text;
  EXPECT_LE(json["tags"].size(), 3u) << text;
  for (const Json &tag : json["tags"])
    EXPECT_TRUE(tag == "red" || tag == "green" || tag == "blue") << text;
}

// Waits until no request runs or waits, and checks that all pages are free.
void ExpectIdle(Engine &engine) {
  for (int i = 0; i < 1000 && engine.Stats().running + engine.Stats().waiting > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(engine.Stats().running + engine.Stats().waiting, 0);
  EXPECT_EQ(engine.Stats().free_pages, engine.Stats().total_pages);
}

TEST(EngineGuided, JsonFollowsItsSchema) {
  std::unique_ptr<Engine> engine = Load();
  std::set<std::string> texts;
  for (uint32_t seed = 0; seed < 8; ++seed) {
    Answer answer = Generate(*engine, Guided({.json_schema = kSchema}, seed));
    EXPECT_EQ(answer.reason, FinishReason::kStop) << answer.text;
    ExpectPerson(answer.text);
    texts.insert(answer.text);
  }
  EXPECT_GT(texts.size(), 4u); // different seeds still give different texts
}

TEST(EngineGuided, GreedyTakesTheLikeliestThatMayCome) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams free = Greedy(1), guided = Guided({.regex = "[0-9]"}, 0);
  guided.temperature = 0;
  Answer first = Generate(*engine, free), digit = Generate(*engine, guided);
  ASSERT_EQ(digit.tokens.size(), 2u); // the digit and an end token
  const std::vector<float> &logits = first.logits[0];
  int32_t best = -1;
  for (char c = '0'; c <= '9'; ++c) {
    absl::StatusOr<std::vector<int32_t>> ids = engine->Tokenize(std::string(1, c), /*add_special_tokens=*/false);
    ASSERT_TRUE(ids.ok() && ids->size() == 1);
    int32_t id = ids->front();
    if (best < 0 || logits[static_cast<size_t>(id)] > logits[static_cast<size_t>(best)])
      best = id;
  }
  EXPECT_EQ(digit.tokens[0], best);
  EXPECT_FLOAT_EQ(digit.logits[0][static_cast<size_t>(best)], logits[static_cast<size_t>(best)]);
}

TEST(EngineGuided, RegexMatchesAllOfTheText) {
  std::unique_ptr<Engine> engine = Load();
  const std::string pattern = "(GET|PUT) /[a-z]{2,6}/[0-9]{3}(\\?q=[a-f0-9]{4})?";
  for (uint32_t seed = 0; seed < 6; ++seed) {
    Answer answer = Generate(*engine, Guided({.regex = pattern}, seed));
    EXPECT_TRUE(std::regex_match(answer.text, std::regex(pattern))) << answer.text;
    EXPECT_EQ(answer.reason, FinishReason::kStop);
  }
}

TEST(EngineGuided, EbnfDerivesTheText) {
  std::unique_ptr<Engine> engine = Load();
  int ended = 0;
  for (uint32_t seed = 0; seed < 8; ++seed) {
    Answer answer = Generate(
        *engine, Guided({.grammar = "root ::= \"[\" item (\", \" item)* \"]\"\nitem ::= [0-9] | root\n"}, seed, 80));
    int depth = 0;
    for (size_t i = 0; i < answer.text.size(); ++i) {
      ASSERT_THAT("[], 0123456789", HasSubstr(std::string(1, answer.text[i])));
      depth += (answer.text[i] == '[') - (answer.text[i] == ']');
      EXPECT_EQ(depth == 0, answer.reason == FinishReason::kStop && i + 1 == answer.text.size()) << answer.text;
    }
    EXPECT_THAT(answer.text, ::testing::Not(HasSubstr("[]")));
    ended += answer.reason == FinishReason::kStop;
  }
  EXPECT_GT(ended, 0);
}

TEST(EngineGuided, OneOfTheChoices) {
  std::unique_ptr<Engine> engine = Load();
  std::vector<std::string> choices = {"yes", "no", "perhaps not"};
  for (uint32_t seed = 0; seed < 5; ++seed)
    EXPECT_THAT(choices, ::testing::Contains(Generate(*engine, Guided({.choice = choices}, seed)).text));
}

TEST(EngineGuided, EndsWhereOnlyTheEndMayComeAndNotBefore) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Guided({.choice = {"yes"}}, 1);
  sampling.min_tokens = 50;
  Answer answer = Generate(*engine, sampling);
  EXPECT_EQ(answer.text, "yes");
  EXPECT_EQ(answer.reason, FinishReason::kStop);

  // Where the text may continue or end, min_tokens makes it continue.
  sampling = Guided({.regex = "[a-z]*"}, 1, 40);
  sampling.logit_bias[answer.tokens.back()] = 100;
  EXPECT_EQ(Generate(*engine, sampling).tokens.size(), 1u);
  sampling.min_tokens = 9;
  EXPECT_EQ(Generate(*engine, sampling).tokens.size(), 10u);
}

TEST(EngineGuided, BehindAnEndThatIsIgnoredOnlyEndsCome) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Guided({.choice = {"yes"}}, 1, 20);
  sampling.ignore_eos = true;
  Answer answer = Generate(*engine, sampling);
  EXPECT_EQ(answer.text, "yes");
  EXPECT_EQ(answer.tokens.size(), 20u);
  EXPECT_EQ(answer.reason, FinishReason::kLength);
}

TEST(EngineGuided, StopStringsAndLogprobs) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Guided({.regex = "[a-z]{30}"}, 5);
  sampling.logprobs = 2;
  std::string text = Generate(*engine, sampling).text;
  ASSERT_EQ(text.size(), 30u);
  sampling.stop = {text.substr(10, 3)};
  auto handle = Submit(*engine, kPrompts[1], sampling);
  std::string stopped;
  while (std::optional<Piece> piece = handle->Next()) {
    stopped += piece->text;
    EXPECT_LE(piece->logprob, 0);
    EXPECT_EQ(piece->top.size(), 2u);
  }
  EXPECT_EQ(stopped, text.substr(0, text.find(sampling.stop[0])));
  EXPECT_EQ(handle->finish_reason(), FinishReason::kStop);
}

TEST(EngineGuided, SequencesAreAsRequestsOfTheirOwn) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Guided({.json_schema = kSchema}, 40);
  sampling.n = 3;
  auto handle = Submit(*engine, kPrompts[1], sampling);
  std::vector<std::vector<int32_t>> found(3);
  while (std::optional<Piece> piece = handle->Next())
    found[static_cast<size_t>(piece->index)].push_back(piece->token_id);
  EXPECT_TRUE(handle->status().ok()) << handle->status();
  for (uint32_t i = 0; i < 3; ++i)
    EXPECT_EQ(found[i], Generate(*engine, Guided({.json_schema = kSchema}, 40 + i)).tokens) << i;
}

// Runs guided and other requests at once. Each must have the same output as alone.
void ExpectAsAlone(Engine &engine, int rounds) {
  std::unique_ptr<Engine> plain = Load();
  std::vector<SamplingParams> all;
  for (uint32_t round = 0; round < static_cast<uint32_t>(rounds); ++round) {
    all.push_back(Greedy(60));
    all.push_back(Guided({.json_schema = kSchema}, round));
    all.push_back(Guided({.regex = "([a-z]{1,8} ){6,9}[.]"}, round));
    all.push_back(Guided({.grammar = "root ::= \"a\" root \"b\" | [0-9]+"}, round, 40));
  }
  std::vector<std::unique_ptr<RequestHandle>> handles;
  for (size_t i = 0; i < all.size(); ++i)
    handles.push_back(Submit(engine, kPrompts[i % kPrompts.size()], all[i]));
  for (size_t i = 0; i < all.size(); ++i) {
    Answer found = Finish(*handles[i]), expected = Generate(*plain, all[i], kPrompts[i % kPrompts.size()]);
    EXPECT_TRUE(found == expected) << i << ": " << found.text << " and " << expected.text;
  }
  ExpectIdle(engine);
}

TEST(EngineGuided, BesideOthersAsAlone) { ExpectAsAlone(*Load(), 3); }

TEST(EngineGuided, PlanningAheadGivesTheSame) {
  EngineOptions options;
  options.async_scheduling = true;
  ExpectAsAlone(*Load(options), 2);
}

TEST(EngineGuided, WithGuessesForOthersTheSame) {
  EngineOptions options;
  options.num_speculative_tokens = 3;
  ExpectAsAlone(*Load(options), 2);
}

TEST(EngineGuided, PreemptedGivesTheSame) {
  for (const char *mode : {"recompute", "swap"}) {
    EngineOptions options = FewPages(16);
    options.preemption_mode = mode;
    std::unique_ptr<Engine> engine = Load(options);
    ExpectAsAlone(*engine, 2);
    EXPECT_GT(engine->Stats().preemptions, 0) << mode;
  }
}

TEST(EngineGuided, StepsThatFailGiveTheSame) {
  for (bool ahead : {false, true})
    for (int64_t failing : {2, 5, 9, 20}) {
      Faults faults;
      faults.run = [=](int64_t step, const StepSizes &) { return step == failing; };
      faults.wait = [=](int64_t event) { return event == failing + 7; };
      EngineOptions options;
      options.async_scheduling = ahead;
      ExpectAsAlone(
          *Load(options,
                [&](std::unique_ptr<Device> real) { return std::make_unique<FaultyDevice>(std::move(real), faults); }),
          1);
    }
}

// The random noise of sampling must never select a token that the mask does not allow.
TEST(EngineGuided, ManySamplesKeepToTheMask) {
  std::unique_ptr<Engine> engine = Load();
  SamplingParams sampling = Guided({.regex = "[01]*"}, 0, 300);
  sampling.n = Rounds(48, 12);
  sampling.min_tokens = 300;
  auto handle = Submit(*engine, "x", sampling);
  int64_t tokens = 0;
  for (; std::optional<Piece> piece = handle->Next(); ++tokens)
    ASSERT_TRUE(piece->text.find_first_not_of("01") == std::string::npos) << piece->text;
  EXPECT_TRUE(handle->status().ok()) << handle->status();
  EXPECT_EQ(tokens, sampling.n * 300);
}

TEST(EngineGuided, WhatCannotBeReadIsRefused) {
  std::unique_ptr<Engine> engine = Load();
  auto message = [&](GuidedParams form) {
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle =
        engine->Submit({.prompt = "x", .prompt_token_ids = {}, .sampling = Guided(std::move(form), 0)});
    EXPECT_EQ(handle.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(handle.status().message());
  };
  EXPECT_THAT(message({.json_schema = "{"}), HasSubstr("json schema: "));
  EXPECT_THAT(message({.json_schema = R"({"type": "text"})"}), HasSubstr("json schema: "));
  EXPECT_THAT(message({.regex = "(a"}), HasSubstr("regex: "));
  EXPECT_THAT(message({.grammar = "start ::= \"a\""}), HasSubstr("grammar: "));
  EXPECT_THAT(message({.regex = "a", .choice = {"a"}}), HasSubstr("has 2 constraints, expected exactly one"));
  EXPECT_THAT(message({.regex = std::string(5'000'000, 'a')}), HasSubstr("5000000 bytes"));
  EXPECT_EQ(engine->Stats().waiting, 0);
}

// An error that is only found during compilation ends this request and no other.
TEST(EngineGuided, WhatCannotBeCompiledFailsByItself) {
  std::unique_ptr<Engine> engine = Load();
  auto good = Submit(*engine, kPrompts[1], Guided({.json_schema = kSchema}, 1));
  // The automaton would have more states than the limit.
  auto bad = Submit(*engine, kPrompts[1], Guided({.choice = {std::string(600'000, 'a')}}, 1));
  EXPECT_FALSE(bad->Next());
  EXPECT_EQ(bad->finish_reason(), FinishReason::kError);
  EXPECT_EQ(bad->status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bad->status().message()), HasSubstr("choice: "));
  ExpectPerson(Finish(*good).text);
  ExpectIdle(*engine);
  EXPECT_EQ(engine->Stats().finished_error, 1);
}

// Returns a constraint that is slow to compile: its choices are random, so their automaton has many states. Each number
// gives different choices.
GuidedParams Slow(int number) {
  GuidedParams form;
  std::mt19937 random(static_cast<uint32_t>(number));
  for (int i = 0; i < 12'000; ++i) {
    std::string &text = form.choice.emplace_back();
    for (int j = 0; j < 30; ++j)
      text += static_cast<char>('a' + random() % 26);
  }
  return form;
}

TEST(EngineGuided, CancelledAndLateWhileTheGrammarIsCompiled) {
  std::unique_ptr<Engine> engine = Load();
  std::vector<std::unique_ptr<RequestHandle>> busy;
  for (int i = 0; i < 6; ++i)
    busy.push_back(Submit(*engine, kPrompts[1], Guided(Slow(i), 1)));
  auto cancelled = Submit(*engine, kPrompts[1], Guided(Slow(100), 1));
  cancelled->Cancel();
  absl::StatusOr<std::unique_ptr<RequestHandle>> late =
      engine->Submit({.prompt = kPrompts[1],
                      .prompt_token_ids = {},
                      .sampling = Guided(Slow(101), 1),
                      .deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(1)});
  ASSERT_TRUE(late.ok()) << late.status();
  // Requests without a constraint do not wait for the compilation.
  Answer free = Generate(*engine, Greedy(4));
  EXPECT_EQ(free.tokens.size(), 4u);
  EXPECT_FALSE(cancelled->Next());
  EXPECT_EQ(cancelled->finish_reason(), FinishReason::kCancelled);
  EXPECT_FALSE((*late)->Next());
  EXPECT_EQ((*late)->status().code(), absl::StatusCode::kDeadlineExceeded);
  busy.resize(2); // cancels the other requests
  for (auto &handle : busy)
    EXPECT_EQ(Finish(*handle).reason, FinishReason::kStop);
  ExpectIdle(*engine);
}

TEST(EngineGuided, ShutsDownWhileGrammarsAreCompiled) {
  std::unique_ptr<Engine> engine = Load();
  std::vector<std::unique_ptr<RequestHandle>> handles;
  for (int i = 0; i < 4; ++i)
    handles.push_back(Submit(*engine, kPrompts[1], Guided(Slow(i), 1)));
  EXPECT_EQ(engine->Shutdown(std::chrono::steady_clock::now()).code(), absl::StatusCode::kDeadlineExceeded);
  engine.reset();
  for (auto &handle : handles) {
    EXPECT_FALSE(handle->Next());
    EXPECT_EQ(handle->finish_reason(), FinishReason::kError);
  }
}

} // namespace
} // namespace inlay
