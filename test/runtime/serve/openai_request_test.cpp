// Bodies of requests: what is accepted means what it says, what is refused names the field.
#include "runtime/serve/openai_request.h"

#include "nlohmann/json.hpp"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inlay::serve {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

RequestContext Context(bool has_tool_parser = false) {
  RequestContext context;
  context.vocab_size = 100;
  context.max_model_len = 64;
  context.default_sampling.temperature = 0.7f;
  context.has_tool_parser = has_tool_parser;
  return context;
}

GenerationRequest Completion(std::string_view body) {
  GenerationRequest request;
  std::optional<ApiError> wrong = ParseCompletion(body, Context(), request);
  EXPECT_FALSE(wrong) << wrong->message;
  return request;
}

GenerationRequest Chat(std::string_view body, bool has_tool_parser = false) {
  GenerationRequest request;
  std::optional<ApiError> wrong = ParseChat(body, Context(has_tool_parser), request);
  EXPECT_FALSE(wrong) << wrong->message;
  return request;
}

TEST(CompletionTest, DefaultsAreTheCheckpointsAndOpenAis) {
  GenerationRequest request = Completion(R"({"prompt": "a"})");
  EXPECT_EQ(request.prompts.at(0).text, "a");
  EXPECT_FLOAT_EQ(request.sampling.temperature, 0.7f);
  EXPECT_EQ(request.sampling.max_tokens, 16);
  EXPECT_EQ(request.sampling.logprobs, -1);
  EXPECT_EQ(request.n, 1);
  EXPECT_FALSE(request.stream);
}

TEST(CompletionTest, NullsAreAbsent) {
  GenerationRequest request =
      Completion(R"({"prompt": "a", "n": null, "stop": null, "logit_bias": null, "seed": null})");
  EXPECT_EQ(request.n, 1);
  EXPECT_FALSE(request.sampling.seed.has_value());
}

TEST(CompletionTest, AllFieldsArrive) {
  GenerationRequest request = Completion(R"({
    "model": "m", "prompt": "a", "max_tokens": 5, "temperature": 0, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "n": 2,
    "best_of": 3, "logprobs": 4, "stop": ["x", "y"], "seed": 7, "presence_penalty": -1, "frequency_penalty": 1,
    "repetition_penalty": 1.5, "ignore_eos": true, "stop_token_ids": [3], "user": "u", "add_special_tokens": false})");
  const SamplingParams &sampling = request.sampling;
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(sampling.max_tokens, 5);
  EXPECT_EQ(sampling.temperature, 0);
  EXPECT_FLOAT_EQ(sampling.top_p, 0.5f);
  EXPECT_EQ(sampling.top_k, 3);
  EXPECT_FLOAT_EQ(sampling.min_p, 0.1f);
  EXPECT_EQ(request.n, 2);
  EXPECT_EQ(request.best_of, 3);
  EXPECT_EQ(sampling.logprobs, 4);
  EXPECT_THAT(sampling.stop, ElementsAre("x", "y"));
  EXPECT_EQ(sampling.seed, 7u);
  EXPECT_FLOAT_EQ(sampling.presence_penalty, -1);
  EXPECT_FLOAT_EQ(sampling.frequency_penalty, 1);
  EXPECT_FLOAT_EQ(sampling.repetition_penalty, 1.5f);
  EXPECT_TRUE(sampling.ignore_eos);
  EXPECT_THAT(sampling.stop_token_ids, ElementsAre(3));
  EXPECT_FALSE(request.add_special_tokens);
}

TEST(CompletionTest, PromptsOfAllForms) {
  EXPECT_THAT(Completion(R"({"prompt": [1, 2]})").prompts.at(0).token_ids, ElementsAre(1, 2));
  EXPECT_EQ(Completion(R"({"prompt": ["a", "b"]})").prompts.at(1).text, "b");
  EXPECT_THAT(Completion(R"({"prompt": [[1], [2, 3]]})").prompts.at(1).token_ids, ElementsAre(2, 3));
}

TEST(CompletionTest, StreamOptions) {
  GenerationRequest request =
      Completion(R"({"prompt": "a", "stream": true, "stream_options": {"include_usage": true}})");
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.include_usage);
}

