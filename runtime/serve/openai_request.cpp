#include "runtime/serve/openai_request.h"

#include "fmt/format.h"
#include "runtime/serve/openai_messages.h"
#include "runtime/serve/tool_calls.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace inlay::serve {
namespace {

constexpr size_t kName = 256;
constexpr size_t kAnyText = size_t{1} << 30; // the body's limit stands before it

ApiError Wrong(std::string param, std::string message, std::string code = "") {
  return {.message = std::move(message), .param = std::move(param), .code = std::move(code)};
}

// A string or a list of strings.
void ReadStops(Fields &fields, const Limits &limits, std::vector<std::string> &out) {
  const Json *stop = fields.Find("stop");
  if (!stop)
    return;
  Json list = stop->is_string() ? Json::array({*stop}) : *stop;
  if (!list.is_array())
    return fields.Fail("stop", fmt::format("'stop' is {}, expected a string or a list of strings", Describe(*stop)));
  if (list.size() > static_cast<size_t>(limits.stops))
    return fields.Fail("stop", fmt::format("'stop' has {} strings, expected at most {}", list.size(), limits.stops));
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_string() || list[i].get_ref<const std::string &>().empty())
      return fields.Fail("stop",
                         fmt::format("'stop[{}]' is {}, expected a string that is not empty", i, Describe(list[i])));
    out.push_back(list[i].get<std::string>());
  }
}

// Any 64-bit number is a seed; the engine takes 32 bits of it.
void ReadSeed(Fields &fields, SamplingParams &sampling) {
  if (!fields.Find("seed"))
    return;
  int64_t seed = 0;
  fields.Integer("seed", seed, INT64_MIN, INT64_MAX);
  auto bits = static_cast<uint64_t>(seed);
  sampling.seed = static_cast<uint32_t>(bits ^ (bits >> 32));
}

void ReadStreamOptions(Fields &fields, GenerationRequest &out) {
  const Json *options = fields.Find("stream_options");
  if (!options)
    return;
  if (!options->is_object())
    return fields.Fail("stream_options", fmt::format("'stream_options' is {}, expected an object", Describe(*options)));
  Fields inner(*options, "stream_options");
  inner.Bool("include_usage", out.include_usage);
  inner.Bool("continuous_usage_stats", out.continuous_usage_stats);
  inner.OnlyDefault("include_obfuscation", false, "this server does not pad its events");
  if (std::optional<ApiError> wrong = inner.Finish())
    return fields.Fail(*std::move(wrong));
  if (!out.stream)
    fields.Fail("stream_options", "'stream_options' is for streams; set 'stream' to true or leave it out");
}

// A JSON Schema: any JSON object, or the one that is given.
void ReadResponseFormat(Fields &fields, GuidedParams &guided) {
  const Json *format = fields.Find("response_format");
  if (!format)
    return;
  if (!format->is_object())
    return fields.Fail("response_format",
                       fmt::format("'response_format' is {}, expected an object", Describe(*format)));
  Fields inner(*format, "response_format");
  std::string type;
  inner.String("type", type, kName);
  const Json *schema = inner.Find("json_schema");
  if (std::optional<ApiError> wrong = inner.Finish())
    return fields.Fail(*std::move(wrong));
  if (type == "json_object") {
    guided.json_schema = R"({"type":"object"})";
  } else if (type == "json_schema") {
    if (!schema || !schema->is_object() || !schema->contains("schema") || !(*schema)["schema"].is_object())
      return fields.Fail("response_format",
                         "'response_format.json_schema' must be an object with 'name' and 'schema', a JSON Schema");
    guided.json_schema = (*schema)["schema"].dump();
  } else if (type != "text") {
    fields.Fail(
        "response_format",
        fmt::format("'response_format.type' is '{}', expected text, json_object or json_schema", type.substr(0, 60)));
  }
}

