// Text functions of the C interface: tokenizing, and rendering conversations. Conversations are parsed by the same code
// as in serve-model, so that both render the same prompt.
#include "runtime/c/handles.h"
#include "runtime/c/support.h"
#include "runtime/serve/chat_fields.h"
#include "runtime/serve/openai_request.h"

#include <array>
#include <filesystem>
#include <limits>
#include <span>

namespace inlay::c {
namespace {

using serve::Json;

constexpr std::array<std::string_view, 7> kConversationFields = {"messages",
                                                                 "tools",
                                                                 "chat_template_kwargs",
                                                                 "documents",
                                                                 "reasoning_effort",
                                                                 "add_generation_prompt",
                                                                 "continue_final_message"};

// Unlike a server's clients, a program is trusted, so only the nesting depth of its JSON is limited.
serve::RequestContext Context() {
  serve::RequestContext context;
  context.limits.messages = context.limits.tools = std::numeric_limits<int>::max();
  return context;
}

// Converts an error of runtime/serve, whose message names the field, and adds the name of the argument.
absl::Status Wrong(const serve::ApiError &error, std::string_view argument = {}) {
  return absl::InvalidArgumentError(argument.empty() ? error.message : fmt::format("{}: {}", argument, error.message));
}

absl::StatusOr<std::string> Render(const Engine &engine, std::string_view conversation_json) {
  serve::RequestContext context = Context();
  Json object;
  if (std::optional<serve::ApiError> wrong = serve::ParseObject(conversation_json, context.limits.json_depth, object))
    return Wrong(*wrong, "conversation_json");
  // The server logs fields that it ignores. There is no log here, so unknown fields are errors.
  for (const auto &[name, value] : object.items())
    if (std::ranges::find(kConversationFields, name) == kConversationFields.end())
      return absl::InvalidArgumentError(fmt::format("found '{}', which is not a field of a conversation, expected {}",
                                                    name.substr(0, 60), fmt::join(kConversationFields, ", ")));
  serve::TokenizeRequest request;
  if (object.contains("messages") && !object["messages"].is_null())
    if (std::optional<serve::ApiError> wrong = ParseTokenize(conversation_json, context, request))
      return Wrong(*wrong);
  if (!request.is_chat)
    return absl::InvalidArgumentError("'messages' is missing; expected a list of messages");
  return engine.ApplyChatTemplate(ToChatRequest(request.conversation, /*with_tools=*/true));
}

// Converts the arguments of inlay_apply_chat_template to the object that inlay_render_chat takes.
absl::StatusOr<std::string> ToConversation(std::string_view messages_json, const char *variables_json,
                                           bool add_generation_prompt) {
  int depth = Context().limits.json_depth;
  Json conversation, variables = Json::object();
  if (std::optional<serve::ApiError> wrong =
          serve::ParseObject(fmt::format("{{\"messages\":{}}}", messages_json), depth, conversation))
    return Wrong(*wrong, "messages_json");
  if (conversation.size() != 1)
    return absl::InvalidArgumentError("messages_json: found more than one value, expected a list of messages");
  if (variables_json)
    if (std::optional<serve::ApiError> wrong = serve::ParseObject(variables_json, depth, variables))
      return Wrong(*wrong, "variables_json");
  // These variables have their own fields in the conversation.
  for (const char *name : {"tools", "documents", "reasoning_effort"})
    if (auto found = variables.find(name); found != variables.end()) {
      conversation[name] = *found;
      variables.erase(found);
    }
  conversation["chat_template_kwargs"] = std::move(variables);
  conversation["add_generation_prompt"] = add_generation_prompt;
  return conversation.dump();
}

absl::StatusOr<std::string> DecodeWithSpecialTokens(inlay_engine &engine, std::span<const int32_t> ids) {
  std::call_once(engine.loads_tokenizer, [&] {
    engine.tokenizer = tokenizer::Tokenizer::Load((std::filesystem::path(engine.directory) / "tokenizer").string());
  });
  if (absl::IsNotFound(engine.tokenizer.status()))
    return absl::FailedPreconditionError(engine.tokenizer.status().message());
  if (!engine.tokenizer.ok())
    return engine.tokenizer.status();
  return (*engine.tokenizer)->Decode(ids, /*skip_special_tokens=*/false);
}

absl::Status GiveText(const absl::StatusOr<std::string> &found, char **text, size_t *text_size) {
  return found.ok() ? Give(found->data(), found->size(), text, text_size) : found.status();
}

absl::Status CheckDecode(const inlay_engine *engine, const int32_t *ids, size_t id_count, const void *text,
                         const void *text_size) {
  const void *given = ids;
  return NotNull({{engine, "engine"}, {id_count ? given : "", "ids"}, {text, "text"}, {text_size, "text_size"}});
}

} // namespace
} // namespace inlay::c

using inlay::c::Call;

inlay_status inlay_tokenize(const inlay_engine *engine, const char *text, size_t text_size, int32_t add_special_tokens,
                            int32_t **ids, size_t *id_count) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(
            {{engine, "engine"}, {text_size ? text : "", "text"}, {ids, "ids"}, {id_count, "id_count"}});
        !status.ok())
      return status;
    absl::StatusOr<std::vector<int32_t>> found =
        engine->engine->Tokenize(std::string(text, text_size), add_special_tokens != 0);
    if (!found.ok())
      return found.status();
    return inlay::c::Give(found->data(), found->size(), ids, id_count);
  });
}

inlay_status inlay_detokenize(const inlay_engine *engine, const int32_t *ids, size_t id_count, char **text,
                              size_t *text_size) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::CheckDecode(engine, ids, id_count, text, text_size); !status.ok())
      return status;
    return inlay::c::GiveText(engine->engine->Detokenize({ids, ids + id_count}), text, text_size);
  });
}

inlay_status inlay_decode(inlay_engine *engine, const int32_t *ids, size_t id_count, int32_t skip_special_tokens,
                          char **text, size_t *text_size) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::CheckDecode(engine, ids, id_count, text, text_size); !status.ok())
      return status;
    return inlay::c::GiveText(skip_special_tokens ? engine->engine->Detokenize({ids, ids + id_count})
                                                  : inlay::c::DecodeWithSpecialTokens(*engine, {ids, id_count}),
                              text, text_size);
  });
}

inlay_status inlay_render_chat(const inlay_engine *engine, const char *conversation_json, size_t json_size, char **text,
                               size_t *text_size) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(
            {{engine, "engine"}, {conversation_json, "conversation_json"}, {text, "text"}, {text_size, "text_size"}});
        !status.ok())
      return status;
    return inlay::c::GiveText(inlay::c::Render(*engine->engine, {conversation_json, json_size}), text, text_size);
  });
}

inlay_status inlay_apply_chat_template(const inlay_engine *engine, const char *messages_json,
                                       const char *variables_json, int32_t add_generation_prompt, char **text,
                                       size_t *text_size) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(
            {{engine, "engine"}, {messages_json, "messages_json"}, {text, "text"}, {text_size, "text_size"}});
        !status.ok())
      return status;
    absl::StatusOr<std::string> conversation =
        inlay::c::ToConversation(messages_json, variables_json, add_generation_prompt != 0);
    if (!conversation.ok())
      return conversation.status();
    return inlay::c::GiveText(inlay::c::Render(*engine->engine, *conversation), text, text_size);
  });
}
