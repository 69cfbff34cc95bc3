// Renders the syntax tree of a chat template within limits.
#ifndef INLAY_FORMATS_TOKENIZER_TEMPLATE_EVAL_H_
#define INLAY_FORMATS_TOKENIZER_TEMPLATE_EVAL_H_

#include "formats/tokenizer/chat_template.h"
#include "formats/tokenizer/template_ast.h"
#include "formats/tokenizer/template_value.h"

#include "absl/status/statusor.h"

#include <string>
#include <string_view>

namespace inlay::tokenizer {

// `globals` are the initial variables of the template. `arena` owns their values.
absl::StatusOr<std::string> EvaluateTemplate(const Block &block, std::string_view file, Scope globals, Arena &arena,
                                             const TemplateLimits &limits);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TEMPLATE_EVAL_H_
