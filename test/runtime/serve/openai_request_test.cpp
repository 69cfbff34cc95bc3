// Request bodies: accepted fields have the documented effect, and errors name the field.
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

std::string ManyNames(int count) {
  std::string body = "{\"prompt\": \"a\"";
  for (int i = 0; i < count; ++i)
    body += ", \"x" + std::to_string(i) + "\": 1";
  return body + "}";
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
                                             "cache_salt": "s"})");
  EXPECT_EQ(request.sampling.logit_bias, (std::map<int32_t, float>{{3, -5.0f}, {4, 2.5f}}));
  EXPECT_EQ(request.sampling.min_tokens, 2);
  EXPECT_EQ(request.cache_salt, "s");
}

// vLLM's fields under vLLM's names. docs/api.md describes each.
TEST(CompletionTest, FieldsOfVllm) {
  GenerationRequest request = Completion(R"({"prompt": "a", "include_stop_str_in_output": true,
    "skip_special_tokens": false, "spaces_between_special_tokens": true, "allowed_token_ids": [1, 2],
    "bad_words": ["x", " y"], "prompt_logprobs": 3, "truncate_prompt_tokens": -1, "truncation_side": "right",
    "return_token_ids": true, "return_tokens_as_token_ids": true, "request_id": "a-1"})");
  EXPECT_TRUE(request.sampling.include_stop_str_in_output);
  EXPECT_FALSE(request.sampling.skip_special_tokens);
  EXPECT_THAT(request.sampling.allowed_token_ids, ElementsAre(1, 2));
  EXPECT_THAT(request.sampling.bad_words, ElementsAre("x", " y"));
  EXPECT_EQ(request.sampling.prompt_logprobs, 3);
  EXPECT_EQ(request.prompt_logprobs, 3);
  EXPECT_EQ(request.truncate_prompt_tokens, -1);
  EXPECT_TRUE(request.truncates_right);
  EXPECT_TRUE(request.return_token_ids);
  EXPECT_TRUE(request.return_tokens_as_token_ids);
  EXPECT_EQ(request.request_id, "a-1");
}

// vLLM: "top_k: 0 (or -1) to consider all tokens", "seed == -1: None" (vllm/sampling_params.py).
TEST(CompletionTest, WordsForOff) {
  EXPECT_EQ(Completion(R"({"prompt": "a", "top_k": -1})").sampling.top_k, 0);
  EXPECT_EQ(Completion(R"({"prompt": "a", "top_k": 0})").sampling.top_k, 0);
  EXPECT_FALSE(Completion(R"({"prompt": "a", "seed": -1})").sampling.seed.has_value());
  EXPECT_TRUE(Completion(R"({"prompt": "a", "seed": -2})").sampling.seed.has_value());
}

// The field max_completion_tokens on the older endpoint: LiteLLM maps it for text completions (BerriAI/litellm).
TEST(CompletionTest, BothNamesOfTheBound) {
  EXPECT_EQ(Completion(R"({"prompt": "a", "max_completion_tokens": 3})").sampling.max_tokens, 3);
  EXPECT_EQ(Completion(R"({"prompt": "a", "max_completion_tokens": 3, "max_tokens": 5})").sampling.max_tokens, 3);
}

TEST(CompletionTest, APriorityNeedsItsPolicy) {
  RequestContext context = Context();
  GenerationRequest request;
  EXPECT_FALSE(ParseCompletion(R"({"prompt": "a", "priority": 0})", context, request));
  std::optional<ApiError> wrong = ParseCompletion(R"({"prompt": "a", "priority": -1})", context, request);
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->param, "priority");
  EXPECT_THAT(wrong->message, HasSubstr("--scheduling-policy priority"));
  context.has_priorities = true;
  EXPECT_FALSE(ParseCompletion(R"({"prompt": "a", "priority": -1})", context, request));
  EXPECT_EQ(request.priority, -1);
}

