// Converts conversations to prompts with the chat templates and the tokenizer's special tokens of one directory.
#ifndef INLAY_FORMATS_TOKENIZER_CHAT_RENDERER_H_
#define INLAY_FORMATS_TOKENIZER_CHAT_RENDERER_H_

#include "formats/tokenizer/chat_template.h"
#include "formats/tokenizer/tokenizer.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

// Immutable; Render may be called from several threads.
class ChatRenderer {
public:
  // Parses every template of the directory. NotFound if it has none. `tokenizer` is needed during the call only.
  static absl::StatusOr<std::unique_ptr<ChatRenderer>> Load(const std::string &directory, const Tokenizer &tokenizer);

  // `messages_json` and `variables_json` are described at ChatTemplate::RenderJson and ChatOptions. `name` selects the
  // template. If it is empty, the template is "tool_use" if it exists and tools are given, else "default", as in
  // transformers' get_chat_template. InvalidArgument if there is no such template.
  absl::StatusOr<std::string> Render(std::string_view messages_json, std::string_view variables_json,
                                     bool add_generation_prompt, std::string_view name = {}) const;

  // The names of the templates, sorted.
  std::vector<std::string> Names() const;

private:
  ChatRenderer() = default;
  std::map<std::string, std::unique_ptr<ChatTemplate>, std::less<>> templates_;
  std::string bos_token_, eos_token_;
  std::map<std::string, std::string> more_tokens_; // "pad_token", ...
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_CHAT_RENDERER_H_
