// Loads the chat templates of a directory and selects one for a conversation.
#include "formats/tokenizer/chat_renderer.h"

#include "formats/tokenizer/chat_template_files.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <utility>

namespace inlay::tokenizer {
namespace {

// Whether the variables contain tools. As in transformers, an empty list counts, null does not. ChatTemplate reports
// invalid JSON.
bool HasTools(std::string_view variables_json) {
  if (variables_json.find("\"tools\"") == std::string_view::npos)
    return false;
  nlohmann::json variables = nlohmann::json::parse(variables_json, nullptr, /*allow_exceptions=*/false);
  return variables.is_object() && variables.contains("tools") && !variables["tools"].is_null();
}

} // namespace

absl::StatusOr<std::unique_ptr<ChatRenderer>> ChatRenderer::Load(const std::string &directory,
                                                                 const Tokenizer &tokenizer) {
  absl::StatusOr<ChatTemplateFiles> files = FindChatTemplates(directory);
  if (!files.ok())
    return files.status();
  if (files->by_name.empty())
    return absl::NotFoundError(MissingTemplate(*files, "default"));
  std::unique_ptr<ChatRenderer> renderer(new ChatRenderer());
  for (const auto &[name, source] : files->by_name) {
    absl::StatusOr<std::unique_ptr<ChatTemplate>> parsed = ChatTemplate::FromSource(source.text, source.file);
    if (!parsed.ok())
      return parsed.status();
    renderer->templates_[name] = *std::move(parsed);
  }
  renderer->bos_token_ = tokenizer.bos_token();
  renderer->eos_token_ = tokenizer.eos_token();
  for (const auto &[name, content] : tokenizer.special_tokens())
    if (name != "bos_token" && name != "eos_token")
      renderer->more_tokens_[name] = content;
  return renderer;
}

std::vector<std::string> ChatRenderer::Names() const {
  std::vector<std::string> names;
  for (const auto &[name, parsed] : templates_)
    names.push_back(name);
  return names;
}

absl::StatusOr<std::string> ChatRenderer::Render(std::string_view messages_json, std::string_view variables_json,
                                                 bool add_generation_prompt, std::string_view name) const {
  ChatOptions options;
  options.add_generation_prompt = add_generation_prompt;
  options.bos_token = bos_token_;
  options.eos_token = eos_token_;
  options.variables = more_tokens_;
  options.variables_json = variables_json;
  if (name.empty())
    name = templates_.contains("tool_use") && HasTools(variables_json) ? "tool_use" : "default";
  auto chosen = templates_.find(name);
  if (chosen == templates_.end())
    return absl::InvalidArgumentError(
        fmt::format("found the chat templates {}, expected '{}'; name one of those", fmt::join(Names(), ", "), name));
  return chosen->second->RenderJson(messages_json, options);
}

} // namespace inlay::tokenizer
