#include "runtime/api/chat_prompt.h"

#include "nlohmann/json.hpp"

#include <string_view>

namespace inlay {
namespace {

using Json = nlohmann::ordered_json;

// This tag is appended to the last message, to find the message's end in the prompt. transformers uses the same tag, so
// templates that change the text of messages change it in the same way.
constexpr std::string_view kTag = "CONTINUE_FINAL_MESSAGE_TAG ";
constexpr std::string_view kTagWithoutSpace = kTag.substr(0, kTag.size() - 1);
constexpr std::string_view kSpaces = " \t\n\r\f\v";

// Returns the text that the answer continues: the last message's content, or the last text part of it. Null if there is
// none.
Json *FinalText(Json &messages) {
  if (messages.empty() || !messages.back().is_object() || !messages.back().contains("content"))
    return nullptr;
  Json &content = messages.back()["content"];
  if (content.is_string())
    return &content;
  if (content.is_array())
    for (auto part = content.rbegin(); part != content.rend(); ++part)
      if (part->is_object() && part->contains("text") && (*part)["text"].is_string())
        return &(*part)["text"];
  return nullptr;
}

// Removes the tag and all text after it. If the template trimmed the message, white space before the tag is removed
// too.
absl::StatusOr<std::string> CutAtTag(std::string prompt) {
  size_t at = prompt.rfind(kTagWithoutSpace);
  if (at == std::string::npos)
    return absl::InvalidArgumentError("continue_final_message is true, but the chat template does not render the last "
                                      "message; send the rendered prompt as text instead");
  bool keeps_spaces = prompt.compare(at, kTag.size(), kTag) == 0;
  prompt.resize(at);
  if (!keeps_spaces)
    prompt.resize(prompt.find_last_not_of(kSpaces) + 1);
  return prompt;
}

} // namespace

absl::StatusOr<std::string> RenderChat(const tokenizer::ChatRenderer &renderer, const ChatRequest &chat) {
  // If the messages are not valid, the renderer returns the error.
  Json messages = Json::parse(chat.messages_json, nullptr, /*allow_exceptions=*/false);
  if (!messages.is_array())
    return renderer.Render(chat.messages_json, chat.variables_json, chat.add_generation_prompt);
  if (chat.continue_final_message) {
    if (chat.add_generation_prompt)
      return absl::InvalidArgumentError(
          "continue_final_message and add_generation_prompt are both true; set one of them to false");
    Json *text = FinalText(messages);
    if (!text)
      return absl::InvalidArgumentError("continue_final_message is true, but the last message has no text to continue");
    text->get_ref<std::string &>() += kTag;
  }
  absl::StatusOr<std::string> prompt =
      renderer.Render(chat.continue_final_message ? messages.dump() : chat.messages_json, chat.variables_json,
                      chat.add_generation_prompt);
  return prompt.ok() && chat.continue_final_message ? CutAtTag(*std::move(prompt)) : prompt;
}

} // namespace inlay
