// Responses: bodies, events, tool calls, keys, metrics.
#include "runtime/serve/openai_response.h"

#include "nlohmann/json.hpp"
#include "runtime/serve/api_error.h"
#include "runtime/serve/metrics.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <cmath>

namespace inlay::serve {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

AnswerHead Head(bool logprobs = false) { return {.id = "x-1", .created = 5, .model = "m", .logprobs = logprobs}; }

Choice OneChoice() {
  Choice choice;
  choice.text = "é!";
  choice.tokens = {{{"é", -0.5f}, {{"é", -0.5f}}}, {{"!", -1.0f}, {{"?", -0.25f}}}};
  choice.finish_reason = "stop";
  return choice;
}

json DataOf(const std::string &event) {
  EXPECT_TRUE(event.starts_with("data: ") && event.ends_with("\n\n")) << event;
  return json::parse(event.substr(6));
}

TEST(ResponseTest, CompletionWithLogprobs) {
  json body = json::parse(CompletionBody(Head(true), {OneChoice()}, {.prompt_tokens = 3, .completion_tokens = 2}));
  EXPECT_EQ(body["object"], "text_completion");
  EXPECT_EQ(body["choices"][0]["text"], "é!");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  const json &logprobs = body["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], (json{"é", "!"}));
  EXPECT_EQ(logprobs["text_offset"], (json{0, 1})); // offsets in characters
  EXPECT_EQ(logprobs["top_logprobs"][1], (json{{"?", -0.25}, {"!", -1.0}}));
  EXPECT_EQ(body["usage"]["total_tokens"], 5);
}

TEST(ResponseTest, ChatWithLogprobs) {
  json body = json::parse(ChatBody(Head(true), {OneChoice()}, {}));
  EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(body["choices"][0]["message"]["content"], "é!");
  const json &content = body["choices"][0]["logprobs"]["content"];
  EXPECT_EQ(content[0]["bytes"], (json{0xc3, 0xa9}));
  EXPECT_EQ(content[1]["top_logprobs"][0]["token"], "?");
}

// OpenAI's API reference: a character may consist of the bytes of several tokens.
TEST(ResponseTest, PartsOfCharactersHaveTheirOwnBytes) {
  Choice choice = OneChoice();
  choice.tokens = {{{.text = "\xef\xbf\xbd", .logprob = -1, .bytes = "\xc3"}, {}},
                   {{.text = "\xef\xbf\xbd", .logprob = -1, .bytes = "\xa9"}, {}}};
  json body = json::parse(ChatBody(Head(true), {choice}, {}));
  EXPECT_EQ(body["choices"][0]["logprobs"]["content"][0]["bytes"], json{0xc3});
  EXPECT_EQ(body["choices"][0]["logprobs"]["content"][1]["bytes"], json{0xa9});
}

// As in vLLM, stop_reason is null, the stop string, or the id of the stop token.
TEST(ResponseTest, StopReasons) {
  auto reason = [](StopReason reason) {
    Choice choice = OneChoice();
    choice.stop_reason = std::move(reason);
    json whole = json::parse(ChatBody(Head(), {choice}, {})), part = DataOf(CompletionEvent(Head(), &choice, {}));
    EXPECT_EQ(whole["choices"][0]["stop_reason"], part["choices"][0]["stop_reason"]);
    return whole["choices"][0]["stop_reason"];
  };
  EXPECT_EQ(reason({}), json());
  EXPECT_EQ(reason({.token_id = std::nullopt, .text = "\n\n"}), json("\n\n"));
  EXPECT_EQ(reason({.token_id = 0, .text = ""}), json(0));
}

TEST(ResponseTest, TokensAndLogprobsOfThePromptAsVllmHasThem) {
  AnswerHead head = Head();
  head.prompt_logprobs = head.token_ids = true;
  Choice choice = OneChoice();
  choice.token_ids = {1, 2};
  choice.prompt_token_ids = {7, 8};
  choice.begins = true;
  choice.prompt_logprobs = {{{.text = "a", .logprob = NAN, .bytes = {}, .id = 7, .rank = 0}, {}},
                            {{.text = "b", .logprob = -2, .bytes = {}, .id = 8, .rank = 3},
                             {{.text = "c", .logprob = -1, .bytes = {}, .id = 9, .rank = 1}}}};
  json expected = {nullptr,
                   {{"8", {{"logprob", -2.0}, {"rank", 3}, {"decoded_token", "b"}}},
                    {"9", {{"logprob", -1.0}, {"rank", 1}, {"decoded_token", "c"}}}}};
  // Completions have it in each choice, chats at the top level.
  json completion = json::parse(CompletionBody(head, {choice}, {})), chat = json::parse(ChatBody(head, {choice}, {}));
  EXPECT_EQ(completion["choices"][0]["prompt_logprobs"], expected);
  EXPECT_EQ(chat["prompt_logprobs"], expected);
  EXPECT_EQ(completion["choices"][0]["prompt_token_ids"], (json{7, 8}));
  EXPECT_EQ(chat["prompt_token_ids"], (json{7, 8}));
  EXPECT_EQ(chat["choices"][0]["token_ids"], (json{1, 2}));
  // A stream sends the prompt's token ids once.
  EXPECT_EQ(DataOf(ChatEvent(head, &choice, {}))["prompt_token_ids"], (json{7, 8}));
  choice.begins = false;
  EXPECT_FALSE(DataOf(ChatEvent(head, &choice, {})).contains("prompt_token_ids"));
  EXPECT_EQ(DataOf(CompletionEvent(head, &choice, {}))["choices"][0]["token_ids"], (json{1, 2}));
}

TEST(ResponseTest, AnInfiniteLogprobIsANumber) {
  Choice choice = OneChoice();
  choice.tokens[0].chosen.logprob = -INFINITY;
  json body = json::parse(CompletionBody(Head(true), {choice}, {}));
  EXPECT_EQ(body["choices"][0]["logprobs"]["token_logprobs"][0], -9999.0);
}

TEST(ResponseTest, ChatEventsBeginWithTheRole) {
  Choice choice = OneChoice();
  choice.begins = true;
  choice.finish_reason.clear();
  json first = DataOf(ChatEvent(Head(), &choice, std::nullopt));
  EXPECT_EQ(first["choices"][0]["delta"], (json{{"role", "assistant"}, {"content", "é!"}}));
  EXPECT_TRUE(first["choices"][0]["finish_reason"].is_null());
  choice.begins = false;
  EXPECT_FALSE(DataOf(ChatEvent(Head(), &choice, std::nullopt))["choices"][0]["delta"].contains("role"));
  json last = DataOf(ChatEvent(Head(), nullptr, Usage{.prompt_tokens = 1, .completion_tokens = 2}));
  EXPECT_TRUE(last["choices"].empty());
  EXPECT_EQ(last["usage"]["completion_tokens"], 2);
}

TEST(ResponseTest, StreamedCallsNameTheirToolOnce) {
  Choice choice;
  choice.begins = true;
  choice.tool_calls = {{.index = 1, .id = "call_1", .name = "f", .arguments = "{"}};
  json first = DataOf(ChatEvent(Head(), &choice, std::nullopt))["choices"][0]["delta"]["tool_calls"][0];
  EXPECT_EQ(
      first,
      (json{{"index", 1}, {"id", "call_1"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", "{"}}}}));
  choice.tool_calls = {{.index = 1, .id = {}, .name = {}, .arguments = "}"}};
  json second = DataOf(ChatEvent(Head(), &choice, std::nullopt))["choices"][0]["delta"]["tool_calls"][0];
  EXPECT_EQ(second, (json{{"index", 1}, {"function", {{"arguments", "}"}}}}));
}

TEST(ResponseTest, ReasoningHasVllmsNameAndTheOlderOne) {
  Choice choice;
  choice.reasoning = "hm";
  json message = json::parse(ChatBody(Head(), {choice}, {}))["choices"][0]["message"];
  EXPECT_EQ(message["reasoning"], "hm");
  EXPECT_EQ(message["reasoning_content"], "hm");
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_EQ(DataOf(ChatEvent(Head(), &choice, std::nullopt))["choices"][0]["delta"],
            (json{{"reasoning", "hm"}, {"reasoning_content", "hm"}}));
}

TEST(ResponseTest, ErrorsHaveOpenAisForm) {
  json body = json::parse(ErrorBody({.message = "no \xff", .param = "n"}));
  EXPECT_EQ(body["error"]["param"], "n");
  EXPECT_TRUE(body["error"]["code"].is_null());
  EXPECT_EQ(body["error"]["message"], "no \uFFFD");
  EXPECT_EQ(ErrorOf(absl::InvalidArgumentError("x")).status, 400);
  EXPECT_EQ(ErrorOf(absl::ResourceExhaustedError("x")).status, 400);
  EXPECT_EQ(ErrorOf(absl::UnavailableError("x")).status, 503);
  EXPECT_EQ(ErrorOf(absl::InternalError("x")).status, 500);
}

TEST(MetricsTest, BucketsAddUp) {
  Metrics metrics("a\"b");
  metrics.CountAnswer("/v1/completions", 200);
  metrics.ObserveFinished({.reason = "stop",
                           .prompt_tokens = 3,
                           .generation_tokens = 2,
                           .max_tokens = 4,
                           .e2e_seconds = 0.6,
                           .time_to_first_token_seconds = 0.002});
  EngineStats stats;
  stats.total_pages = 4;
  stats.free_pages = 3;
  std::string text = metrics.Text(stats);
  EXPECT_THAT(text, HasSubstr("inlay:kv_cache_usage_perc{engine=\"0\",model_name=\"a\\\"b\"} 0.25\n"));
  EXPECT_THAT(text, HasSubstr("finished_reason=\"stop\"} 1\n"));
  EXPECT_THAT(
      text, HasSubstr("inlay:time_to_first_token_seconds_bucket{le=\"0.001\",engine=\"0\",model_name=\"a\\\"b\"} 0\n"));
  EXPECT_THAT(
      text, HasSubstr("inlay:time_to_first_token_seconds_bucket{le=\"0.005\",engine=\"0\",model_name=\"a\\\"b\"} 1\n"));
  EXPECT_THAT(
      text, HasSubstr("inlay:time_to_first_token_seconds_bucket{le=\"+Inf\",engine=\"0\",model_name=\"a\\\"b\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("inlay:e2e_request_latency_seconds_count{engine=\"0\",model_name=\"a\\\"b\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("inlay:http_requests_total{handler=\"/v1/completions\",status=\"200\"} 1\n"));
}

} // namespace
} // namespace inlay::serve