TEST(CompletionTest, FormsOfAnswers) {
  auto guided = [](const char *fields) {
    return Completion(std::string("{\"prompt\": \"a\", ") + fields + "}").sampling.guided;
  };
  EXPECT_TRUE(guided(R"("response_format": {"type": "text"})").empty());
  EXPECT_EQ(guided(R"("response_format": {"type": "json_object"})").json_schema, R"({"type":"object"})");
  EXPECT_EQ(guided(R"("response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"a": 1}}})")
                .json_schema,
            R"({"a":1})");
  EXPECT_EQ(guided(R"("structured_outputs": {"regex": "a+"})").regex, "a+");
  EXPECT_THAT(guided(R"("structured_outputs": {"choice": ["x", "y"]})").choice, ElementsAre("x", "y"));
  EXPECT_EQ(guided(R"("guided_json": {"type": "null"})").json_schema, R"({"type":"null"})");
  EXPECT_EQ(guided(R"("guided_json": "{}")").json_schema, "{}");
  EXPECT_EQ(guided(R"("guided_regex": "a+")").regex, "a+");
  EXPECT_EQ(guided(R"("guided_grammar": "root ::= \"a\"")").grammar, "root ::= \"a\"");
  EXPECT_THAT(guided(R"("guided_choice": ["x", "y"])").choice, ElementsAre("x", "y"));
}

TEST(CompletionTest, WhatTheEngineIsTold) {
  GenerationRequest request = Completion(R"({"prompt": "a", "logit_bias": {"3": -5, "4": 2.5}, "min_tokens": 2,
                                             "priority": -1, "cache_salt": "s"})");
  EXPECT_EQ(request.sampling.logit_bias, (std::map<int32_t, float>{{3, -5.0f}, {4, 2.5f}}));
  EXPECT_EQ(request.sampling.min_tokens, 2);
  EXPECT_EQ(request.priority, -1);
  EXPECT_EQ(request.cache_salt, "s");
}

TEST(CompletionTest, AnEchoNeedsNoTokens) {
  GenerationRequest request = Completion(R"({"prompt": "a", "echo": true, "max_tokens": 0, "logprobs": 2})");
  EXPECT_TRUE(request.echo_only);
  EXPECT_EQ(request.sampling.max_tokens, 1);
  EXPECT_EQ(request.sampling.prompt_logprobs, 2);
}

TEST(ChatTest, PartsOfTextAreJoinedAndArgumentsAreParsed) {
  GenerationRequest request = Chat(R"({"messages": [
    {"role": "developer", "content": "d"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "assistant", "content": null,
     "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
    {"role": "tool", "tool_call_id": "c", "content": "r"}]})");
  json messages = json::parse(request.conversation.messages);
  EXPECT_EQ(messages[0]["role"], "system");
  EXPECT_EQ(messages[1]["content"], "ab");
  EXPECT_EQ(messages[2]["tool_calls"][0]["function"]["arguments"]["x"], 1);
  EXPECT_EQ(messages[3]["tool_call_id"], "c");
}

// What OpenAI's client, LiteLLM and agents send back from answers, and that vLLM takes.
TEST(ChatTest, MessagesOfRealClients) {
  GenerationRequest request = Chat(R"({"messages": [
    {"role": "user", "content": [{"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}}]},
    {"role": "assistant", "content": null, "reasoning": "hm", "refusal": null, "annotations": []},
    {"role": "assistant", "reasoning_content": "so", "refusal": "no", "tool_calls": [
      {"id": "c", "function": {"name": "f", "arguments": {"x": 1}}}]},
    {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}]},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, {"type": "output_text", "text": "o"}]},
    {"role": "ipython", "content": "x"}]})");
  Json messages = Json::parse(request.conversation.messages);
  EXPECT_EQ(messages[0]["content"], "q");
  EXPECT_EQ(messages[1],
            (Json{{"role", "assistant"}, {"content", ""}, {"reasoning", "hm"}, {"reasoning_content", "hm"}}));
  EXPECT_EQ(messages[2]["reasoning"], "so");
  EXPECT_EQ(messages[2]["tool_calls"][0]["function"]["arguments"]["x"], 1);
  EXPECT_EQ(messages[3]["content"], "r");
  EXPECT_EQ(messages[4]["content"], "o");
  EXPECT_EQ(messages[5]["role"], "ipython");
}

// openai-python's pydantic_function_tool() sets strict.
TEST(ChatTest, StrictTools) {
  GenerationRequest request = Chat(R"({"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function",
    "function": {"name": "f", "strict": true, "parameters": {"type": "object"}}}]})",
                                   /*has_tool_parser=*/true);
  ASSERT_NE(request.conversation.tools->Find("f"), nullptr);
  EXPECT_EQ(request.conversation.tools->Find("g"), nullptr);
}

