#include "runtime/serve/prompt_limit.h"

#include "fmt/format.h"

#include <algorithm>
#include <utility>

namespace inlay::serve {

PromptLimit::PromptLimit(const tokenizer::Tokenizer &tokenizer, int64_t max_model_len) : max_model_len_(max_model_len) {
  size_t longest = 1;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    longest = std::max(longest, tokenizer.TokenBytes(id).size());
  for (const tokenizer::AddedToken &token : tokenizer.added_tokens())
    longest = std::max(longest, token.content.size());
  bytes_ = max_model_len * static_cast<int64_t>(longest);
}

std::optional<ApiError> PromptLimit::Check(std::string_view text, std::string param) const {
  if (static_cast<int64_t>(text.size()) <= bytes_)
    return std::nullopt;
  return ApiError{.message = fmt::format("this model's maximum context length is {} tokens, which is at most {} bytes "
                                         "of text, but the prompt has {} bytes; shorten the prompt",
                                         max_model_len_, bytes_, text.size()),
                  .param = std::move(param),
                  .code = "context_length_exceeded"};
}

} // namespace inlay::serve
