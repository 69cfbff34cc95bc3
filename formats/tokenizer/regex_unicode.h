// Makes a pattern independent of the Unicode version of the regular expression library that runs it: properties, \w,
// \d,
// \b and POSIX brackets are written out as ranges of code points.
#ifndef INLAY_FORMATS_TOKENIZER_REGEX_UNICODE_H_
#define INLAY_FORMATS_TOKENIZER_REGEX_UNICODE_H_

#include "absl/status/statusor.h"

#include <string>
#include <string_view>

namespace inlay::tokenizer {

// `pattern` (valid UTF-8, Oniguruma's Ruby syntax) with its sets written out. What cannot be written out is refused: \X
// and
// \y, control escapes (\cx), options other than i, m and x, callouts, and case-insensitive sets of one case. A pattern
// with a syntax error may come out unchanged, for the library to report. `key` is where the pattern stands, for errors.
absl::StatusOr<std::string> WriteOutUnicodeSets(std::string_view pattern, std::string_view key);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_REGEX_UNICODE_H_