// Forms under the names that begin with `prefix`. Returns how many were given.
int ReadForms(Fields &fields, const std::string &prefix, const Limits &limits, GuidedParams &guided) {
  const std::string json = prefix + "json", regex = prefix + "regex", grammar = prefix + "grammar",
                    choices = prefix + "choice";
  const Json *schema = fields.Find(json), *choice = fields.Find(choices);
  if (schema && !schema->is_object() && !schema->is_string())
    fields.Fail(json, fmt::format("'{}' is {}, expected a JSON Schema", fields.PathTo(json), Describe(*schema)));
  else if (schema)
    guided.json_schema = schema->is_string() ? schema->get<std::string>() : schema->dump();
  fields.String(regex, guided.regex, kAnyText);
  fields.String(grammar, guided.grammar, kAnyText);
  if (choice && (!choice->is_array() || choice->empty() || choice->size() > static_cast<size_t>(limits.choices)))
    fields.Fail(choices, fmt::format("'{}' is {}, expected a list of 1 to {} strings", fields.PathTo(choices),
                                     Describe(*choice), limits.choices));
  for (const Json &one : choice && choice->is_array() ? *choice : Json::array()) {
    if (!one.is_string())
      fields.Fail(choices, fmt::format("'{}' holds {}, expected strings", fields.PathTo(choices), Describe(one)));
    else
      guided.choice.push_back(one.get<std::string>());
  }
  // An empty form would hold the text to nothing.
  for (const std::string &name : {json, regex, grammar})
    if (const Json *source = fields.Find(name);
        source && source->is_string() && source->get_ref<const std::string &>().empty())
      fields.Fail(name, fmt::format("'{}' is empty; write a form or leave it out", fields.PathTo(name)));
  int given = 0;
  for (const std::string &name : {json, regex, grammar, choices})
    given += fields.Find(name) != nullptr;
  return given;
}

// vLLM's: {"json": ..., "regex": ..., "choice": [...], "grammar": ...}, one of them.
void ReadStructuredOutputs(Fields &fields, const Limits &limits, GuidedParams &guided) {
  const Json *outputs = fields.Find("structured_outputs");
  if (!outputs)
    return;
  if (!outputs->is_object() || !guided.empty())
    return fields.Fail("structured_outputs", guided.empty() ? "'structured_outputs' must be an object"
                                                            : "'structured_outputs' stands beside 'response_format'; "
                                                              "give one of them");
  Fields inner(*outputs, "structured_outputs");
  ReadForms(inner, "", limits, guided);
  if (std::optional<ApiError> wrong = inner.Finish())
    return fields.Fail(*std::move(wrong));
  if (outputs->size() != 1)
    fields.Fail("structured_outputs",
                fmt::format("'structured_outputs' has {} fields, expected one of json, regex, choice, grammar",
                            outputs->size()));
}

// Older names of vLLM's for the same.
void ReadGuided(Fields &fields, const Limits &limits, GuidedParams &guided) {
  bool has_form = !guided.empty();
  int given = ReadForms(fields, "guided_", limits, guided);
  if (given + int{has_form} > 1)
    fields.Fail("guided_json", "more than one form is given, expected one of response_format, structured_outputs, "
                               "guided_json, guided_regex, guided_grammar and guided_choice");
}

// {"50256": -100}: token ids as names.
void ReadLogitBias(Fields &fields, const RequestContext &context, SamplingParams &sampling) {
  const Json *bias = fields.Find("logit_bias");
  if (!bias)
    return;
  if (!bias->is_object() || bias->size() > static_cast<size_t>(context.limits.bias_entries))
    return fields.Fail("logit_bias", fmt::format("'logit_bias' is {}, expected an object of at most {} token ids",
                                                 Describe(*bias), context.limits.bias_entries));
  for (const auto &[name, value] : bias->items()) {
    int32_t id = -1;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error != std::errc() || end != name.data() + name.size() || id < 0 || id >= context.vocab_size)
      return fields.Fail("logit_bias", fmt::format("'logit_bias' names '{}', expected a token id in [0, {})",
                                                   name.substr(0, 60), context.vocab_size));
    if (!value.is_number() || !(std::abs(value.get<double>()) <= 100))
      return fields.Fail("logit_bias",
                         fmt::format("'logit_bias.{}' is {}, expected a number in [-100, 100]", id, Describe(value)));
    sampling.logit_bias[id] = value.get<float>();
  }
}

