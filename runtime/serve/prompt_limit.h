// Limits the length of a text before tokenization, whose time grows with the length. The limit is the context length
// times the length of the longest token, so a longer text cannot fit into the context. vLLM limits characters in the
// same way.
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
  // The limit is `max_model_len` times the size of the longest token in bytes.
  PromptLimit(const tokenizer::Tokenizer &tokenizer, int64_t max_model_len);

  int64_t bytes() const { return bytes_; }
  // Returns an error if `text` cannot fit into the context. `param` is the request field with the text.
  std::optional<ApiError> Check(std::string_view text, std::string param) const;

private:
  int64_t max_model_len_ = 0, bytes_ = INT64_MAX;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_PROMPT_LIMIT_H_
