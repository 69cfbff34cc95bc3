// Arbitrary bytes: they are encoded and decoded again. The pieces of DetokenizeStream are UTF-8, and joined they equal
// the decoded text.
#include "formats/tokenizer/tokenizer.h"
#include "formats/tokenizer/unicode.h"

#include <cstdint>
#include <cstdlib>

using namespace inlay::tokenizer;

static const Tokenizer &Loaded(const char *family) {
  auto tokenizer = Tokenizer::Load(std::string(INLAY_TOKENIZER_FIXTURES "/") + family);
  if (!tokenizer.ok())
    abort();
  return *tokenizer->release();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Tokenizer *const kTokenizers[] = {&Loaded("llama3"),  &Loaded("qwen2"),        &Loaded("gpt2"),
                                                 &Loaded("llama2"),  &Loaded("mistral"),      &Loaded("metaspace"),
                                                 &Loaded("unigram"), &Loaded("unigram_bytes")};
  std::string_view text(reinterpret_cast<const char *>(data), size);
  for (const Tokenizer *tokenizer : kTokenizers) {
    auto ids = tokenizer->Encode(text);
    if (!ids.ok())
      continue;
    std::string whole = tokenizer->Decode(*ids).value(), joined;
    DetokenizeStream stream(*tokenizer);
    for (int32_t id : *ids) {
      std::string piece = stream.Push(id).value();
      if (!IsValidUtf8(piece))
        abort();
      joined += piece;
    }
    joined += stream.Flush().value();
    if (joined != whole && joined.find("\xEF\xBF\xBD") == joined.npos)
      abort();
  }
  return 0;
}
