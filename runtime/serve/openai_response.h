// Responses in the form of the OpenAI API: whole ones and events of streams. Pure functions of what was generated.
#ifndef INLAY_RUNTIME_SERVE_OPENAI_RESPONSE_H_
#define INLAY_RUNTIME_SERVE_OPENAI_RESPONSE_H_

#include "runtime/api/inlay.h"
#include "runtime/serve/http_message.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

struct TokenChoice {
  std::string text;
  float logprob = 0; // NaN: there is none, as of the first token of a prompt
  // Its own bytes, where they are others than the text's: a part of a character is U+FFFD in the text.
  std::optional<std::string> bytes = {};
  int32_t id = 0;
  int32_t rank = 0; // 1: the likeliest
};

// A token with its log-probability, for answers that show them.
struct OutputToken {
  TokenChoice chosen;
  std::vector<TokenChoice> top;
};

// A call, or in a stream what is new of one: the first part has the id and the name, each part more of the arguments.
struct ToolCall {
  int32_t index = 0; // among the calls of the answer
  std::string id, name;
  std::string arguments; // JSON
};

// One of the n answers, or what a stream has new of it.
struct Choice {
  int32_t index = 0;
  std::string text;
  std::string reasoning; // of a chat, where --reasoning-parser is given
  std::vector<OutputToken> tokens;
  std::vector<OutputToken> prompt_logprobs; // where AnswerHead asks for them
  std::vector<int32_t> token_ids, prompt_token_ids;
  std::vector<ToolCall> tool_calls;
  std::string finish_reason; // empty: not yet
  StopReason stop_reason = {};
  size_t text_offset = 0; // characters of the whole text before `text`
  bool begins = false;    // of a stream: the first part
};

// What all parts of one answer have in common.
struct AnswerHead {
  std::string id; // "cmpl-...", "chatcmpl-..."
  int64_t created = 0;
  std::string model;
  bool logprobs = false;
  bool prompt_logprobs = false;
  bool token_ids = false; // return_token_ids
};

std::string CompletionBody(const AnswerHead &head, const std::vector<Choice> &choices, const Usage &usage);
std::string ChatBody(const AnswerHead &head, const std::vector<Choice> &choices, const Usage &usage);

// Of UTF-8.
size_t CountCharacters(std::string_view text);

// Server-sent events. Without a choice: the last one, which holds the usage alone.
std::string CompletionEvent(const AnswerHead &head, const Choice *choice, const std::optional<Usage> &usage);
std::string ChatEvent(const AnswerHead &head, const Choice *choice, const std::optional<Usage> &usage);
std::string Event(std::string_view data);
inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_OPENAI_RESPONSE_H_
