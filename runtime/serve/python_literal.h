// Converts Python literals to JSON: strings, numbers, True, False, None, lists and dictionaries. JSON's true, false and
// null are accepted too, because models mix the two notations.
#ifndef INLAY_RUNTIME_SERVE_PYTHON_LITERAL_H_
#define INLAY_RUNTIME_SERVE_PYTHON_LITERAL_H_

#include <string>
#include <string_view>

namespace inlay::serve {

// `text` as a JSON string literal with quotes.
std::string JsonStringOf(std::string_view text);

// Converts a literal to JSON, with the separators ", " and ": " of Python's json.dumps. Returns false if `python` is
// not a literal or is nested deeper than 32 levels; `json` is then unspecified.
bool PythonLiteralToJson(std::string_view python, std::string &json);

// Collects the bytes of one literal, up to the ',' or ')' after it.
class PythonLiteral {
public:
  // Returns false if `c` is the ',' or ')' after the literal; `c` is not taken then.
  bool Take(char c);
  // Whether a closing bracket has no matching opening bracket.
  bool is_bad() const { return is_bad_; }
  bool ToJson(std::string &json) const { return PythonLiteralToJson(text_, json); }

private:
  std::string text_;
  std::string nesting_; // the open brackets
  std::string quote_;   // closing quote of the current string: ', ", ''' or """
  size_t string_begin_ = 0;
  bool in_string_ = false, is_escaped_ = false, is_bad_ = false;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_PYTHON_LITERAL_H_