TEST(ChatTest, LogprobsAreAskedForInTwoFields) {
  constexpr const char *kMessages = R"("messages": [{"role": "user", "content": "a"}])";
  EXPECT_EQ(Chat(std::string("{\"logprobs\": true, \"top_logprobs\": 3,") + kMessages + "}").sampling.logprobs, 3);
  EXPECT_EQ(Chat(std::string("{\"logprobs\": true,") + kMessages + "}").sampling.logprobs, 0);
  EXPECT_EQ(Chat(std::string("{") + kMessages + "}").sampling.logprobs, -1);
}

TEST(ChatTest, ToolsNeedAParserUnlessTheyAreNotToBeCalled) {
  constexpr const char *kBody = R"({"messages": [{"role": "user", "content": "a"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])";
  EXPECT_EQ(Chat(std::string(kBody) + "}", /*has_tool_parser=*/true).tool_choice, ToolChoice::kAuto);
  EXPECT_EQ(Chat(std::string(kBody) + R"(, "tool_choice": "none"})").tool_choice, ToolChoice::kNone);
  // Forced ones need no parser of the model's own way to write them.
  GenerationRequest forced = Chat(std::string(kBody) + R"(, "tool_choice": "required"})");
  EXPECT_EQ(forced.tool_choice, ToolChoice::kForced);
  EXPECT_THAT(forced.sampling.guided.json_schema, HasSubstr(R"("minItems":1)"));
  GenerationRequest request;
  std::optional<ApiError> wrong = ParseChat(std::string(kBody) + "}", Context(), request);
  ASSERT_TRUE(wrong);
  EXPECT_THAT(wrong->message, HasSubstr("--tool-call-parser"));
}

struct Bad {
  std::string name, body, param, message;
  bool is_chat = false;
};

class BadBodies : public ::testing::TestWithParam<Bad> {};

TEST_P(BadBodies, AreRefusedByName) {
  GenerationRequest request;
  std::optional<ApiError> wrong = GetParam().is_chat ? ParseChat(GetParam().body, Context(), request)
                                                     : ParseCompletion(GetParam().body, Context(), request);
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->status, 400);
  EXPECT_EQ(wrong->type, "invalid_request_error");
  EXPECT_EQ(wrong->param, GetParam().param);
  EXPECT_THAT(wrong->message, HasSubstr(GetParam().message));
}

std::string Nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }
std::string ManyNames(int count) {
  std::string body = "{\"prompt\": \"a\"";
  for (int i = 0; i < count; ++i)
    body += ", \"x" + std::to_string(i) + "\": 1";
  return body + "}";
}

