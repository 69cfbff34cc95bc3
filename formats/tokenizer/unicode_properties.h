// What the `tokenizers` library knows about each code point. Its sources of Unicode data are of different versions, so
// the table (unicode_tables.inc) was made by asking the library about every code point:
// test/fixtures/make_unicode_tables.py.
#ifndef INLAY_FORMATS_TOKENIZER_UNICODE_PROPERTIES_H_
#define INLAY_FORMATS_TOKENIZER_UNICODE_PROPERTIES_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

struct CodePointRange {
  uint32_t first = 0, last = 0;
  bool operator==(const CodePointRange &) const = default;
};

// Ascending, neither overlapping nor adjacent.
using CodePointSet = std::vector<CodePointRange>;

bool IsNumeric(uint32_t code_point);              // what the pre-tokenizer Digits splits at
bool IsPunctuation(uint32_t code_point);          // what the pre-tokenizer Punctuation splits at
bool IsWordCharacter(uint32_t code_point);        // \w of the pre-tokenizer Whitespace and of single_word
bool IsUnknownToNormalizers(uint32_t code_point); // NFC and its like neither change, move nor compose it

// The lower case of a character, itself if it has none. U+0130, whose lower case is two characters, gives itself.
uint32_t LowerCase(uint32_t code_point);

// The set of the property that a pattern names as \p{name} or [[:name:]] (`posix`); none if the name is not known.
// Case, spaces, '-' and '_' do not matter, as in Oniguruma.
std::optional<CodePointSet> FindProperty(std::string_view name, bool posix = false);

// \w inside of brackets. Outside of them Oniguruma adds the six characters of Latin-1 that are numbers and no digits.
enum class WordPlace { kInBrackets, kOutside };
CodePointSet WordCharacters(WordPlace place);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_UNICODE_PROPERTIES_H_