// What completions and chats have in common. Names and ranges are OpenAI's, then vLLM's.
void ReadCommon(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  const Limits &limits = context.limits;
  out.sampling = context.default_sampling;
  SamplingParams &sampling = out.sampling;
  sampling.max_tokens = 16;
  sampling.logprobs = -1;
  fields.String("model", out.model, kName);
  fields.Bool("stream", out.stream);
  ReadStreamOptions(fields, out);
  fields.Integer("n", out.n, 1, limits.sequences);
  fields.Number("temperature", sampling.temperature, 0, 2);
  fields.Number("top_p", sampling.top_p, 0, 1, /*low_is_in=*/false);
  fields.Number("presence_penalty", sampling.presence_penalty, -2, 2);
  fields.Number("frequency_penalty", sampling.frequency_penalty, -2, 2);
  if (fields.Find("max_tokens")) {
    // An echo alone has no token of its own.
    fields.Integer("max_tokens", sampling.max_tokens, out.echo ? 0 : 1, context.max_model_len);
    out.max_tokens_given = true;
    out.echo_only = sampling.max_tokens == 0;
    sampling.max_tokens = std::max(sampling.max_tokens, 1);
  }
  ReadStops(fields, limits, sampling.stop);
  ReadSeed(fields, sampling);
  ReadResponseFormat(fields, sampling.guided);
  ReadStructuredOutputs(fields, limits, sampling.guided);
  ReadGuided(fields, limits, sampling.guided);
  ReadLogitBias(fields, context, sampling);
  fields.Ignore("user");

  // vLLM's.
  const Json *top_k = fields.Find("top_k");
  if (top_k && *top_k == -1)
    sampling.top_k = 0; // vLLM's word for off
  else
    fields.Integer("top_k", sampling.top_k, 0, 1 << 30);
  fields.Number("min_p", sampling.min_p, 0, 1);
  fields.Number("repetition_penalty", sampling.repetition_penalty, 0, 100, /*low_is_in=*/false);
  fields.Bool("ignore_eos", sampling.ignore_eos);
  fields.TokenIds("stop_token_ids", sampling.stop_token_ids, static_cast<size_t>(limits.stop_token_ids),
                  context.vocab_size);
  fields.Integer("min_tokens", sampling.min_tokens, 0, context.max_model_len);
  fields.Integer("priority", out.priority, INT32_MIN, INT32_MAX);
  fields.String("cache_salt", out.cache_salt, kName);
  fields.OnlyDefault("skip_special_tokens", true, "special tokens are never part of the text");
  fields.OnlyDefault("spaces_between_special_tokens", true, "special tokens are never part of the text");
  fields.OnlyDefault("use_beam_search", false, "this server has no beam search");
  fields.OnlyDefault("include_stop_str_in_output", false, "answers end before the stop string");
}

