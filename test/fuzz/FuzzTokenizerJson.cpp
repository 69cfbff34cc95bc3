// Arbitrary bytes as a tokenizer.json: it is loaded or refused, and encoded text can be decoded.
#include "formats/tokenizer/tokenizer.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto tokenizer = inlay::tokenizer::Tokenizer::FromJson(std::string_view(reinterpret_cast<const char *>(data), size));
  if (!tokenizer.ok())
    return 0;
  auto ids = (*tokenizer)->Encode("Hello  w\xC3\xB6rld\n<s> 123");
  if (ids.ok())
    (void)(*tokenizer)->Decode(*ids);
  return 0;
}