INSTANTIATE_TEST_SUITE_P(
    Completions, BadBodies,
    ::testing::Values(
        Bad{"Empty", "", "", "not valid JSON"}, Bad{"Truncated", R"({"prompt": "a")", "", "not valid JSON"},
        Bad{"List", "[]", "", "expected a JSON object"},
        Bad{"NaN", R"({"prompt": "a", "top_p": NaN})", "", "not valid"},
        Bad{"HugeNumber", R"({"prompt": "a", "top_p": 1e999})", "", "not valid JSON"},
        Bad{"LoneSurrogate", R"({"prompt": "\ud800"})", "", "surrogate"},
        Bad{"LoneLowSurrogate", R"({"prompt": "\udc00a"})", "", "surrogate"},
        Bad{"BytesThatAreNoUtf8", "{\"prompt\": \"\xff\"}", "", "UTF-8"},
        Bad{"Deep", "{\"prompt\": " + Nested(1000) + "}", "", "nested deeper than 64"},
        Bad{"ManyNames", ManyNames(10'001), "", "names of fields"},
        Bad{"Twice", R"({"prompt": "a", "n": 1, "n": 2})", "n", "stands twice"},
        Bad{"TwiceWithoutALetter", R"({"prompt": "a", "": 1, "": 2})", "", "stands twice"},
        Bad{"Unknown", R"({"prompt": "a", "tempreature": 1})", "tempreature", "not a known field"},
        Bad{"NoPrompt", "{}", "prompt", "is missing"}, Bad{"EmptyPrompt", R"({"prompt": ""})", "prompt", "not empty"},
        Bad{"EmptyList", R"({"prompt": []})", "prompt", "not empty"},
        Bad{"PromptOfNumbers", R"({"prompt": 5})", "prompt", "is 5"},
        Bad{"MixedPrompt", R"({"prompt": ["a", 1]})", "prompt", "prompt[1]"},
        Bad{"IdOutOfRange", R"({"prompt": [1, 100]})", "prompt", "expected a token id in [0, 100)"},
        Bad{"NegativeId", R"({"prompt": [-1]})", "prompt", "'prompt[0]' is -1"},
        Bad{"HugeId", R"({"prompt": [18446744073709551615]})", "prompt", "token id"},
        Bad{"FractionalId", R"({"prompt": [1.5]})", "prompt", "1.5"},
        Bad{"ManyIds", "{\"prompt\": " + json(std::vector<int>(100, 1)).dump() + "}", "prompt", "expected at most 64"},
        Bad{"NegativeN", R"({"prompt": "a", "n": -1})", "n", "expected an integer in [1, 128]"},
        Bad{"ABillionAnswers", R"({"prompt": "a", "n": 1000000000})", "n", "is 1000000000"},
        Bad{"FractionalN", R"({"prompt": "a", "n": 1.5})", "n", "is 1.5"},
        Bad{"NAsText", R"({"prompt": "a", "n": "2"})", "n", "the string \"2\""},
        Bad{"TooManySequences", R"({"prompt": ["a", "b"], "n": 100})", "n", "are 200 sequences"},
        Bad{"BestOfBelowN", R"({"prompt": "a", "n": 3, "best_of": 2})", "best_of", "at least n = 3"},
        Bad{"BestOfStream", R"({"prompt": "a", "best_of": 2, "stream": true})", "best_of", "stream"},
        Bad{"NoTokens", R"({"prompt": "a", "max_tokens": 0})", "max_tokens", "[1, 64]"},
        Bad{"HugeMaxTokens", R"({"prompt": "a", "max_tokens": 99999999999999999999})", "max_tokens", "integer"},
        Bad{"NegativeTemperature", R"({"prompt": "a", "temperature": -0.1})", "temperature", "[0, 2]"},
        Bad{"TopPZero", R"({"prompt": "a", "top_p": 0})", "top_p", "(0, 1]"},
        Bad{"LogprobsTrue", R"({"prompt": "a", "logprobs": true})", "logprobs", "is true"},
        Bad{"ManyLogprobs", R"({"prompt": "a", "logprobs": 21})", "logprobs", "[0, 20]"},
        Bad{"StopOfNumbers", R"({"prompt": "a", "stop": [1]})", "stop", "'stop[0]' is 1"},
        Bad{"EmptyStop", R"({"prompt": "a", "stop": ""})", "stop", "not empty"},
        Bad{"ManyStops", "{\"prompt\": \"a\", \"stop\": " + json(std::vector<std::string>(10'000, "x")).dump() + "}",
            "stop", "has 10000 strings"},
        Bad{"StreamOptionsAlone", R"({"prompt": "a", "stream_options": {}})", "stream_options", "'stream' to true"},
        Bad{"UnknownStreamOption", R"({"prompt": "a", "stream": true, "stream_options": {"x": 1}})", "stream_options.x",
            "not a known field"},
        Bad{"LogitBiasOfWords", R"({"prompt": "a", "logit_bias": {"a": 5}})", "logit_bias", "names 'a'"},
        Bad{"LogitBiasOutOfRange", R"({"prompt": "a", "logit_bias": {"1": 101}})", "logit_bias", "[-100, 100]"},
        Bad{"LogitBiasAsList", R"({"prompt": "a", "logit_bias": [1]})", "logit_bias", "an object"},
        Bad{"Suffix", R"({"prompt": "a", "suffix": "b"})", "suffix", "fill in the middle"},
        Bad{"SchemaMissing", R"({"prompt": "a", "response_format": {"type": "json_schema"}})", "response_format",
            "a JSON Schema"},
        Bad{"TwoForms", R"({"prompt": "a", "structured_outputs": {"regex": "a", "choice": ["b"]}})",
            "structured_outputs", "has 2 fields"},
        Bad{"ChoiceOfNumbers", R"({"prompt": "a", "structured_outputs": {"choice": [1]}})", "structured_outputs.choice",
            "expected strings"},
        Bad{"TwoGuided", R"({"prompt": "a", "guided_regex": "a", "guided_choice": ["b"]})", "guided_json",
            "more than one form"},
        Bad{"GuidedBesideFormat", R"({"prompt": "a", "guided_regex": "a", "response_format": {"type": "json_object"}})",
            "guided_json", "more than one form"},
        Bad{"GuidedNumber", R"({"prompt": "a", "guided_json": 3})", "guided_json", "expected a JSON Schema"},
        Bad{"EmptyRegex", R"({"prompt": "a", "guided_regex": ""})", "guided_regex", "is empty"},
        Bad{"HugePriority", R"({"prompt": "a", "priority": 4294967296})", "priority", "integer"},
        Bad{"UnknownFormat", R"({"prompt": "a", "response_format": {"type": "xml"}})", "response_format",
            "expected text, json_object"}),
    [](const auto &info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Chats, BadBodies,
    ::testing::Values(
        Bad{"NoMessages", "{}", "messages", "is missing", true},
        Bad{"EmptyMessages", R"({"messages": []})", "messages", "1 to 4096", true},
        Bad{"MessagesAsText", R"({"messages": "hi"})", "messages", "the string", true},
        Bad{"MessageAsText", R"({"messages": ["hi"]})", "messages[0]", "expected an object", true},
        Bad{"NoRole", R"({"messages": [{"content": "a"}]})", "messages[0].role", "is missing", true},
        Bad{"NoContent", R"({"messages": [{"role": "user"}]})", "messages[0].content", "is missing", true},
        Bad{"UnknownMessageField", R"({"messages": [{"role": "user", "content": "a", "x": 1}]})", "messages[0].x",
            "not a known field", true},
        Bad{"Image", R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})",
            "messages[0].content[0].type", "text only", true},
        Bad{"ArgumentsThatAreNoJson",
            R"({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]})",
            "messages[0].tool_calls[0].function.arguments", "JSON object", true},
        Bad{"TopLogprobsAlone", R"({"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2})",
            "top_logprobs", "'logprobs': true", true},
        Bad{"ForcedToolOfNone", R"({"messages": [{"role": "user", "content": "a"}], "tool_choice": "required"})",
            "tool_choice", "no 'tools'", true},
        Bad{"ForcedToolAndForm", R"({"messages": [{"role": "user", "content": "a"}], "tool_choice": "required",
                             "response_format": {"type": "json_object"},
                             "tools": [{"type": "function", "function": {"name": "f"}}]})",
            "tool_choice", "forces a call", true},
        Bad{"UnknownForcedTool", R"({"messages": [{"role": "user", "content": "a"}],
                             "tool_choice": {"type": "function", "function": {"name": "g"}},
                             "tools": [{"type": "function", "function": {"name": "f"}}]})",
            "tool_choice", "names the function 'g'", true},
        Bad{"ToolsTwice", R"({"messages": [{"role": "user", "content": "a"}],
             "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}]})",
            "tools[1].function.name", "second time", true},
        Bad{"ReservedVariable", R"({"messages": [{"role": "user", "content": "a"}],
                                   "chat_template_kwargs": {"messages": []}})",
            "chat_template_kwargs", "holds 'messages'", true}),
    [](const auto &info) { return info.param.name; });

TEST(TokenizeTest, TextsAndConversations) {
  TokenizeRequest request;
  EXPECT_FALSE(ParseTokenize(R"({"prompt": "a", "add_special_tokens": false})", Context(), request));
  EXPECT_EQ(request.prompt, "a");
  EXPECT_FALSE(request.add_special_tokens);
  request = {};
  EXPECT_FALSE(ParseTokenize(R"({"messages": [{"role": "user", "content": "a"}]})", Context(), request));
  EXPECT_TRUE(request.is_chat);
  EXPECT_THAT(ParseTokenize("{}", Context(), request)->message, HasSubstr("'prompt' is missing"));
}

TEST(DetokenizeTest, IdsAreChecked) {
  DetokenizeRequest request;
  EXPECT_FALSE(ParseDetokenize(R"({"tokens": [1, 2]})", Context(), request));
  EXPECT_THAT(request.tokens, ElementsAre(1, 2));
  EXPECT_THAT(ParseDetokenize(R"({"tokens": [100]})", Context(), request)->message, HasSubstr("'tokens[0]' is 100"));
  EXPECT_THAT(ParseDetokenize("{}", Context(), request)->message, HasSubstr("'tokens' is missing"));
}

} // namespace
} // namespace inlay::serve
