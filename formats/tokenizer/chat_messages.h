// Prepares the messages of a conversation for the template, as transformers' apply_chat_template does.
#ifndef INLAY_FORMATS_TOKENIZER_CHAT_MESSAGES_H_
#define INLAY_FORMATS_TOKENIZER_CHAT_MESSAGES_H_

#include <nlohmann/json.hpp>

#include <optional>
#include <string_view>

namespace inlay::tokenizer {

// The first integer of a valid JSON text that fits neither into int64_t nor into uint64_t. Parsers convert such
// integers to inexact floats.
std::optional<std::string_view> FindWideInteger(std::string_view json);

// Messages that are not objects are not changed. In the others:
// - keys whose value is null are dropped (transformers 5, utils/chat_template_utils.py, _normalize_chat_messages);
// - reasoning under one of the names reasoning_content, thinking and reasoning is stored under the first two
//   (the same file, _alias_reasoning_fields);
// - the role `developer` becomes `system` unless `knows_developer`: a template that does not know the role would refuse
// it or drop the message.
void NormalizeMessages(nlohmann::ordered_json &messages, bool knows_developer);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_CHAT_MESSAGES_H_
