#include "runtime/serve/openai_messages.h"

#include "fmt/format.h"

#include <algorithm>
#include <array>

namespace inlay::serve {
namespace {

// The types of content parts with text, and the field that contains the text. Reasoning ("thinking") is not added to
// the content.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kTextParts = {{{"text", "text"},
                                                                                      {"input_text", "text"},
                                                                                      {"output_text", "text"},
                                                                                      {"refusal", "refusal"},
                                                                                      {"thinking", "thinking"}}};

ApiError At(const std::string &path, const std::string &message, std::string code = "") {
  return {.message = fmt::format("'{}' {}", path, message), .param = path, .code = std::move(code)};
}

// Reads a string, or a list of {"type": "text", "text": ...} and other parts with text, which are joined.
std::optional<ApiError> ReadContent(const Json &content, const std::string &path, IgnoredFields *ignored,
                                    std::string &out) {
  if (content.is_string()) {
    out = content.get<std::string>();
    return std::nullopt;
  }
  if (!content.is_array())
    return At(path, fmt::format("is {}, expected a string or a list of parts", Describe(content)));
  out.clear();
  for (size_t i = 0; i < content.size(); ++i) {
    std::string part_path = fmt::format("{}[{}]", path, i);
    if (!content[i].is_object())
      return At(part_path, fmt::format("is {}, expected an object", Describe(content[i])));
    Fields part(content[i], part_path, ignored);
    std::string type, text;
    part.String("type", type, kName);
    const auto *kind = std::ranges::find(kTextParts, type, &std::pair<std::string_view, std::string_view>::first);
    if (!part.error() && kind == kTextParts.end())
      return At(part_path + ".type",
                fmt::format("is '{}', but this server reads text only; expected 'text'", type.substr(0, 60)),
                "not_supported");
    if (kind != kTextParts.end())
      part.String(kind->second, text, kAnyText);
    // Cache hints for other servers, and fields of OpenAI's answers other than the text.
    for (std::string_view field : {"cache_control", "annotations", "logprobs", "signature"})
      part.Ignore(field);
    if (std::optional<ApiError> wrong = part.Finish())
      return wrong;
    if (!content[i].contains(kind->second))
      return At(part_path, fmt::format("has no '{}'", kind->second));
    if (type != "thinking")
      out += text;
  }
  return std::nullopt;
}

// The arguments are a string that contains a JSON object, or the object itself. Templates expect the object.
std::optional<ApiError> ReadToolCall(const Json &call, const std::string &path, const Limits &limits,
                                     IgnoredFields *ignored, Json &out) {
  if (!call.is_object())
    return At(path, fmt::format("is {}, expected an object", Describe(call)));
  Fields fields(call, path, ignored);
  std::string id, type = "function";
  fields.String("id", id, kName);
  fields.String("type", type, kName);
  fields.Ignore("index");
  fields.Ignore("cache_control");
  const Json *function = fields.Find("function");
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  if (type != "function" || !function || !function->is_object())
    return At(path, "expected {\"type\": \"function\", \"function\": {\"name\", \"arguments\"}}");
  Fields inner(*function, path + ".function", ignored);
  std::string name, arguments;
  inner.String("name", name, kName);
  const Json *given = inner.Find("arguments");
  bool is_object = given && given->is_object();
  if (!is_object)
    inner.String("arguments", arguments, kAnyText);
  if (std::optional<ApiError> wrong = inner.Finish())
    return wrong;
  if (name.empty())
    return At(path + ".function.name", "is missing");
  Json parsed = is_object ? *given : Json::object();
  if (!arguments.empty())
    if (std::optional<ApiError> wrong = ParseObject(arguments, limits.json_depth, parsed))
      return At(path + ".function.arguments", "must hold a JSON object: " + wrong->message);
  out = {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", std::move(parsed)}}}};
  return std::nullopt;
}

std::optional<ApiError> ReadMessage(const Json &message, const std::string &path, const Limits &limits,
                                    IgnoredFields *ignored, Json &out) {
  if (!message.is_object())
    return At(path, fmt::format("is {}, expected an object with 'role' and 'content'", Describe(message)));
  Fields fields(message, path, ignored);
  std::string role, name, tool_call_id, reasoning, reasoning_content;
  fields.String("role", role, kName);
  fields.String("name", name, kName);
  fields.String("tool_call_id", tool_call_id, kName);
  fields.String("reasoning", reasoning, kAnyText);
  fields.String("reasoning_content", reasoning_content, kAnyText);
  // Fields of answers of OpenAI and other servers, which clients send back. A refusal accompanies an empty content.
  for (std::string_view field :
       {"refusal", "annotations", "cache_control", "reasoning_details", "thinking_blocks", "provider_specific_fields"})
    fields.Ignore(field);
  for (std::string_view unknown : {"audio", "function_call"})
    fields.OnlyDefault(unknown, Json(), "this server does not support it");
  const Json *content = fields.Find("content"), *calls = fields.Find("tool_calls");
  if (std::optional<ApiError> wrong = fields.Finish())
    return wrong;
  // Any role is accepted, because templates may define their own, such as ipython.
  if (role.empty())
    return At(path + ".role",
              "is missing; expected system, developer, user, assistant, tool or a role of the template");
  std::string text;
  if (content) {
    if (std::optional<ApiError> wrong = ReadContent(*content, path + ".content", ignored, text))
      return wrong;
  } else if (role != "assistant" && role != "tool") {
    return At(path + ".content", "is missing");
  }
  out = {{"role", role}, {"content", text}};
  if (!name.empty())
    out["name"] = name;
  if (!tool_call_id.empty())
    out["tool_call_id"] = tool_call_id;
  // Templates get the reasoning under both names, as in vLLM.
  if (reasoning.empty())
    reasoning = std::move(reasoning_content);
  if (!reasoning.empty()) {
    out["reasoning"] = reasoning;
    out["reasoning_content"] = reasoning;
  }
  if (!calls)
    return std::nullopt;
  if (role != "assistant")
    return At(path + ".tool_calls", "is only allowed in messages of the assistant");
  if (!calls->is_array() || calls->size() > static_cast<size_t>(limits.tools))
    return At(path + ".tool_calls",
              fmt::format("is {}, expected a list of at most {}", Describe(*calls), limits.tools));
  Json read = Json::array();
  for (size_t i = 0; i < calls->size(); ++i)
    if (std::optional<ApiError> wrong =
            ReadToolCall((*calls)[i], fmt::format("{}.tool_calls[{}]", path, i), limits, ignored, read.emplace_back()))
      return wrong;
  if (!read.empty())
    out["tool_calls"] = std::move(read);
  return std::nullopt;
}

} // namespace