TEST(CompletionTest, PromptsThatAreCutMayBeLong) {
  std::string ids = json(std::vector<int>(100, 1)).dump();
  EXPECT_EQ(Completion("{\"truncate_prompt_tokens\": 5, \"prompt\": " + ids + "}").prompts[0].token_ids.size(), 100u);
}

// Fields that change nothing are accepted and reported. --strict-fields rejects unknown fields.
TEST(FieldsTest, UnknownFieldsAreReported) {
  constexpr const char *kBody = R"({"messages": [{"role": "user", "content": "a", "x": 1}], "tempreature": 1,
    "stream": true, "stream_options": {"include_usage": true, "y": 2}, "z": null})";
  EXPECT_THAT(Chat(kBody).ignored_fields,
              ::testing::UnorderedElementsAre("messages[0].x", "tempreature", "stream_options.y", "z"));
  RequestContext strict = Context();
  strict.strict_fields = true;
  GenerationRequest request;
  std::optional<ApiError> wrong = ParseChat(kBody, strict, request);
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->param, "stream_options.y");
  EXPECT_THAT(wrong->message, HasSubstr("--strict-fields"));
  EXPECT_THAT(ParseCompletion(R"({"prompt": "a", "tempreature": 1})", strict, request)->message,
              HasSubstr("'tempreature' is not a known field"));
}

TEST(FieldsTest, KnownFieldsAtTheirNoOpValueAreAccepted) {
  EXPECT_THAT(Completion(R"({"prompt": "a", "length_penalty": 1, "use_beam_search": false, "user": "u", "store": false,
                             "logit_bias": null, "suffix": ""})")
                  .ignored_fields,
              ::testing::UnorderedElementsAre("length_penalty", "use_beam_search", "user", "store", "suffix"));
}

TEST(FieldsTest, TheReportIsBounded) { EXPECT_LE(Completion(ManyNames(1000)).ignored_fields.size(), 16u); }

