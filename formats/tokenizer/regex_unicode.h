// Makes a pattern independent of the Unicode version of the regular expression library: expands properties, \w, \d, \b
// and POSIX brackets to ranges of code points.
#ifndef INLAY_FORMATS_TOKENIZER_REGEX_UNICODE_H_
#define INLAY_FORMATS_TOKENIZER_REGEX_UNICODE_H_

#include "absl/status/statusor.h"

#include <string>
#include <string_view>

namespace inlay::tokenizer {

// Returns `pattern` (valid UTF-8, Oniguruma's Ruby syntax) with its sets expanded. Refuses constructs that cannot be
// expanded: \X and \y, control escapes (\cx), options other than i, m and x, callouts, and case-insensitive sets of one
// case. Syntax errors are left to the library. `key` is the location of the pattern, for error messages.
absl::StatusOr<std::string> WriteOutUnicodeSets(std::string_view pattern, std::string_view key);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_REGEX_UNICODE_H_
