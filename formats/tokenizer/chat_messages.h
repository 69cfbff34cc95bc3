// A conversation's messages as transformers' apply_chat_template prepares them for the template.
#ifndef INLAY_FORMATS_TOKENIZER_CHAT_MESSAGES_H_
#define INLAY_FORMATS_TOKENIZER_CHAT_MESSAGES_H_

#include <nlohmann/json.hpp>

#include <optional>
#include <string_view>

namespace inlay::tokenizer {

// The first integer of valid JSON that neither int64_t nor uint64_t holds: parsers make an inexact float of it.
std::optional<std::string_view> FindWideInteger(std::string_view json);

// Messages that are no objects stay as they are. In the others:
// - keys whose value is null are dropped (transformers 5, utils/chat_template_utils.py, _normalize_chat_messages);
// - reasoning under one of the names reasoning_content, thinking and reasoning is given under the first two
//   (the same file, _alias_reasoning_fields);
// - the role `developer` becomes `system` unless `knows_developer`: a template that does not know the role would refuse
//   it or leave the message out.
void NormalizeMessages(nlohmann::ordered_json &messages, bool knows_developer);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_CHAT_MESSAGES_H_