std::optional<ApiError> ReadPrompts(Fields &fields, const RequestContext &context, std::vector<Prompt> &out) {
  const Json *prompt = fields.Find("prompt");
  if (std::optional<ApiError> wrong = fields.error())
    return wrong;
  if (!prompt)
    return Wrong("prompt", "'prompt' is missing; expected a string, a list of strings or token ids");
  auto limit = static_cast<size_t>(context.max_model_len);
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

// What a conversation is made of, for chats and for counting their tokens.
std::optional<ApiError> ReadConversation(Fields &fields, const RequestContext &context, Conversation &out) {
  const Json *messages = fields.Find("messages"), *tools = fields.Find("tools"),
             *variables = fields.Find("chat_template_kwargs");
  bool continue_final_message = false;
  fields.Bool("add_generation_prompt", out.add_generation_prompt);
  fields.Bool("continue_final_message", continue_final_message);
  fields.OnlyDefault("documents", Json::array(), "this server passes no documents to templates");
  fields.OnlyDefault("chat_template", Json(), "the template is the bundle's");
  if (std::optional<ApiError> wrong = fields.error())
    return wrong;
  if (continue_final_message)
    return Wrong("continue_final_message",
                 "'continue_final_message' is true, but this server cannot go on within a message; use "
                 "/v1/completions with the prompt that the template gives",
                 "not_supported");
  if (!messages)
    return Wrong("messages", "'messages' is missing; expected a list of messages");
  Json read;
  if (std::optional<ApiError> wrong = ReadMessages(*messages, context.limits, read))
    return wrong;
  out.messages = read.dump();
  if (tools) {
    if (std::optional<ApiError> wrong = ReadTools(*tools, context.limits))
      return wrong;
    out.tools = std::make_shared<ToolSet>(*tools);
  }
  if (variables) {
    if (!variables->is_object())
      return Wrong("chat_template_kwargs",
                   fmt::format("'chat_template_kwargs' is {}, expected an object", Describe(*variables)));
    for (std::string_view reserved : {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
      if (variables->contains(reserved))
        return Wrong("chat_template_kwargs", fmt::format("'chat_template_kwargs' holds '{}', which is set by the "
                                                         "request itself",
                                                         reserved));
    out.template_variables = variables->dump();
  }
  return std::nullopt;
}

// {"type": "function", "function": {"name": ...}}: the name of one of the tools.
std::optional<ApiError> ReadNamedTool(const Json &choice, const ToolSet &tools, std::string &name) {
  Fields fields(choice, "tool_choice");
  std::string type;
  fields.String("type", type, kName);
  const Json *function = fields.Find("function");
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  if (type != "function" || !function || !function->is_object() || !function->contains("name") ||
      !(*function)["name"].is_string())
    return Wrong("tool_choice",
                 R"('tool_choice' is an object, expected {"type": "function", "function": {"name": ...}})");
  name = (*function)["name"].get<std::string>();
  if (tools.Find(name))
    return std::nullopt;
  return Wrong("tool_choice",
               fmt::format("'tool_choice' names the function '{}', which is none of the 'tools'", name.substr(0, 60)));
}

// "none", "auto": calls are parsed out of the text; "required" or a name: the text is held to the form of calls.
std::optional<ApiError> ReadToolChoice(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  bool has_tools = !out.conversation.tools->empty();
  const Json *choice = fields.Find("tool_choice");
  std::string word = has_tools ? "auto" : "none", name;
  if (choice && choice->is_string()) {
    word = choice->get<std::string>();
  } else if (choice && choice->is_object()) {
    word = "required";
    if (std::optional<ApiError> wrong = ReadNamedTool(*choice, *out.conversation.tools, name))
      return wrong;
  } else if (choice) {
    return Wrong("tool_choice",
                 fmt::format("'tool_choice' is {}, expected none, auto, required or a function", Describe(*choice)));
  }
  if (word != "none" && word != "auto" && word != "required")
    return Wrong("tool_choice",
                 fmt::format("'tool_choice' is '{}', expected none, auto, required or a function", word.substr(0, 60)));
  if (word != "none" && choice && !has_tools)
    return Wrong("tool_choice", fmt::format("'tool_choice' is '{}', but there are no 'tools'", word));
  if (word == "auto" && has_tools && !context.has_tool_parser)
    return Wrong("tools",
                 "'tools' are given, but the server was started without --tool-call-parser, which says how this model "
                 "writes calls; start it with one, or set 'tool_choice' to 'required' or 'none'",
                 "not_supported");
  fields.Bool("parallel_tool_calls", out.parallel_tool_calls);
  out.tool_choice = ToolChoice::kNone;
  if (word == "auto" && has_tools)
    out.tool_choice = ToolChoice::kAuto;
  if (word == "required") {
    if (!out.sampling.guided.empty())
      return Wrong("tool_choice", "'tool_choice' forces a call, beside another form of the answer; give one of them");
    out.tool_choice = ToolChoice::kForced;
    out.sampling.guided.json_schema =
        ForcedCallSchema(*out.conversation.tools, name, name.empty() && out.parallel_tool_calls);
  }
  return std::nullopt;
}

std::optional<ApiError> CheckCount(int64_t prompts, const RequestContext &context, const GenerationRequest &request) {
  int64_t sequences = prompts * std::max(request.n, request.best_of);
  if (sequences > context.limits.sequences)
    return Wrong("n", fmt::format("{} prompts times n = {} are {} sequences, expected at most {}", prompts,
                                  std::max(request.n, request.best_of), sequences, context.limits.sequences));
  return std::nullopt;
}

} // namespace

std::optional<ApiError> ParseCompletion(std::string_view body, const RequestContext &context, GenerationRequest &out) {
  Json object;
  if (std::optional<ApiError> wrong = ParseObject(body, context.limits.json_depth, object))
    return wrong;
  Fields fields(object, "");
  fields.Bool("echo", out.echo);
  ReadCommon(fields, context, out);
  if (std::optional<ApiError> wrong = ReadPrompts(fields, context, out.prompts))
    return wrong;
  if (fields.Find("logprobs")) {
    out.logprobs = true;
    out.sampling.logprobs = 0;
    fields.Integer("logprobs", out.sampling.logprobs, 0, context.limits.logprobs);
  }
  if (out.echo && out.logprobs)
    out.sampling.prompt_logprobs = out.sampling.logprobs;
  fields.Bool("add_special_tokens", out.add_special_tokens);
  out.best_of = out.n;
  fields.Integer("best_of", out.best_of, 1, context.limits.sequences);
  fields.OnlyDefault("suffix", "", "this server does not fill in the middle");
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  if (out.best_of < out.n)
    return Wrong("best_of", fmt::format("'best_of' is {}, expected at least n = {}", out.best_of, out.n));
  if (out.best_of > out.n && out.stream)
    return Wrong("best_of", "'best_of' is larger than 'n', which a stream cannot do; set 'stream' to false");
  return CheckCount(static_cast<int64_t>(out.prompts.size()), context, out);
}

std::optional<ApiError> ParseChat(std::string_view body, const RequestContext &context, GenerationRequest &out) {
  Json object;
  if (std::optional<ApiError> wrong = ParseObject(body, context.limits.json_depth, object))
    return wrong;
  out.is_chat = true;
  out.add_special_tokens = false; // the template writes them
  Fields fields(object, "");
  ReadCommon(fields, context, out);
  if (fields.Find("max_completion_tokens")) {
    fields.Integer("max_completion_tokens", out.sampling.max_tokens, 1, context.max_model_len);
    out.max_tokens_given = true;
  }
  fields.Bool("logprobs", out.logprobs);
  int32_t top_logprobs = 0;
  bool has_top = fields.Find("top_logprobs") != nullptr;
  fields.Integer("top_logprobs", top_logprobs, 0, context.limits.logprobs);
  if (out.logprobs)
    out.sampling.logprobs = top_logprobs;
  else if (has_top && top_logprobs > 0)
    fields.Fail("top_logprobs", "'top_logprobs' is given without 'logprobs': true");
  fields.Bool("add_special_tokens", out.add_special_tokens);
  for (std::string_view ignored : {"metadata", "service_tier", "safety_identifier", "prompt_cache_key"})
    fields.Ignore(ignored);
  fields.OnlyDefault("echo", false, "answers of chats begin after the prompt");
  fields.OnlyDefault("store", false, "this server stores nothing");
  fields.OnlyDefault("modalities", Json::array({"text"}), "this server writes text only");
  fields.OnlyDefault("functions", Json::array(), "functions are given as 'tools'");
  fields.OnlyDefault("function_call", "none", "functions are given as 'tools'");
  for (std::string_view unknown : {"audio", "prediction", "reasoning_effort", "verbosity", "web_search_options"})
    fields.OnlyDefault(unknown, Json(), "this server does not know it");
  if (std::optional<ApiError> wrong = ReadConversation(fields, context, out.conversation))
    return wrong;
  if (std::optional<ApiError> wrong = ReadToolChoice(fields, context, out))
    return wrong;
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  out.best_of = out.n;
  return CheckCount(1, context, out);
}

std::optional<ApiError> ParseTokenize(std::string_view body, const RequestContext &context, TokenizeRequest &out) {
  Json object;
  if (std::optional<ApiError> wrong = ParseObject(body, context.limits.json_depth, object))
    return wrong;
  Fields fields(object, "");
  fields.String("model", out.model, kName);
  fields.Bool("return_token_strs", out.return_token_strs);
  out.is_chat = object.contains("messages");
  out.add_special_tokens = !out.is_chat;
  fields.Bool("add_special_tokens", out.add_special_tokens);
  if (out.is_chat) {
    if (std::optional<ApiError> wrong = ReadConversation(fields, context, out.conversation))
      return wrong;
    return fields.Finish();
  }
  fields.String("prompt", out.prompt, kAnyText);
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  if (!object.contains("prompt"))
    return Wrong("prompt", "'prompt' is missing; expected a string, or 'messages'");
  return std::nullopt;
}

std::optional<ApiError> ParseDetokenize(std::string_view body, const RequestContext &context, DetokenizeRequest &out) {
  Json object;
  if (std::optional<ApiError> wrong = ParseObject(body, context.limits.json_depth, object))
    return wrong;
  Fields fields(object, "");
  fields.String("model", out.model, kName);
  fields.TokenIds("tokens", out.tokens, size_t{1} << 20, context.vocab_size);
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  if (!object.contains("tokens"))
    return Wrong("tokens", "'tokens' is missing; expected a list of token ids");
  return std::nullopt;
}

} // namespace inlay::serve
