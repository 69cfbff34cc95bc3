// Request fields of chats: the conversation for the chat template, and how tools may be called.
#ifndef INLAY_RUNTIME_SERVE_CHAT_FIELDS_H_
#define INLAY_RUNTIME_SERVE_CHAT_FIELDS_H_

#include "runtime/serve/fields.h"
#include "runtime/serve/openai_request.h"

namespace inlay::serve {

// Messages, tools and variables of the template, for chats and for counting their tokens.
std::optional<ApiError> ReadConversation(Fields &fields, const RequestContext &context, Conversation &out);

// What the engine renders; without `with_tools` the template does not see the tools.
ChatRequest ToChatRequest(const Conversation &conversation, bool with_tools);

// tool_choice and parallel_tool_calls; a forced call becomes a form of the answer.
std::optional<ApiError> ReadToolChoice(Fields &fields, const RequestContext &context, GenerationRequest &out);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_CHAT_FIELDS_H_
