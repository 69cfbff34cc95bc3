// The maximum length of a text before it is tokenized, because tokenizing takes time for each byte. A longer text
// cannot fit into the context with any tokens. vLLM limits characters in the same way.
#ifndef INLAY_RUNTIME_SERVE_PROMPT_LIMIT_H_
#define INLAY_RUNTIME_SERVE_PROMPT_LIMIT_H_

#include "formats/tokenizer/tokenizer.h"
#include "runtime/serve/api_error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace inlay::serve {

class PromptLimit {
public:
  PromptLimit() = default; // no limit
  // The longest token's bytes for each token of `max_model_len`.
  PromptLimit(const tokenizer::Tokenizer &tokenizer, int64_t max_model_len);

  int64_t bytes() const { return bytes_; }
  // The refusal of a text that cannot fit; `param` is the field that it came from.
  std::optional<ApiError> Check(std::string_view text, std::string param) const;

private:
  int64_t max_model_len_ = 0, bytes_ = INT64_MAX;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_PROMPT_LIMIT_H_