// Bodies from public reports that clients send and other servers accept.
struct RealBody {
  std::string name, body;
  bool is_chat = true;
};
class RealBodies : public ::testing::TestWithParam<RealBody> {};
TEST_P(RealBodies, AreTaken) {
  GenerationRequest request;
  std::optional<ApiError> wrong = GetParam().is_chat ? ParseChat(GetParam().body, Context(), request)
                                                     : ParseCompletion(GetParam().body, Context(), request);
  EXPECT_FALSE(wrong) << wrong->message;
}
#define INLAY_HI R"("messages": [{"role": "user", "content": "a"}])"
INSTANTIATE_TEST_SUITE_P(
    Clients, RealBodies,
    ::testing::Values(
        // openai-python's ChatCompletion.create(store=True, metadata={...}), used for distillation.
        RealBody{"StoreAndMetadata", "{" INLAY_HI R"(, "store": true, "metadata": {"a": "b"}})"},
        // openai-python's service_tier and safety_identifier; prompt_cache_key of the same API.
        RealBody{"ServiceTier", "{" INLAY_HI R"(, "service_tier": "auto", "safety_identifier": "u",
                                               "prompt_cache_key": "k", "prompt_cache_retention": "24h"})"},
        // Predicted outputs make an answer faster and do not change it.
        RealBody{"Prediction", "{" INLAY_HI R"(, "prediction": {"type": "content", "content": "x"}})"},
        // LangChain's ChatOpenAI sends its defaults: n, temperature, logprobs and top_logprobs as null.
        RealBody{"NullsOfLangChain", "{" INLAY_HI R"(, "n": 1, "temperature": null, "logprobs": null, "stop": null,
          "top_logprobs": null, "presence_penalty": null, "max_completion_tokens": null, "reasoning_effort": null,
          "tools": null, "tool_choice": null, "response_format": null, "stream_options": null, "parallel_tool_calls": null})"},
        // ggml-org/llama.cpp pull request 19176: clients that offer no tools send an empty list.
        RealBody{"NoTools", "{" INLAY_HI R"(, "tools": []})"},
        // vLLM's own benchmark_serving sends these with every request.
        RealBody{"BenchmarkServing",
                 R"({"model": "", "prompt": "a", "temperature": 0.0, "repetition_penalty": 1.0, "max_tokens": 8,
                     "logprobs": null, "stream": true, "ignore_eos": true, "stream_options": {"include_usage": true}})",
                 false},
        // LiteLLM passes unknown fields through: drop_params, num_retries, cache_control at the top level.
        RealBody{"ExtrasOfLiteLlm", "{" INLAY_HI R"(, "cache_control": {"type": "ephemeral"}, "num_retries": 2})"},
        // Open WebUI sends chat and session ids, features and options in addition to the messages.
        RealBody{"OpenWebUi", "{" INLAY_HI R"(, "chat_id": "c", "session_id": "s", "features": {}, "options": {}})"},
        // llama.cpp's web client sends its own sampler settings and asks for its own timings.
        RealBody{"LlamaCppClient", "{" INLAY_HI R"(, "cache_prompt": true, "timings_per_token": true,
          "samplers": "edkypmxt", "dynatemp_range": 0, "typical_p": 1, "xtc_probability": 0})"},
        // The Agents SDK sends include_usage and disables obfuscation.
        RealBody{"Obfuscation", "{" INLAY_HI R"(, "stream": true, "stream_options": {"include_obfuscation": false}})"},
        // lm-evaluation-harness: echo with logprobs and no new token, seed 1234.
        RealBody{
            "LmEval",
            R"({"prompt": [[1, 2]], "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": true})",
            false},
        // vllm-project/vllm issue 5797: shell_gpt sends the older names of tools as null.
        RealBody{"ShellGpt",
                 "{" INLAY_HI R"(, "functions": null, "function_call": null, "stream": true, "temperature": 0.0,
          "top_p": 1.0})"},
        // modelscope/ms-agent issue 489: empty stream_options, and stream_options without stream.
        RealBody{"EmptyStreamOptions", "{" INLAY_HI R"(, "stream": false, "stream_options": {}})"},
        // vllm-project/vllm pull request 10463: CodeCompanion adds its own fields to messages.
        RealBody{"CodeCompanion",
                 R"({"messages": [{"role": "system", "content": "a", "id": 1947269257, "opts": {"visible": false}},
                     {"role": "user", "content": "a", "id": 2, "opts": null}]})"},
        // odysseus-dev/odysseus issue 103: metadata in a message.
        RealBody{"MetadataOfAMessage",
                 R"({"messages": [{"role": "user", "content": "a", "metadata": {"_db_id": "7"}}]})"},
        // vllm-project/vllm issue 12864: the name of the speaker.
        RealBody{"NameOfTheUser", R"({"messages": [{"role": "user", "content": "hello", "name": "bob"}]})"},
        // run-llama/llama_index issue 19121 and charmbracelet/crush issue 611: strict of tools, false or null.
        RealBody{"StrictFalse",
                 "{" INLAY_HI R"(, "tool_choice": "none", "tools": [{"type": "function", "function": {"name": "f",
          "strict": false}}, {"type": "function", "function": {"name": "g", "strict": null, "description": null}}]})"},
        // OpenAI's reasoning effort for models without reasoning; vLLM passes it to the template.
        RealBody{"ReasoningEffort", "{" INLAY_HI R"(, "reasoning_effort": "minimal"})"}),
    [](const auto &info) { return info.param.name; });

TEST(ChatTest, VariablesOfTheTemplate) {
  GenerationRequest request = Chat("{" INLAY_HI R"(, "reasoning_effort": "none",
    "documents": [{"title": "t", "text": "x"}], "chat_template_kwargs": {"a": 1}})");
  json variables = json::parse(request.conversation.template_variables);
  EXPECT_EQ(variables["a"], 1);
  EXPECT_EQ(variables["reasoning_effort"], "none");
  EXPECT_EQ(variables["enable_thinking"], false);
  EXPECT_EQ(variables["documents"][0]["title"], "t");
  // chat_template_kwargs takes precedence over reasoning_effort.
  request = Chat("{" INLAY_HI R"(, "reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": false}})");
  EXPECT_EQ(json::parse(request.conversation.template_variables)["enable_thinking"], false);
}

