// Reading generation_config.json: what vLLM takes from it is taken, values out of range are errors with their key, and
// every other key is named.

#include "frontends/hf/GenerationConfig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay::hf {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

// The lines of errors and warnings, and then those of notes.
std::vector<std::string> LinesOf(std::string_view text) {
  Problems problems;
  auto config = ParseGenerationConfig(text, "generation_config.json", 100, problems);
  EXPECT_EQ(config.has_value(), !problems.HasErrors());
  std::vector<std::string> lines;
  for (const Problem &problem : problems.items())
    lines.push_back(problem.ToString());
  lines.insert(lines.end(), problems.notes().begin(), problems.notes().end());
  return lines;
}

GenerationConfig Parse(std::string_view text) {
  Problems problems;
  auto config = ParseGenerationConfig(text, "generation_config.json", 100, problems);
  EXPECT_EQ(problems.ToStatus(), absl::OkStatus());
  return config.value_or(GenerationConfig());
}

TEST(GenerationConfig, TakesWhatVllmTakes) {
  GenerationConfig config = Parse(R"({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.05,
      "repetition_penalty": 1.05, "max_new_tokens": 2048, "eos_token_id": [12, 13]})");
  EXPECT_EQ(config.temperature, 0.6);
  EXPECT_EQ(config.top_k, 20);
  EXPECT_EQ(config.top_p, 0.95);
  EXPECT_EQ(config.min_p, 0.05);
  EXPECT_EQ(config.repetition_penalty, 1.05);
  EXPECT_EQ(config.max_new_tokens, 2048);
  EXPECT_THAT(config.eos, Optional(ElementsAre(12, 13)));
  EXPECT_EQ(Parse(R"({"top_k": -1})").top_k, 0); // vLLM's spelling of all tokens.
}

TEST(GenerationConfig, WhatIsLeftOutOrNullIsAbsent) {
  for (const char *text : {"{}", R"({"temperature": null, "top_k": null, "eos_token_id": null, "do_sample": null})"}) {
    GenerationConfig config = Parse(text);
    EXPECT_FALSE(config.temperature || config.top_k || config.top_p || config.min_p || config.repetition_penalty ||
                 config.max_new_tokens || config.eos)
        << text;
  }
}

// Published with temperature and top_p beside do_sample false: haotian-liu/LLaVA issue 1635 (from Vicuna), and with
// temperature 0.0: huggingface/transformers issue 33427. transformers samples greedily.
TEST(GenerationConfig, WithoutSamplingIsGreedy) {
  EXPECT_EQ(Parse(R"({"do_sample": false, "temperature": 0.9, "top_p": 0.6})").temperature, 0);
  EXPECT_EQ(Parse(R"({"do_sample": false, "temperature": 0.0})").temperature, 0);
}

// DBRX and Llama 3 list the token that ends a turn here alone: vllm-project/vllm pull request 4182 and issue 4180.
TEST(GenerationConfig, ReadsEndTokensAsANumberOrAList) {
  EXPECT_THAT(Parse(R"({"eos_token_id": 3})").eos, Optional(ElementsAre(3)));
  EXPECT_THAT(Parse(R"({"eos_token_id": [3, 9, 3]})").eos, Optional(ElementsAre(3, 9)));
  EXPECT_THAT(Parse(R"({"eos_token_id": []})").eos, Optional(IsEmpty()));
}

TEST(GenerationConfig, MinusOneEndsNoText) {
  EXPECT_THAT(
      LinesOf(R"({"eos_token_id": [-1, 9]})"),
      ElementsAre("generation_config.json: eos_token_id: found [-1,9], expected ids from 0 to 99; -1 is no token "
                  "and ends no text, as in transformers"));
}

TEST(GenerationConfig, BrokenJsonIsAnError) {
  EXPECT_THAT(LinesOf(R"({"temperature": 0.7, })"),
              ElementsAre(::testing::StartsWith("generation_config.json: found invalid JSON (parse error at line 1")));
  EXPECT_THAT(LinesOf("[]"), ElementsAre(HasSubstr("found [], expected a JSON object")));
}

struct Wrong {
  const char *text;
  const char *line;
};
class WrongValues : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongValues, AreErrors) {
  EXPECT_THAT(LinesOf(GetParam().text),
              ElementsAre("generation_config.json: " + std::string(GetParam().line) + "; correct the value"));
}

INSTANTIATE_TEST_SUITE_P(
    Keys, WrongValues,
    ::testing::Values(
        Wrong{R"({"temperature": -1})", "temperature: found -1, expected a number from 0 to 100"},
        Wrong{R"({"temperature": "0.7"})", "temperature: found \"0.7\", expected a number from 0 to 100"},
        Wrong{R"({"temperature": NaN})", "temperature: found \"NaN\", expected a number from 0 to 100"},
        Wrong{R"({"top_p": 3})", "top_p: found 3, expected a number above 0 and at most 1"},
        Wrong{R"({"top_p": 0})", "top_p: found 0, expected a number above 0 and at most 1"},
        Wrong{R"({"top_k": 2.5})", "top_k: found 2.5, expected an integer from -1 to 1073741824"},
        Wrong{R"({"top_k": -2})", "top_k: found -2, expected an integer from -1 to 1073741824"},
        Wrong{R"({"min_p": 1.5})", "min_p: found 1.5, expected a number from 0 to 1"},
        Wrong{R"({"repetition_penalty": 0.0})",
              "repetition_penalty: found 0.0, expected a number above 0 and at most 100"},
        Wrong{R"({"max_new_tokens": 0})", "max_new_tokens: found 0, expected an integer from 1 to 1073741824"},
        Wrong{R"({"do_sample": "yes"})", "do_sample: found \"yes\", expected true or false"},
        // Ids that no logit belongs to: gonka-ai/gonka pull request 1170.
        Wrong{R"({"eos_token_id": 100})", "eos_token_id: found 100, expected an integer from 0 to 99"},
        Wrong{R"({"eos_token_id": [1, 151645]})", "eos_token_id: found [1,151645], expected integers from 0 to 99"},
        Wrong{R"({"eos_token_id": "</s>"})", "eos_token_id: found \"</s>\", expected an integer from 0 to 99"},
        Wrong{R"({"eos_token_id": -2})", "eos_token_id: found -2, expected an integer from 0 to 99"}));

TEST(GenerationConfig, NamesWhatItDoesNotUse) {
  EXPECT_THAT(
      LinesOf(R"({"num_beams": 4, "no_repeat_ngram_size": 0, "transformers_version": "4.40.0"})"),
      ElementsAre("generation_config.json: num_beams: found 4, expected a key that is used; it is ignored; texts "
                  "differ from those of transformers",
                  "generation_config.json: no_repeat_ngram_size: ignored: it has no effect at this value",
                  "generation_config.json: transformers_version: ignored: it says nothing about sampling"));
}

} // namespace
} // namespace inlay::hf
