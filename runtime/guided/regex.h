// Regular expressions in the syntax that Python and JavaScript share, for the whole of a text: characters, `.`,
// classes, groups, alternatives, quantifiers (lazy ones match the same), \d \w \s (ASCII) and their complements, \xHH,
// \uHHHH.
// `^` may begin and `$` end an expression. Look-around, back-references, \b and \p are refused by name.
#ifndef INLAY_RUNTIME_GUIDED_REGEX_H_
#define INLAY_RUNTIME_GUIDED_REGEX_H_

#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"

#include <functional>
#include <string_view>

namespace inlay::guided {

struct ParsedRegex {
  ExpressionId body = 0;
  bool has_begin = false, has_end = false; // ^ and $ were there
};

enum class RegexSyntax {
  kPython, // \d \w \s are those of ASCII
  // JSON Schema's: ECMA-262. Validators differ in \d \w \s and `.` beyond ASCII, so a set has the characters that all
  // of them take.
  kEcma,
};

struct RegexOptions {
  RegexSyntax syntax = RegexSyntax::kPython;
  bool is_negated = false; // kEcma: what does not match is asked for, so a set has what any validator takes
  // ^ and $ may stand anywhere and read the bytes kTextBegin and kTextEnd. Otherwise they only begin and end it.
  bool anchors_are_bytes = false;
};

// `characters` makes the expression for one character of a set: JSON writes some of them as escapes.
absl::StatusOr<ParsedRegex> ParseRegex(std::string_view regex, const Limits &limits, Rules &rules,
                                       const std::function<ExpressionId(const CodePointSet &)> &characters,
                                       const RegexOptions &options = {});

// As a grammar of its own.
absl::StatusOr<Rules> ParseRegexRules(std::string_view regex, const Limits &limits);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_REGEX_H_
