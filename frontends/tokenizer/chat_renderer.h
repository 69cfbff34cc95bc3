// Conversations to prompts with the files of one directory: its chat template, the one for tools where tools are
// given, and the special tokens that its tokenizer names.
#ifndef INLAY_FRONTENDS_TOKENIZER_CHAT_RENDERER_H_
#define INLAY_FRONTENDS_TOKENIZER_CHAT_RENDERER_H_

#include "frontends/tokenizer/chat_template.h"
#include "frontends/tokenizer/tokenizer.h"

#include <memory>
#include <string>
#include <string_view>

namespace inlay::tokenizer {

// Immutable; Render may be called from several threads.
class ChatRenderer {
public:
  // NotFound if the directory has no template. `tokenizer` is needed during the call only.
  static absl::StatusOr<std::unique_ptr<ChatRenderer>> Load(const std::string &directory, const Tokenizer &tokenizer);

  // `messages_json` and `variables_json` are as ChatTemplate::RenderJson and ChatOptions take them.
  absl::StatusOr<std::string> Render(std::string_view messages_json, std::string_view variables_json,
                                     bool add_generation_prompt) const;

private:
  ChatRenderer() = default;
  std::unique_ptr<ChatTemplate> plain_, tool_use_; // tool_use_ is null where only other templates are named
  std::string bos_token_, eos_token_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FRONTENDS_TOKENIZER_CHAT_RENDERER_H_
