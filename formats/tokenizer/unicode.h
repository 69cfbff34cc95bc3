// UTF-8 as both directions of a tokenizer need it: reading characters, and
// replacing what is none.
#ifndef INLAY_FORMATS_TOKENIZER_UNICODE_H_
#define INLAY_FORMATS_TOKENIZER_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace inlay::tokenizer {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD"; // U+FFFD

// What stands at the front of a text: a character, or the longest prefix of one (Unicode 15, 3.9, "maximal subpart").
struct Utf8Prefix {
  uint32_t code_point = 0;
  size_t length = 0;
  bool valid = false;
  bool incomplete = false; // more bytes could make it a character
};
Utf8Prefix ReadUtf8(std::string_view text);
Utf8Prefix LastCharacter(std::string_view text); // of valid UTF-8 that is not empty

// Each maximal subpart that is no character becomes one U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

// How many bytes at the end could be the beginning of a character.
size_t IncompleteSuffix(std::string_view text);

bool IsValidUtf8(std::string_view text);
void AppendUtf8(uint32_t code_point, std::string &out);

bool IsWhiteSpace(uint32_t code_point); // the property White_Space

// In single quotes, cut short, control characters escaped: how errors show what a file holds.
std::string Quoted(std::string_view text);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_UNICODE_H_
