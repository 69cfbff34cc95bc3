// The character map of SentencePiece (`precompiled_charsmap`), which tokenizers converted from SentencePiece models
// have as the normalizer Precompiled: a trie of strings that are replaced, and their replacements.
#ifndef INLAY_FORMATS_TOKENIZER_CHARACTER_MAP_H_
#define INLAY_FORMATS_TOKENIZER_CHARACTER_MAP_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

// The trie is a double array of darts-clone (Yata, https://github.com/s-yata/darts-clone). A unit of 32 bits holds
//   bits 0-7 and 31: the byte that leads to the node (bit 31 is set in units that hold a value instead);
//   bit 8: whether a string ends at the node, so that the child of byte 0 holds its value;
//   bits 10-30: the offset of the children, shifted by 8 more bits if bit 9 is set.
// The child of byte b is at (index of the node) ^ offset ^ b. A value is where a replacement begins in a text of
// replacements, each of which ends with a zero byte.
class CharacterMap {
public:
  // Reads the bytes of a character map: the size of the trie in bytes (32 bits, little-endian), the trie, the
  // replacements. Returns an error that says what was found and expected if they are not a character map.
  static absl::StatusOr<CharacterMap> Parse(std::string_view bytes);

  // Replaces each grapheme of `text`, which must be valid UTF-8, as the `tokenizers` library does: a grapheme of less
  // than 6 bytes by the replacement of its shortest prefix in the map; if there is none, each of its characters alone.
  // Graphemes are those of utf8proc's version of Unicode.
  // Returns an error if a lookup leaves the trie or the replacements.
  absl::StatusOr<std::string> Apply(std::string_view text) const;

private:
  // The replacement of the shortest prefix of `text`.
  absl::StatusOr<std::optional<std::string_view>> Find(std::string_view text) const;

  std::vector<uint32_t> trie_;
  std::string replacements_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_CHARACTER_MAP_H_
