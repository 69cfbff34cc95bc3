#include "runtime/serve/special_tokens.h"

#include <algorithm>

namespace inlay::serve {

GeneratedText SpecialTokenMarker::Push(int32_t id, std::string_view text) {
  if (absl::StatusOr<std::string> added = stream_.Push(id); added.ok()) {
    size_t special = 0;
    if (tokenizer_.IsSpecial(id))
      special = std::min(tokenizer_.IdToToken(id).value_or("").size(), added->size());
    ahead_.Append(std::string_view(*added).substr(0, added->size() - special), /*is_special=*/false);
    ahead_.Append(std::string_view(*added).substr(added->size() - special), /*is_special=*/true);
  }
  size_t known = std::min(text.size(), ahead_.size());
  GeneratedText marked;
  marked.Append(ahead_, 0, known);
  ahead_.DropFront(known);
  // The rest is text that detokenization has not produced, for example an incomplete character at the end.
  marked.Append(text.substr(known), /*is_special=*/false);
  return marked;
}

} // namespace inlay::serve
