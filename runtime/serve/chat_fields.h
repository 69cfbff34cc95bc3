// Request fields of chats: the conversation for the chat template, and how tools may be called.
#ifndef INLAY_RUNTIME_SERVE_CHAT_FIELDS_H_
#define INLAY_RUNTIME_SERVE_CHAT_FIELDS_H_

#include "runtime/serve/fields.h"
#include "runtime/serve/openai_request.h"

namespace inlay::serve {

// Reads messages, tools and template variables, for chat completions and for /tokenize.
std::optional<ApiError> ReadConversation(Fields &fields, const RequestContext &context, Conversation &out);

// The request from which the engine renders the prompt. The template sees the tools only if `with_tools`.
ChatRequest ToChatRequest(const Conversation &conversation, bool with_tools);

// Reads tool_choice and parallel_tool_calls. A forced call becomes a JSON Schema for guided decoding.
std::optional<ApiError> ReadToolChoice(Fields &fields, const RequestContext &context, GenerationRequest &out);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_CHAT_FIELDS_H_
