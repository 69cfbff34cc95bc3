// Loads a directory's chat templates and picks one for a conversation.
#include "frontends/tokenizer/chat_renderer.h"

#include "nlohmann/json.hpp"

namespace inlay::tokenizer {
namespace {

// Whether the variables hold a list of tools with something in it. Wrong JSON is left for the template to report.
bool HasTools(std::string_view variables_json) {
  if (variables_json.find("\"tools\"") == std::string_view::npos)
    return false;
  nlohmann::json variables = nlohmann::json::parse(variables_json, nullptr, /*allow_exceptions=*/false);
  return variables.is_object() && variables.contains("tools") && !variables["tools"].empty();
}

} // namespace

absl::StatusOr<std::unique_ptr<ChatRenderer>> ChatRenderer::Load(const std::string &directory,
                                                                 const Tokenizer &tokenizer) {
  absl::StatusOr<std::unique_ptr<ChatTemplate>> plain = ChatTemplate::Load(directory);
  if (!plain.ok())
    return plain.status();
  absl::StatusOr<std::unique_ptr<ChatTemplate>> tool_use = ChatTemplate::Load(directory, "tool_use");
  if (!tool_use.ok() && !absl::IsNotFound(tool_use.status()))
    return tool_use.status();
  std::unique_ptr<ChatRenderer> renderer(new ChatRenderer());
  renderer->plain_ = *std::move(plain);
  if (tool_use.ok())
    renderer->tool_use_ = *std::move(tool_use);
  renderer->bos_token_ = tokenizer.bos_token();
  renderer->eos_token_ = tokenizer.eos_token();
  return renderer;
}

absl::StatusOr<std::string> ChatRenderer::Render(std::string_view messages_json, std::string_view variables_json,
                                                 bool add_generation_prompt) const {
  ChatOptions options;
  options.add_generation_prompt = add_generation_prompt;
  options.bos_token = bos_token_;
  options.eos_token = eos_token_;
  options.variables_json = variables_json;
  const ChatTemplate &chosen = tool_use_ && HasTools(variables_json) ? *tool_use_ : *plain_;
  return chosen.RenderJson(messages_json, options);
}

} // namespace inlay::tokenizer
