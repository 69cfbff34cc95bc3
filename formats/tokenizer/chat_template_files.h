// Which chat templates a model directory has, found in the order in which transformers looks for them.
#ifndef INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_FILES_H_
#define INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_FILES_H_

#include "absl/status/statusor.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

struct ChatTemplateSource {
  std::string file; // with the key where it has one: "tokenizer_config.json: chat_template"
  std::string text;
};

struct ChatTemplateFiles {
  std::map<std::string, ChatTemplateSource, std::less<>> by_name; // "default", "tool_use", ...; empty: no template
  std::vector<std::string> ignored;                               // "FILE: KEY: ignored: REASON"
};

// The first of these that has a template, as in transformers 5 (tokenization_utils_base.py):
//   chat_template.jinja (named "default") with additional_chat_templates/NAME.jinja;
//   `chat_template` of tokenizer_config.json: one template, a list of {"name", "template"}, or an object of both;
//   `chat_template` of chat_template.json, which multimodal processors used to write (processing_utils.py).
// The others are listed as ignored. InvalidArgument if the one that is used cannot be read.
absl::StatusOr<ChatTemplateFiles> FindChatTemplates(const std::string &directory);

// tokenizer_config.json or chat_template.json alone, from its text; `file` is named in errors.
absl::StatusOr<ChatTemplateFiles> ParseChatTemplates(std::string_view json, std::string_view file);

// Why there is no template of this name; for an error.
std::string MissingTemplate(const ChatTemplateFiles &files, std::string_view name);

// The files that FindChatTemplates may read, relative to the directory: those that exist.
std::vector<std::string> ListChatTemplateFiles(const std::string &directory);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_FILES_H_
