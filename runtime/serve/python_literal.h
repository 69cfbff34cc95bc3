// Python's literals as JSON: strings, numbers, True, False, None, lists and dictionaries. JSON's true, false and null
// are taken too, because models mix them up.
#ifndef INLAY_RUNTIME_SERVE_PYTHON_LITERAL_H_
#define INLAY_RUNTIME_SERVE_PYTHON_LITERAL_H_

#include <string>
#include <string_view>

namespace inlay::serve {

// A JSON string with its quotes.
std::string JsonStringOf(std::string_view text);

// The JSON of a literal, with ", " and ": " as Python's json.dumps writes them. False if `python` is none or is nested
// deeper than 32; `json` is then undefined.
bool PythonLiteralToJson(std::string_view python, std::string &json);

// Collects one literal byte by byte, up to the ',' or ')' that ends it.
class PythonLiteral {
public:
  // False if `c` comes after the literal and was not taken.
  bool Take(char c);
  // A bracket that closes none.
  bool is_bad() const { return is_bad_; }
  bool ToJson(std::string &json) const { return PythonLiteralToJson(text_, json); }

private:
  std::string text_;
  std::string nesting_; // the open brackets
  std::string quote_;   // what ends the string: ', ", ''' or """
  size_t string_begin_ = 0;
  bool in_string_ = false, is_escaped_ = false, is_bad_ = false;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_PYTHON_LITERAL_H_
