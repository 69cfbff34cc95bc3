// A regular expression as the `tokenizers` library reads it (Oniguruma, Ruby
// syntax, Unicode 16), with limits on what a match may cost.
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
  // `key` is where the pattern stands, for errors.
  static absl::StatusOr<Regex> Compile(std::string_view pattern, std::string key);

  // All matches that do not overlap, from left to right. An empty one counts unless it stands at the end of the match
  // before it. `text` must be valid UTF-8.
  absl::StatusOr<std::vector<TextRange>> FindAll(std::string_view text) const;

private:
  Regex(std::shared_ptr<void> compiled, std::string pattern, std::string key);
  std::shared_ptr<void> compiled_; // regex_t
  std::string pattern_;
  std::string key_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_REGEX_H_
