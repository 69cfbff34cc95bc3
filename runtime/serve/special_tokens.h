// Finds the bytes of an answer that belong to special tokens.
#ifndef INLAY_RUNTIME_SERVE_SPECIAL_TOKENS_H_
#define INLAY_RUNTIME_SERVE_SPECIAL_TOKENS_H_

#include "formats/tokenizer/tokenizer.h"
#include "runtime/serve/generated_text.h"

#include <string>
#include <string_view>

namespace inlay::serve {

// The engine gives tokens and text; text may come later than its token, where it may be the beginning of a stop string.
// `tokenizer` must outlive it.
class SpecialTokenMarker {
public:
  explicit SpecialTokenMarker(const tokenizer::Tokenizer &tokenizer)
      : tokenizer_(tokenizer), stream_(tokenizer, /*skip_special_tokens=*/false) {}

  // `text`: what the engine gave with the token `id`, special tokens included.
  GeneratedText Push(int32_t id, std::string_view text);

private:
  const tokenizer::Tokenizer &tokenizer_;
  tokenizer::DetokenizeStream stream_;
  GeneratedText ahead_; // the text of the tokens that were pushed, as far as the engine has not given it
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SPECIAL_TOKENS_H_
