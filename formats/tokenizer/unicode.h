// UTF-8 functions of the tokenizer: reading characters and replacing invalid bytes.
#ifndef INLAY_FORMATS_TOKENIZER_UNICODE_H_
#define INLAY_FORMATS_TOKENIZER_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace inlay::tokenizer {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD"; // U+FFFD

// The beginning of a text: a character, or the longest prefix of one (Unicode 15, 3.9, "maximal subpart").
struct Utf8Prefix {
  uint32_t code_point = 0;
  size_t length = 0;
  bool valid = false;
  bool incomplete = false; // may become a character with more bytes
};
Utf8Prefix ReadUtf8(std::string_view text);
Utf8Prefix LastCharacter(std::string_view text); // `text` must be valid UTF-8 and not empty

// Replaces each maximal subpart that is not a character with one U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

// The number of bytes at the end that may be the beginning of a character.
size_t IncompleteSuffix(std::string_view text);

bool IsValidUtf8(std::string_view text);
void AppendUtf8(uint32_t code_point, std::string &out);

bool IsWhiteSpace(uint32_t code_point); // the property White_Space

// Formats text of a file for error messages: in single quotes, truncated, with control characters escaped.
std::string Quoted(std::string_view text);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_UNICODE_H_
