// Arbitrary bytes as a character map of SentencePiece, followed by a text: the map is refused, or it is applied to the
// text and the result is UTF-8 or an error.
#include "formats/tokenizer/character_map.h"
#include "formats/tokenizer/unicode.h"

#include <cstdint>
#include <cstdlib>

using namespace inlay::tokenizer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  constexpr size_t kMostText = 16;
  std::string_view bytes(reinterpret_cast<const char *>(data), size);
  size_t tail = size < kMostText ? size : kMostText;
  auto map = CharacterMap::Parse(bytes.substr(0, size - tail));
  if (!map.ok())
    return 0;
  auto replaced = map->Apply(ReplaceInvalidUtf8(bytes.substr(size - tail)));
  if (replaced.ok() && !IsValidUtf8(*replaced))
    abort();
  return 0;
}