std::optional<ApiError> ReadMessages(const Json &messages, const Limits &limits, IgnoredFields *ignored, Json &out) {
  if (!messages.is_array() || messages.empty() || messages.size() > static_cast<size_t>(limits.messages))
    return At("messages",
              fmt::format("is {}, expected a list of 1 to {} messages", Describe(messages), limits.messages));
  out = Json::array();
  for (size_t i = 0; i < messages.size(); ++i)
    if (std::optional<ApiError> wrong =
            ReadMessage(messages[i], fmt::format("messages[{}]", i), limits, ignored, out.emplace_back()))
      return wrong;
  return std::nullopt;
}

std::optional<ApiError> ReadTools(const Json &tools, const Limits &limits, IgnoredFields *ignored) {
  if (!tools.is_array() || tools.empty() || tools.size() > static_cast<size_t>(limits.tools))
    return At("tools", fmt::format("is {}, expected a list of 1 to {} tools", Describe(tools), limits.tools));
  std::set<std::string> names;
  for (size_t i = 0; i < tools.size(); ++i) {
    std::string path = fmt::format("tools[{}]", i);
    if (!tools[i].is_object())
      return At(path, fmt::format("is {}, expected an object", Describe(tools[i])));
    Fields fields(tools[i], path, ignored);
    std::string type;
    fields.String("type", type, kName);
    const Json *function = fields.Find("function");
    if (std::optional<ApiError> wrong = fields.Finish())
      return wrong;
    if (type != "function" || !function || !function->is_object())
      return At(path, "expected {\"type\": \"function\", \"function\": {...}}");
    Fields inner(*function, path + ".function", ignored);
    std::string name, description;
    bool strict = false;
    inner.String("name", name, 64);
    inner.String("description", description, kAnyText);
    inner.Bool("strict", strict); // vLLM does not constrain the arguments of calls that are not forced either
    inner.Ignore("cache_control");
    const Json *parameters = inner.Find("parameters");
    if (std::optional<ApiError> wrong = inner.Finish())
      return wrong;
    if (name.empty())
      return At(path + ".function.name", "is missing");
    if (!names.insert(name).second)
      return At(path + ".function.name", fmt::format("is '{}', which occurs twice", name));
    if (parameters && !parameters->is_object())
      return At(path + ".function.parameters", fmt::format("is {}, expected a JSON schema", Describe(*parameters)));
  }
  return std::nullopt;
}

} // namespace inlay::serve
