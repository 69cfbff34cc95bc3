#include "runtime/serve/chat_fields.h"

#include "fmt/format.h"
#include "runtime/serve/openai_messages.h"
#include "runtime/serve/tool_calls.h"

#include <algorithm>
#include <array>

namespace inlay::serve {
namespace {

// Reads the template variables besides messages and tools: chat_template_kwargs, documents, reasoning_effort.
std::optional<ApiError> ReadVariables(Fields &fields, std::string &out) {
  constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
  const Json *given = fields.Find("chat_template_kwargs"), *documents = fields.Find("documents");
  std::string effort;
  fields.String("reasoning_effort", effort, kName);
  if (fields.error())
    return fields.error();
  if (given && !given->is_object())
    return Wrong("chat_template_kwargs",
                 fmt::format("'chat_template_kwargs' is {}, expected an object", Describe(*given)));
  Json variables = given ? *given : Json::object();
  for (std::string_view reserved : {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
    if (variables.contains(reserved))
      return Wrong(
          "chat_template_kwargs",
          fmt::format(
              "'chat_template_kwargs' contains '{}', which the server sets from other fields of the request; remove it",
              reserved));
  if (documents) {
    if (!documents->is_array() || !std::ranges::all_of(*documents, [](const Json &one) { return one.is_object(); }))
      return Wrong("documents", fmt::format("'documents' is {}, expected a list of objects, as with 'title' and 'text'",
                                            Describe(*documents)));
    variables["documents"] = *documents;
  }
  // As in vLLM, reasoning_effort also sets enable_thinking, the variable with which templates turn reasoning on or off.
  if (!effort.empty()) {
    if (std::ranges::find(kEfforts, effort) == kEfforts.end())
      return Wrong("reasoning_effort", fmt::format("'reasoning_effort' is '{}', expected one of {}",
                                                   effort.substr(0, 60), fmt::join(kEfforts, ", ")));
    variables["reasoning_effort"] = effort;
    if (!variables.contains("enable_thinking"))
      variables["enable_thinking"] = effort != "none";
  }
  if (!variables.empty())
    out = variables.dump();
  return std::nullopt;
}

// {"type": "function", "function": {"name": ...}}: the name of one of the tools.
std::optional<ApiError> ReadNamedTool(const Fields &outer, const Json &choice, const ToolSet &tools,
                                      std::string &name) {
  Fields fields(choice, "tool_choice", outer.ignored());
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
               fmt::format("'tool_choice' names the function '{}', which is not in 'tools'", name.substr(0, 60)));
}

} // namespace

std::optional<ApiError> ReadConversation(Fields &fields, const RequestContext &context, Conversation &out) {
  const Json *messages = fields.Find("messages"), *tools = fields.Find("tools"),
             *begins_answer = fields.Find("add_generation_prompt");
  fields.Bool("continue_final_message", out.continue_final_message);
  // The two flags exclude each other, so the default of add_generation_prompt depends on continue_final_message.
  out.add_generation_prompt = !out.continue_final_message;
  fields.Bool("add_generation_prompt", out.add_generation_prompt);
  fields.OnlyDefault("chat_template", Json(), "the server always uses the chat template of the bundle");
  fields.OnlyDefault("media_io_kwargs", Json(), "this server reads text only");
  fields.OnlyDefault("mm_processor_kwargs", Json(), "this server reads text only");
  if (std::optional<ApiError> wrong = ReadVariables(fields, out.template_variables))
    return wrong;
  if (begins_answer && out.continue_final_message && out.add_generation_prompt)
    return Wrong("continue_final_message",
                 "'continue_final_message' and 'add_generation_prompt' are both true; set one of them to false");
  if (!messages)
    return Wrong("messages", "'messages' is missing; expected a list of messages");
  Json read;
  if (std::optional<ApiError> wrong = ReadMessages(*messages, context.limits, fields.ignored(), read))
    return wrong;
  out.messages = read.dump();
  if (const Json &last = read.back(); last["role"] == "assistant" && last.contains("content"))
    out.last_answer = last["content"].is_string() ? last["content"].get<std::string>() : std::string();
  if (!tools || (tools->is_array() && tools->empty()))
    return std::nullopt;
  if (std::optional<ApiError> wrong = ReadTools(*tools, context.limits, fields.ignored()))
    return wrong;
  out.tools = std::make_shared<ToolSet>(*tools);
  return std::nullopt;
}

ChatRequest ToChatRequest(const Conversation &conversation, bool with_tools) {
  Json variables = Json::object();
  if (!conversation.template_variables.empty())
    variables = Json::parse(conversation.template_variables);
  if (with_tools && !conversation.tools->empty())
    variables["tools"] = conversation.tools->list();
  return {.messages_json = conversation.messages,
          .variables_json = variables.dump(),
          .add_generation_prompt = conversation.add_generation_prompt,
          .continue_final_message = conversation.continue_final_message};
}

// With "auto", calls are parsed from the text if the model writes any. With "required" or a function's name, guided
// decoding forces the answer to be calls.
std::optional<ApiError> ReadToolChoice(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  bool has_tools = !out.conversation.tools->empty();
  const Json *choice = fields.Find("tool_choice");
  std::string word = has_tools ? "auto" : "none", name;
  if (choice && choice->is_string()) {
    word = choice->get<std::string>();
  } else if (choice && choice->is_object()) {
    word = "required";
    if (std::optional<ApiError> wrong = ReadNamedTool(fields, *choice, *out.conversation.tools, name))
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
                 "'tools' are given with 'tool_choice' auto, but the server was started without --tool-call-parser; "
                 "start it with the parser for this model, or set 'tool_choice' to 'required' or 'none'",
                 "not_supported");
  fields.Bool("parallel_tool_calls", out.parallel_tool_calls);
  out.tool_choice = ToolChoice::kNone;
  if (word == "auto" && has_tools)
    out.tool_choice = ToolChoice::kAuto;
  if (word == "required") {
    if (!out.sampling.guided.empty())
      return Wrong("tool_choice", "'tool_choice' forces a tool call and cannot be combined with another constraint on "
                                  "the answer; remove one of them");
    out.tool_choice = ToolChoice::kForced;
    out.sampling.guided.json_schema =
        ForcedCallSchema(*out.conversation.tools, name, name.empty() && out.parallel_tool_calls);
  }
  return std::nullopt;
}

} // namespace inlay::serve
