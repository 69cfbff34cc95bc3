// Splits the source of a template into tokens, with jinja2's rules for white space.
#ifndef INLAY_FORMATS_TOKENIZER_TEMPLATE_LEXER_H_
#define INLAY_FORMATS_TOKENIZER_TEMPLATE_LEXER_H_

#include "absl/status/statusor.h"

#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

struct Token {
  enum class Kind { kText, kOutputBegin, kOutputEnd, kBlockBegin, kBlockEnd, kName, kInt, kFloat, kString, kOperator };
  Kind kind;
  int line;
  std::string text; // kString: its value; kInt and kFloat: without underscores
};

// `file` is the name for error messages.
absl::StatusOr<std::vector<Token>> LexTemplate(std::string_view source, std::string_view file);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TEMPLATE_LEXER_H_
