// Validates messages and tools of a chat and converts them to the form that chat templates expect.
#ifndef INLAY_RUNTIME_SERVE_OPENAI_MESSAGES_H_
#define INLAY_RUNTIME_SERVE_OPENAI_MESSAGES_H_

#include "runtime/serve/fields.h"
#include "runtime/serve/limits.h"

namespace inlay::serve {

// Contents become strings (text parts are joined), arguments of tool calls become objects. Unknown fields are added to
// `ignored`; see Fields.
std::optional<ApiError> ReadMessages(const Json &messages, const Limits &limits, IgnoredFields *ignored, Json &out);

// {"type": "function", "function": {"name", "description", "parameters", "strict"}}; names are unique.
std::optional<ApiError> ReadTools(const Json &tools, const Limits &limits, IgnoredFields *ignored);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_OPENAI_MESSAGES_H_
