#include "runtime/serve/openai_request.h"

#include "fmt/format.h"
#include "runtime/serve/chat_fields.h"
#include "runtime/serve/fields.h"
#include "runtime/serve/sampling_fields.h"

#include <algorithm>

namespace inlay::serve {
namespace {

constexpr size_t kAnyPrompt = size_t{1} << 24; // token ids

std::optional<ApiError> ReadPrompts(Fields &fields, const RequestContext &context, GenerationRequest &request) {
  std::vector<Prompt> &out = request.prompts;
  const Json *prompt = fields.Find("prompt");
  if (std::optional<ApiError> wrong = fields.error())
    return wrong;
  if (!prompt)
    return Wrong("prompt", "'prompt' is missing; expected a string, a list of strings or token ids");
  // A prompt that will be truncated may be longer than the context.
  auto limit = request.truncate_prompt_tokens == 0 ? static_cast<size_t>(context.max_model_len) : kAnyPrompt;
  auto add = [&](const Json &one, const std::string &path) -> std::optional<ApiError> {
    Prompt &added = out.emplace_back();
    if (one.is_string())
      added.text = one.get<std::string>();
    else if (one.is_array())
      if (std::optional<ApiError> wrong = ReadTokenIds(one, path, limit, context.vocab_size, added.token_ids))
        return wrong;
    if (added.text.empty() && added.token_ids.empty())
      return Wrong("prompt", fmt::format("'{}' is {}, expected a string or a list of token ids that is not empty", path,
                                         Describe(one)));
    return std::nullopt;
  };
  bool is_list_of_prompts =
      prompt->is_array() && !prompt->empty() && (prompt->front().is_string() || prompt->front().is_array());
  if (!is_list_of_prompts)
    return add(*prompt, "prompt");
  if (prompt->size() > static_cast<size_t>(context.limits.sequences))
    return Wrong("prompt", fmt::format("'prompt' is a list of {} prompts, expected at most {}", prompt->size(),
                                       context.limits.sequences));
  for (size_t i = 0; i < prompt->size(); ++i)
    if (std::optional<ApiError> wrong = add((*prompt)[i], fmt::format("prompt[{}]", i)))
      return wrong;
  return std::nullopt;
}

std::optional<ApiError> CheckCount(int64_t prompts, const RequestContext &context, const GenerationRequest &request) {
  int64_t sequences = prompts * std::max(request.n, request.best_of);
  if (sequences > context.limits.sequences)
    return Wrong("n", fmt::format("{} prompts times n = {} are {} sequences, expected at most {}", prompts,
                                  std::max(request.n, request.best_of), sequences, context.limits.sequences));
  return std::nullopt;
}

// `logprobs` of completions is the number of most likely tokens. With `echo`, it applies to the prompt too.
void ReadLogprobs(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  if (fields.Find("logprobs")) {
    out.logprobs = true;
    out.sampling.logprobs = 0;
    fields.Integer("logprobs", out.sampling.logprobs, 0, context.limits.logprobs);
  }
  if (out.echo && out.logprobs)
    out.sampling.prompt_logprobs = std::max(out.sampling.prompt_logprobs, out.sampling.logprobs);
}

// `logprobs` of chats is a Boolean; `top_logprobs` is the number of most likely tokens.
void ReadChatLogprobs(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  fields.Bool("logprobs", out.logprobs);
  int32_t top_logprobs = 0;
  fields.Integer("top_logprobs", top_logprobs, 0, context.limits.logprobs);
  if (out.logprobs)
    out.sampling.logprobs = top_logprobs;
  else if (top_logprobs > 0)
    fields.Fail("top_logprobs", "'top_logprobs' is given without 'logprobs': true");
}

std::optional<ApiError> ReadCompletion(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  fields.Bool("echo", out.echo);
  ReadSamplingFields(fields, context, out);
  ReadLogprobs(fields, context, out);
  fields.Bool("add_special_tokens", out.add_special_tokens);
  out.best_of = out.n;
  fields.Integer("best_of", out.best_of, 1, context.limits.sequences);
  fields.OnlyDefault("suffix", "", "infilling is not supported");
  fields.OnlyDefault("prompt_embeds", Json(), "prompts must be texts or token ids");
  if (std::optional<ApiError> wrong = ReadPrompts(fields, context, out))
    return wrong;
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  if (out.best_of < out.n)
    return Wrong("best_of", fmt::format("'best_of' is {}, expected at least n = {}", out.best_of, out.n));
  if (out.best_of > out.n && out.stream)
    return Wrong("best_of", "'best_of' larger than 'n' cannot be streamed; set 'stream' to false");
  return CheckCount(static_cast<int64_t>(out.prompts.size()), context, out);
}

std::optional<ApiError> ReadChat(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  out.is_chat = true;
  out.add_special_tokens = false; // the template adds them
  fields.Bool("echo", out.echo);
  ReadSamplingFields(fields, context, out);
  ReadChatLogprobs(fields, context, out);
  fields.Bool("add_special_tokens", out.add_special_tokens);
  fields.OnlyDefault("best_of", 1, "chats do not support 'best_of'; use 'n', or /v1/completions");
  fields.OnlyDefault("modalities", Json::array({"text"}), "this server writes text only");
  fields.OnlyDefault("audio", Json(), "this server writes text only");
  fields.OnlyDefault("functions", Json::array(), "functions are given as 'tools'");
  fields.OnlyDefault("function_call", "none", "functions are given as 'tools'");
  fields.OnlyDefault("verbosity", "medium", "this server does not support it");
  fields.OnlyDefault("web_search_options", Json(), "web search is not supported");
  fields.OnlyDefault("include_reasoning", true, "the reasoning is always part of the answer");
  fields.OnlyDefault("return_prompt_text", false, "/tokenize shows the prompt's tokens");
  std::optional<ApiError> wrong = ReadConversation(fields, context, out.conversation);
  if (!wrong)
    wrong = ReadToolChoice(fields, context, out);
  if (!wrong)
    wrong = fields.Finish();
  if (wrong)
    return wrong;
  out.best_of = out.n;
  return CheckCount(1, context, out);
}

std::optional<ApiError> ReadTokenize(Fields &fields, const RequestContext &context, TokenizeRequest &out) {
  fields.String("model", out.model, kName);
  fields.Bool("return_token_strs", out.return_token_strs);
  out.is_chat = fields.Find("messages") != nullptr;
  out.add_special_tokens = !out.is_chat;
  fields.Bool("add_special_tokens", out.add_special_tokens);
  fields.String("prompt", out.prompt, kAnyText);
  bool has_prompt = fields.Find("prompt") != nullptr;
  if (out.is_chat)
    if (std::optional<ApiError> wrong = ReadConversation(fields, context, out.conversation))
      return wrong;
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  if (out.is_chat == has_prompt)
    return Wrong("prompt", out.is_chat ? "'prompt' and 'messages' are both given; remove one of them"
                                       : "'prompt' is missing; expected a string, or 'messages'");
  return std::nullopt;
}

std::optional<ApiError> ReadDetokenize(Fields &fields, const RequestContext &context, DetokenizeRequest &out) {
  fields.String("model", out.model, kName);
  fields.TokenIds("tokens", out.tokens, size_t{1} << 20, context.vocab_size);
  bool has_tokens = fields.Find("tokens") != nullptr;
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  if (!has_tokens)
    return Wrong("tokens", "'tokens' is missing; expected a list of token ids");
  return std::nullopt;
}

template <class Request>
using Reader = std::optional<ApiError> (*)(Fields &fields, const RequestContext &context, Request &out);

template <class Request>
std::optional<ApiError> Parse(std::string_view body, const RequestContext &context, Reader<Request> read,
                              Request &out) {
  Json object;
  if (std::optional<ApiError> wrong = ParseObject(body, context.limits.json_depth, object))
    return wrong;
  IgnoredFields ignored(context.strict_fields);
  Fields fields(object, "", &ignored);
  std::optional<ApiError> wrong = read(fields, context, out);
  out.ignored_fields = ignored.paths();
  return wrong;
}

// The names of all fields that `read` reads from a valid `body`.
template <class Request> std::vector<std::string> NamesOf(std::string_view body, Reader<Request> read) {
  RequestContext context;
  context.vocab_size = context.max_model_len = 1;
  Json object = Json::parse(body);
  Fields fields(object, "");
  Request out;
  (void)read(fields, context, out);
  return {fields.known().begin(), fields.known().end()};
}

} // namespace

std::optional<ApiError> ParseCompletion(std::string_view body, const RequestContext &context, GenerationRequest &out) {
  return Parse(body, context, &ReadCompletion, out);
}

std::optional<ApiError> ParseChat(std::string_view body, const RequestContext &context, GenerationRequest &out) {
  return Parse(body, context, &ReadChat, out);
}

std::optional<ApiError> ParseTokenize(std::string_view body, const RequestContext &context, TokenizeRequest &out) {
  return Parse(body, context, &ReadTokenize, out);
}

std::optional<ApiError> ParseDetokenize(std::string_view body, const RequestContext &context, DetokenizeRequest &out) {
  return Parse(body, context, &ReadDetokenize, out);
}

std::vector<std::string> KnownFields(Endpoint endpoint) {
  constexpr const char *kChat = R"({"messages": [{"role": "user", "content": "a"}]})";
  switch (endpoint) {
  case Endpoint::kCompletions:
    return NamesOf(R"({"prompt": "a"})", &ReadCompletion);
  case Endpoint::kChat:
    return NamesOf(kChat, &ReadChat);
  case Endpoint::kTokenize:
    return NamesOf(kChat, &ReadTokenize);
  case Endpoint::kDetokenize:
    break;
  }
  return NamesOf(R"({"tokens": []})", &ReadDetokenize);
}

} // namespace inlay::serve
