// Parses regular expressions in the common syntax of Python and JavaScript. The whole text must match. Supported:
// characters, `.`, classes, groups, alternatives, quantifiers (lazy ones are treated as greedy ones), \d \w \s (ASCII)
// and their complements, \xHH, \uHHHH. `^` is allowed at the beginning and `$` at the end. Look-around,
// back-references, \b and \p are refused; the error names them.
#ifndef INLAY_RUNTIME_GUIDED_REGEX_H_
#define INLAY_RUNTIME_GUIDED_REGEX_H_

#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"

#include <functional>
#include <string_view>

namespace inlay::guided {

struct ParsedRegex {
  ExpressionId body = 0;
  bool has_begin = false, has_end = false; // the expression has ^ and $
};

enum class RegexSyntax {
  kPython, // \d \w \s are ASCII
  // ECMA-262, which JSON Schema uses. Validators differ in \d \w \s and `.` outside of ASCII, so a class has only the
  // characters that all of them accept.
  kEcma,
};

struct RegexOptions {
  RegexSyntax syntax = RegexSyntax::kPython;
  bool is_negated = false; // kEcma: the text must not match, so a class has all characters that any validator accepts
  // ^ and $ are allowed anywhere and match the bytes kTextBegin and kTextEnd. Otherwise they are allowed only at the
  // beginning and end of the expression.
  bool anchors_are_bytes = false;
};

// `characters` makes the expression for one character of a set. (In JSON, some characters are escaped.)
absl::StatusOr<ParsedRegex> ParseRegex(std::string_view regex, const Limits &limits, Rules &rules,
                                       const std::function<ExpressionId(const CodePointSet &)> &characters,
                                       const RegexOptions &options = {});

// A grammar whose root is the regular expression.
absl::StatusOr<Rules> ParseRegexRules(std::string_view regex, const Limits &limits);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_REGEX_H_
