// Python's string functions on UTF-8, used by the methods and filters of templates. Pure functions; the caller checks
// limits.
#ifndef INLAY_FORMATS_TOKENIZER_TEMPLATE_TEXT_H_
#define INLAY_FORMATS_TOKENIZER_TEMPLATE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

bool IsPythonSpace(uint32_t code_point); // str.isspace, and \s of re
bool IsCased(uint32_t code_point);       // category Lu, Ll or Lt
bool IsPrintable(uint32_t code_point);   // str.isprintable

std::vector<std::string_view> Characters(std::string_view text);
int64_t CountCharacters(std::string_view text);

// `chars`: the characters to strip; white space if not given.
std::string_view Stripped(std::string_view text, bool left, bool right,
                          std::optional<std::string_view> chars = std::nullopt);

// Full case mappings (ß becomes SS), as in str.upper.
std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Capitalized(std::string_view text);
std::string SwappedCase(std::string_view text);
std::string
TitleByLetters(std::string_view text); // str.title: a letter that does not follow a letter becomes title case
std::string
TitleByWords(std::string_view text); // jinja2's filter: a letter after white space, -, (, {, [ or < becomes upper case

// str.splitlines: at every line boundary of Unicode.
std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);
// str.split and str.rsplit at white space, with at most `most` splits.
std::vector<std::string_view> SplitSpace(std::string_view text, uint64_t most, bool from_right);

std::string FloatText(double value);                       // repr
std::string StringRepr(std::string_view text, bool ascii); // repr, or ascii()
std::string JsonString(std::string_view text, bool ascii); // json.dumps; ascii: ensure_ascii
std::string EscapedHtml(std::string_view text);            // markupsafe.escape

// int(text, base) and float(text). nullopt if Python raises a ValueError. Sets `overflow` if an integer has more than
// 64 bits.
std::optional<int64_t> ParseInt(std::string_view text, int64_t base, bool &overflow);
std::optional<double> ParseFloat(std::string_view text);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TEMPLATE_TEXT_H_
