// Finds the bytes of an answer that belong to special tokens.
#ifndef INLAY_RUNTIME_SERVE_SPECIAL_TOKENS_H_
#define INLAY_RUNTIME_SERVE_SPECIAL_TOKENS_H_

#include "formats/tokenizer/tokenizer.h"
#include "runtime/serve/generated_text.h"

#include <string>
#include <string_view>

namespace inlay::serve {

// Marks the bytes of special tokens in the engine's output. The engine may return text later than its token, because
// the text may be the beginning of a stop string. `tokenizer` must outlive the marker.
class SpecialTokenMarker {
public:
  explicit SpecialTokenMarker(const tokenizer::Tokenizer &tokenizer)
      : tokenizer_(tokenizer), stream_(tokenizer, /*skip_special_tokens=*/false) {}

  // `text` is the text that the engine returned with the token `id`, including special tokens.
  GeneratedText Push(int32_t id, std::string_view text);

private:
  const tokenizer::Tokenizer &tokenizer_;
  tokenizer::DetokenizeStream stream_;
  GeneratedText ahead_; // text of pushed tokens that the engine has not returned yet
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SPECIAL_TOKENS_H_
