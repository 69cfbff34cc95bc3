// Regular expressions with the syntax of the `tokenizers` library (Oniguruma, Ruby syntax, Unicode 16) and limits on
// the cost of a match.
#ifndef INLAY_FORMATS_TOKENIZER_REGEX_H_
#define INLAY_FORMATS_TOKENIZER_REGEX_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

struct TextRange {
  size_t begin = 0;
  size_t end = 0;
};

class Regex {
public:
  // `key` is the location of the pattern, for error messages.
  static absl::StatusOr<Regex> Compile(std::string_view pattern, std::string key);

  // All non-overlapping matches from left to right. An empty match at the end of the previous match is skipped. `text`
  // must be valid UTF-8.
  absl::StatusOr<std::vector<TextRange>> FindAll(std::string_view text) const;

private:
  Regex(std::shared_ptr<void> compiled, std::string pattern, std::string key);
  std::shared_ptr<void> compiled_; // regex_t
  std::string pattern_;
  std::string key_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_REGEX_H_