TEST(ChatTest, AnAnswerMayGoOnWithTheLastMessage) {
  GenerationRequest request = Chat(R"({"messages": [{"role": "user", "content": "a"},
    {"role": "assistant", "content": "b "}], "continue_final_message": true, "echo": true})");
  EXPECT_TRUE(request.conversation.continue_final_message);
  EXPECT_FALSE(request.conversation.add_generation_prompt);
  EXPECT_EQ(request.conversation.last_answer, "b ");
}

// llama.cpp's server accepts a schema with json_object (tools/server/README.md). It must not be ignored.
TEST(CompletionTest, ASchemaBesideJsonObject) {
  EXPECT_EQ(Completion(R"({"prompt": "a", "response_format": {"type": "json_object", "schema": {"type": "null"}}})")
                .sampling.guided.json_schema,
            R"({"type":"null"})");
  EXPECT_EQ(Completion(R"({"prompt": "a", "structured_outputs": {"json_object": true, "regex": null}})")
                .sampling.guided.json_schema,
            R"({"type":"object"})");
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
  EXPECT_EQ(messages[0]["role"], "developer"); // engine_fields_test.cpp tests how the template renders it
  EXPECT_EQ(messages[1]["content"], "ab");
  EXPECT_EQ(messages[2]["tool_calls"][0]["function"]["arguments"]["x"], 1);
  EXPECT_EQ(messages[3]["tool_call_id"], "c");
}

