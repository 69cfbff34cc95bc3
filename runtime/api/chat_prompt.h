// Renders a conversation of the public API with the chat template.
#ifndef INLAY_RUNTIME_API_CHAT_PROMPT_H_
#define INLAY_RUNTIME_API_CHAT_PROMPT_H_

#include "formats/tokenizer/chat_renderer.h"
#include "runtime/api/inlay.h"

namespace inlay {

// Renders `chat`. With continue_final_message the prompt ends with the last message's text, as with transformers'
// apply_chat_template: white space at its end stays unless the template trims messages. InvalidArgument says what is
// wrong with `chat`.
absl::StatusOr<std::string> RenderChat(const tokenizer::ChatRenderer &renderer, const ChatRequest &chat);

} // namespace inlay

#endif // INLAY_RUNTIME_API_CHAT_PROMPT_H_
