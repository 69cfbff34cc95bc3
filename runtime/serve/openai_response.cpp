#include "runtime/serve/openai_response.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"

#include <algorithm>
#include <cmath>

namespace inlay::serve {
namespace {

using Json = nlohmann::ordered_json;

// Replaces minus infinity, which JSON cannot represent; the same value as in vLLM.
constexpr double kLeast = -9999.0;

std::string Dump(const Json &json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

Json Number(float logprob) {
  if (std::isnan(logprob))
    return nullptr;
  return std::isfinite(logprob) ? static_cast<double>(logprob) : kLeast;
}

Json TextOrNull(const std::string &text) { return text.empty() ? Json() : Json(text); }

Json ToJson(const Usage &usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

// The logprobs of a completion: four lists with one entry per token.
Json CompletionLogprobs(const Choice &choice) {
  Json tokens = Json::array(), logprobs = Json::array(), tops = Json::array(), offsets = Json::array();
  size_t offset = choice.text_offset;
  for (const OutputToken &token : choice.tokens) {
    tokens.push_back(token.chosen.text);
    logprobs.push_back(Number(token.chosen.logprob));
    Json top = Json::object();
    for (const TokenChoice &one : token.top)
      top[one.text] = Number(one.logprob);
    if (std::isnan(token.chosen.logprob))
      top = nullptr;
    else
      top[token.chosen.text] =
          Number(token.chosen.logprob); // always included, even if it is not among the most likely tokens
    tops.push_back(std::move(top));
    offsets.push_back(offset);
    offset += CountCharacters(token.chosen.text);
  }
  return {{"text_offset", std::move(offsets)},
          {"token_logprobs", std::move(logprobs)},
          {"tokens", std::move(tokens)},
          {"top_logprobs", std::move(tops)}};
}

Json ToJson(const TokenChoice &token) {
  Json bytes = Json::array();
  for (unsigned char byte : token.bytes ? *token.bytes : token.text)
    bytes.push_back(byte);
  return {{"token", token.text}, {"logprob", Number(token.logprob)}, {"bytes", std::move(bytes)}};
}

Json ChatLogprobs(const Choice &choice) {
  Json content = Json::array();
  for (const OutputToken &token : choice.tokens) {
    Json top = Json::array();
    for (const TokenChoice &one : token.top)
      top.push_back(ToJson(one));
    Json entry = ToJson(token.chosen);
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

// vLLM's prompt_logprobs: for each prompt token an object whose keys are token ids. The prompt token comes first, then
// the most likely tokens. The entry of the first prompt token is null.
Json PromptLogprobs(const Choice &choice) {
  Json list = Json::array();
  for (const OutputToken &token : choice.prompt_logprobs) {
    if (std::isnan(token.chosen.logprob)) {
      list.push_back(nullptr);
      continue;
    }
    Json entry = Json::object();
    auto add = [&](const TokenChoice &one) {
      entry[std::to_string(one.id)] = {
          {"logprob", Number(one.logprob)}, {"rank", one.rank}, {"decoded_token", one.text}};
    };
    add(token.chosen);
    std::ranges::for_each(token.top, add);
    list.push_back(std::move(entry));
  }
  return list;
}

// As in vLLM: the stop string or stop token id that ended the text; null for an end-of-sequence token.
Json ToJson(const StopReason &reason) {
  if (reason.token_id)
    return *reason.token_id;
  return reason.text.empty() ? Json() : Json(reason.text);
}

// Adds vLLM's extra fields, which the choices of all endpoints have.
void AddFields(const AnswerHead &head, const Choice &choice, Json &out) {
  out["stop_reason"] = ToJson(choice.stop_reason);
  if (head.token_ids)
    out["token_ids"] = choice.token_ids;
}

Json ToolCalls(const Choice &choice, bool is_delta) {
  Json calls = Json::array();
  for (const ToolCall &call : choice.tool_calls) {
    Json entry = Json::object();
    if (is_delta)
      entry["index"] = call.index;
    Json function = Json::object();
    if (!call.id.empty()) {
      entry["id"] = call.id;
      entry["type"] = "function";
      function["name"] = call.name;
    }
    function["arguments"] = call.arguments;
    entry["function"] = std::move(function);
    calls.push_back(std::move(entry));
  }
  return calls;
}

Json Head(const AnswerHead &head, const char *object) {
  return {{"id", head.id},
          {"object", object},
          {"created", head.created},
          {"model", head.model},
          {"choices", Json::array()}};
}

Json CompletionChoice(const AnswerHead &head, const Choice &choice, bool is_part) {
  Json out = {{"index", choice.index},
              {"text", choice.text},
              {"logprobs", head.logprobs ? CompletionLogprobs(choice) : Json()},
              {"finish_reason", TextOrNull(choice.finish_reason)}};
  AddFields(head, choice, out);
  if (head.prompt_logprobs && !is_part)
    out["prompt_logprobs"] = PromptLogprobs(choice);
  if (head.token_ids && (!is_part || choice.begins))
    out["prompt_token_ids"] = choice.prompt_token_ids;
  return out;
}

// Writes the reasoning under both names: `reasoning` (vLLM) and the older `reasoning_content` (DeepSeek, older vLLM and
// their clients).
void AddReasoning(const Choice &choice, Json &message) {
  if (choice.reasoning.empty())
    return;
  message["reasoning"] = choice.reasoning;
  message["reasoning_content"] = choice.reasoning;
}

Json ChatMessage(const Choice &choice) {
  Json message = {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}};
  if (!choice.tool_calls.empty() || !choice.reasoning.empty())
    message["content"] = TextOrNull(choice.text);
  if (!choice.tool_calls.empty())
    message["tool_calls"] = ToolCalls(choice, /*is_delta=*/false);
  AddReasoning(choice, message);
  return message;
}

Json ChatDelta(const Choice &choice) {
  Json delta = Json::object();
  if (choice.begins)
    delta["role"] = "assistant";
  if (choice.begins || !choice.text.empty())
    delta["content"] = choice.text;
  AddReasoning(choice, delta);
  if (!choice.tool_calls.empty())
    delta["tool_calls"] = ToolCalls(choice, /*is_delta=*/true);
  return delta;
}

} // namespace

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string Event(std::string_view data) { return fmt::format("data: {}\n\n", data); }

std::string CompletionBody(const AnswerHead &head, const std::vector<Choice> &choices, const Usage &usage) {
  Json body = Head(head, "text_completion");
  for (const Choice &choice : choices)
    body["choices"].push_back(CompletionChoice(head, choice, /*is_part=*/false));
  body["usage"] = ToJson(usage);
  return Dump(body);
}

std::string ChatBody(const AnswerHead &head, const std::vector<Choice> &choices, const Usage &usage) {
  Json body = Head(head, "chat.completion");
  for (const Choice &choice : choices) {
    Json one = {{"index", choice.index},
                {"message", ChatMessage(choice)},
                {"logprobs", head.logprobs ? ChatLogprobs(choice) : Json()},
                {"finish_reason", TextOrNull(choice.finish_reason)}};
    AddFields(head, choice, one);
    body["choices"].push_back(std::move(one));
  }
  body["usage"] = ToJson(usage);
  // All choices share the conversation, so these fields are in the body, not in the choices.
  if (head.prompt_logprobs && !choices.empty())
    body["prompt_logprobs"] = PromptLogprobs(choices.front());
  if (head.token_ids && !choices.empty())
    body["prompt_token_ids"] = choices.front().prompt_token_ids;
  return Dump(body);
}

std::string CompletionEvent(const AnswerHead &head, const Choice *choice, const std::optional<Usage> &usage) {
  Json body = Head(head, "text_completion");
  if (choice)
    body["choices"].push_back(CompletionChoice(head, *choice, /*is_part=*/true));
  if (usage)
    body["usage"] = ToJson(*usage);
  return Event(Dump(body));
}

std::string ChatEvent(const AnswerHead &head, const Choice *choice, const std::optional<Usage> &usage) {
  Json body = Head(head, "chat.completion.chunk");
  if (choice) {
    Json one = {{"index", choice->index},
                {"delta", ChatDelta(*choice)},
                {"logprobs", head.logprobs && !choice->tokens.empty() ? ChatLogprobs(*choice) : Json()},
                {"finish_reason", TextOrNull(choice->finish_reason)}};
    AddFields(head, *choice, one);
    body["choices"].push_back(std::move(one));
    if (head.token_ids && choice->begins)
      body["prompt_token_ids"] = choice->prompt_token_ids;
  }
  if (usage)
    body["usage"] = ToJson(*usage);
  return Event(Dump(body));
}

} // namespace inlay::serve