// Fields of answers that OpenAI's client, LiteLLM and agents send back, and that vLLM accepts.
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
  // Forced calls need no parser for the model's own format of calls.
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
        Bad{"ManyNames", ManyNames(10'001), "", "field names"},
        Bad{"Twice", R"({"prompt": "a", "n": 1, "n": 2})", "n", "occurs twice"},
        Bad{"TwiceWithoutALetter", R"({"prompt": "a", "": 1, "": 2})", "", "occurs twice"},
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
        Bad{"StreamOptionsAlone", R"({"prompt": "a", "stream_options": {"include_usage": false}})", "stream_options",
            "'stream' to true"},
        Bad{"LogitBiasOfWords", R"({"prompt": "a", "logit_bias": {"a": 5}})", "logit_bias", "names 'a'"},
        Bad{"LogitBiasOutOfRange", R"({"prompt": "a", "logit_bias": {"1": 101}})", "logit_bias", "[-100, 100]"},
        Bad{"LogitBiasAsList", R"({"prompt": "a", "logit_bias": [1]})", "logit_bias", "an object"},
        Bad{"Suffix", R"({"prompt": "a", "suffix": "b"})", "suffix", "infilling is not supported"},
        Bad{"SchemaMissing", R"({"prompt": "a", "response_format": {"type": "json_schema"}})", "response_format",
            "a JSON Schema"},
        Bad{"TwoForms", R"({"prompt": "a", "structured_outputs": {"regex": "a", "choice": ["b"]}})",
            "structured_outputs", "has 2 constraints"},
        Bad{"ChoiceOfNumbers", R"({"prompt": "a", "structured_outputs": {"choice": [1]}})", "structured_outputs.choice",
            "expected strings"},
        Bad{"TwoGuided", R"({"prompt": "a", "guided_regex": "a", "guided_choice": ["b"]})", "guided_json",
            "more than one constraint"},
        Bad{"GuidedBesideFormat", R"({"prompt": "a", "guided_regex": "a", "response_format": {"type": "json_object"}})",
            "guided_json", "more than one constraint"},
        Bad{"GuidedNumber", R"({"prompt": "a", "guided_json": 3})", "guided_json", "expected a JSON Schema"},
        Bad{"EmptyRegex", R"({"prompt": "a", "guided_regex": ""})", "guided_regex", "is empty"},
        Bad{"NoTokenAllowed", R"({"prompt": "a", "allowed_token_ids": []})", "allowed_token_ids", "allows no token"},
        Bad{"AllowedOutOfRange", R"({"prompt": "a", "allowed_token_ids": [100]})", "allowed_token_ids", "[0, 100)"},
        Bad{"EmptyBadWord", R"({"prompt": "a", "bad_words": ["x", ""]})", "bad_words", "'bad_words[1]'"},
        Bad{"BadWordsAsText", R"({"prompt": "a", "bad_words": "x"})", "bad_words", "expected a list of strings"},
        Bad{"TruncateToNothing", R"({"prompt": "a", "truncate_prompt_tokens": 0})", "truncate_prompt_tokens", "is 0"},
        Bad{"TruncateToMore", R"({"prompt": "a", "truncate_prompt_tokens": 65})", "truncate_prompt_tokens", "[-1, 64]"},
        Bad{"TruncationSide", R"({"prompt": "a", "truncation_side": "up"})", "truncation_side", "left or right"},
        Bad{"PromptLogprobsStream", R"({"prompt": "a", "prompt_logprobs": 1, "stream": true})", "prompt_logprobs",
            "cannot be streamed"},
        Bad{"AllPromptLogprobs", R"({"prompt": "a", "prompt_logprobs": -1})", "prompt_logprobs", "[0, 20]"},
        Bad{"BeamSearch", R"({"prompt": "a", "use_beam_search": true})", "use_beam_search",
            "beam search is not supported"},
        Bad{"LengthPenalty", R"({"prompt": "a", "length_penalty": 0.5})", "length_penalty", "beam search"},
        Bad{"NoSpaces", R"({"prompt": "a", "skip_special_tokens": false, "spaces_between_special_tokens": false})",
            "spaces_between_special_tokens", "decoder"},
        Bad{"RequestIdOfManyLines", R"({"prompt": "a", "request_id": "a\nb"})", "request_id", "may contain only"},
        Bad{"RepetitionDetection", R"({"prompt": "a", "repetition_detection": {"max_pattern_size": 3}})",
            "repetition_detection", "stopping at repetitions"},
        Bad{"SchemaBesideText", R"({"prompt": "a", "response_format": {"type": "text", "schema": {}}})",
            "response_format", "with type json_object"},
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
        Bad{"ContinueAndBegin", R"({"messages": [{"role": "user", "content": "a"}], "continue_final_message": true,
                                    "add_generation_prompt": true})",
            "continue_final_message", "both true", true},
        Bad{"UnknownEffort", R"({"messages": [{"role": "user", "content": "a"}], "reasoning_effort": "huge"})",
            "reasoning_effort", "expected one of", true},
        Bad{"DocumentsAsText", R"({"messages": [{"role": "user", "content": "a"}], "documents": ["a"]})", "documents",
            "list of objects", true},
        Bad{"BestOfChat", R"({"messages": [{"role": "user", "content": "a"}], "best_of": 2})", "best_of",
            "/v1/completions", true},
        Bad{"NoRole", R"({"messages": [{"content": "a"}]})", "messages[0].role", "is missing", true},
        Bad{"NoContent", R"({"messages": [{"role": "user"}]})", "messages[0].content", "is missing", true},
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
            "tool_choice", "forces a tool call", true},
        Bad{"UnknownForcedTool", R"({"messages": [{"role": "user", "content": "a"}],
                             "tool_choice": {"type": "function", "function": {"name": "g"}},
                             "tools": [{"type": "function", "function": {"name": "f"}}]})",
            "tool_choice", "names the function 'g'", true},
        Bad{"ToolsTwice", R"({"messages": [{"role": "user", "content": "a"}],
             "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}]})",
            "tools[1].function.name", "occurs twice", true},
        Bad{"ReservedVariable", R"({"messages": [{"role": "user", "content": "a"}],
                                   "chat_template_kwargs": {"messages": []}})",
            "chat_template_kwargs", "contains 'messages'", true}),
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
