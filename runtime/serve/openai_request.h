// Parses request bodies of the OpenAI API. Pure functions of the body: accepted bodies are well formed and in range;
// the engine checks the rest. docs/api.md lists the fields.
#ifndef INLAY_RUNTIME_SERVE_OPENAI_REQUEST_H_
#define INLAY_RUNTIME_SERVE_OPENAI_REQUEST_H_

#include "runtime/api/inlay.h"
#include "runtime/serve/api_error.h"
#include "runtime/serve/limits.h"
#include "runtime/serve/reasoning.h"
#include "runtime/serve/tool_set.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

// The settings of the server that the parsers need.
struct RequestContext {
  Limits limits;
  SamplingParams default_sampling; // defaults of the checkpoint
  int32_t vocab_size = 0;
  int32_t max_model_len = 0;
  bool has_tool_parser = false; // --tool-call-parser
  bool has_priorities = false;  // --scheduling-policy priority
  bool strict_fields = false;   // --strict-fields: unknown fields are refused
};

// One prompt: text or token ids.
struct Prompt {
  std::string text;
  std::vector<int32_t> token_ids;
};

// A conversation, kept as JSON for the chat template.
struct Conversation {
  std::string messages; // a list of {"role", "content", ...}; contents are strings, arguments of tool calls objects
  std::shared_ptr<const ToolSet> tools = std::make_shared<ToolSet>();
  std::string template_variables; // a JSON object; empty: none
  std::string last_answer;        // text of the last message if it is the assistant's, for `echo`
  bool add_generation_prompt = true;
  bool continue_final_message = false;
};

enum class ToolChoice { kNone, kAuto, kForced };

struct GenerationRequest {
  bool is_chat = false;
  std::string model;           // as given in the request; empty: the served model
  std::vector<Prompt> prompts; // completions only
  Conversation conversation;   // chats only
  ToolChoice tool_choice = ToolChoice::kNone;
  bool parallel_tool_calls = true;
  ReasoningStart reasoning_start = ReasoningStart::kUnknown; // known once the prompt is rendered

  SamplingParams sampling;
  bool max_tokens_given = false; // if false, a chat may use the whole context
  int32_t n = 1;
  int32_t best_of = 1;
  bool logprobs = false;        // their number is sampling.logprobs
  int32_t prompt_logprobs = -1; // number per prompt token; -1: none. `echo` may need more (sampling.prompt_logprobs)
  bool echo = false;
  bool stream = false;
  bool include_usage = false;          // stream_options
  bool continuous_usage_stats = false; // stream_options of vLLM
  bool add_special_tokens = true;
  bool echo_only = false;             // max_tokens 0: return only the prompt and its log-probabilities
  int32_t truncate_prompt_tokens = 0; // number of prompt tokens to keep; 0: all, -1: as many as fit
  bool truncates_right = false;       // keep the first tokens instead of the last
  bool return_token_ids = false;
  bool return_tokens_as_token_ids = false; // "token_id:5" in log-probabilities
  std::string request_id;                  // empty: the server makes one
  int32_t priority = 0;
  std::string cache_salt;
  std::vector<std::string> ignored_fields; // paths of ignored fields
};

struct TokenizeRequest {
  std::string model;
  bool is_chat = false;
  std::string prompt;
  Conversation conversation;
  bool add_special_tokens = true;
  bool return_token_strs = false;
  std::vector<std::string> ignored_fields;
};

struct DetokenizeRequest {
  std::string model;
  std::vector<int32_t> tokens;
  std::vector<std::string> ignored_fields;
};

// Each fills `out` or returns an error.
std::optional<ApiError> ParseCompletion(std::string_view body, const RequestContext &context, GenerationRequest &out);
std::optional<ApiError> ParseChat(std::string_view body, const RequestContext &context, GenerationRequest &out);
std::optional<ApiError> ParseTokenize(std::string_view body, const RequestContext &context, TokenizeRequest &out);
std::optional<ApiError> ParseDetokenize(std::string_view body, const RequestContext &context, DetokenizeRequest &out);

// Names of all fields that the endpoint's parser knows, sorted.
enum class Endpoint { kCompletions, kChat, kTokenize, kDetokenize };
std::vector<std::string> KnownFields(Endpoint endpoint);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_OPENAI_REQUEST_H_
