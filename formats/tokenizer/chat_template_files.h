// Finds the chat templates of a model directory, in the order in which transformers searches for them.
#ifndef INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_FILES_H_
#define INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_FILES_H_

#include "absl/status/statusor.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

struct ChatTemplateSource {
  std::string file; // with the key, if any: "tokenizer_config.json: chat_template"
  std::string text;
};

struct ChatTemplateFiles {
  std::map<std::string, ChatTemplateSource, std::less<>> by_name; // "default", "tool_use", ...; empty: no template
  std::vector<std::string> ignored;                               // "FILE: KEY: ignored: REASON"
};

// Uses the first of these sources that has a template, as in transformers 5 (tokenization_utils_base.py):
//   chat_template.jinja (named "default") with additional_chat_templates/NAME.jinja;
//   `chat_template` of tokenizer_config.json: one template, a list of {"name", "template"}, or an object of both;
//   `chat_template` of chat_template.json, which multimodal processors used to write (processing_utils.py).
// The other sources are listed as ignored. InvalidArgument if the used one is invalid.
absl::StatusOr<ChatTemplateFiles> FindChatTemplates(const std::string &directory);

// Parses the text of tokenizer_config.json or chat_template.json. `file` is the name for error messages.
absl::StatusOr<ChatTemplateFiles> ParseChatTemplates(std::string_view json, std::string_view file);

// The error message for a missing template `name`.
std::string MissingTemplate(const ChatTemplateFiles &files, std::string_view name);

// The existing files that FindChatTemplates may read, relative to the directory.
std::vector<std::string> ListChatTemplateFiles(const std::string &directory);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_FILES_H_
