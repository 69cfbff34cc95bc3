// Arbitrary tokenizer_config.json, special_tokens_map.json and added_tokens.json: they are read or refused, and encoded
// text can be decoded.
#include "formats/tokenizer/tokenizer.h"

#include <cstdint>

using namespace inlay::tokenizer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string text(reinterpret_cast<const char *>(data), size);
  for (int file = 0; file < 3; ++file) {
    TokenizerFiles files;
    files.tokenizer_json = R"({"added_tokens": [{"id": 3, "content": "<s>", "special": true}],
                               "model": {"type": "BPE", "vocab": {"a": 0, "<": 1, "s": 2}, "merges": []}})";
    (file == 0 ? files.tokenizer_config : file == 1 ? files.special_tokens_map : files.added_tokens) = text;
    auto tokenizer = Tokenizer::FromFiles(files);
    if (!tokenizer.ok())
      continue;
    auto ids = (*tokenizer)->Encode("a<s> <a> a");
    if (ids.ok())
      (void)(*tokenizer)->Decode(*ids);
  }
  return 0;
}
