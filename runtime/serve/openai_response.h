// Responses of the OpenAI API: complete bodies and events of streams. Pure functions of the generated output.
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
  float logprob = 0; // NaN: none, as for the first token of a prompt
  // The token's bytes if they differ from those of `text`: an incomplete UTF-8 sequence is U+FFFD in `text`.
  std::optional<std::string> bytes = {};
  int32_t id = 0;
  int32_t rank = 0; // 1: the most likely token
};

// A token and the most likely tokens at its position, with their log-probabilities.
struct OutputToken {
  TokenChoice chosen;
  std::vector<TokenChoice> top;
};

// A tool call, or the next part of one in a stream. The first part has the id and the name; each part has the next
// piece of the arguments.
struct ToolCall {
  int32_t index = 0; // position among the calls of the answer
  std::string id, name;
  std::string arguments; // JSON
};

// One of the n answers, or the next part of it in a stream.
struct Choice {
  int32_t index = 0;
  std::string text;
  std::string reasoning; // chats with --reasoning-parser only
  std::vector<OutputToken> tokens;
  std::vector<OutputToken> prompt_logprobs; // if AnswerHead::prompt_logprobs
  std::vector<int32_t> token_ids, prompt_token_ids;
  std::vector<ToolCall> tool_calls;
  std::string finish_reason; // empty: not finished
  StopReason stop_reason = {};
  size_t text_offset = 0; // number of characters of the answer before `text`
  bool begins = false;    // this is the first part of a stream
};

// The fields that all parts of one answer share.
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

// The number of code points in UTF-8 text.
size_t CountCharacters(std::string_view text);

// Server-sent events. If `choice` is null, the event is the last one, which contains only the usage.
std::string CompletionEvent(const AnswerHead &head, const Choice *choice, const std::optional<Usage> &usage);
std::string ChatEvent(const AnswerHead &head, const Choice *choice, const std::optional<Usage> &usage);
std::string Event(std::string_view data);
inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_OPENAI_RESPONSE_H_
