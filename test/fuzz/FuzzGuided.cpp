// Arbitrary regular expressions, grammars and schemas: each is compiled or refused, and the matcher accepts every token
// that a token mask allows. The first byte of the input selects the kind.
#include "runtime/guided/guided.h"

#include <cstdint>
#include <cstdlib>

using namespace inlay::guided;

static std::shared_ptr<const Vocabulary> MakeVocabulary() {
  std::vector<std::string> tokens{""};
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back(std::string(1, static_cast<char>(byte)));
  return *Vocabulary::Create(std::move(tokens), {0}, 257);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::shared_ptr<const Vocabulary> vocabulary = MakeVocabulary();
  if (size == 0)
    return 0;
  Limits limits;
  limits.max_source_bytes = 4096;
  limits.max_states = 20'000;
  limits.max_configurations = 256;
  limits.max_cache_bytes = 1 << 20;
  std::string_view source(reinterpret_cast<const char *>(data) + 1, size - 1);
  auto grammar = data[0] == 'r'   ? Grammar::FromRegex(source, vocabulary, limits)
                 : data[0] == 'e' ? Grammar::FromEbnf(source, vocabulary, limits)
                                  : Grammar::FromJsonSchema(source, vocabulary, limits);
  if (!grammar.ok())
    return 0;
  auto matcher = Matcher::Create(*grammar);
  if (!matcher.ok())
    return 0;
  std::vector<uint32_t> mask(vocabulary->mask_words());
  uint32_t random = 1;
  for (int step = 0; step < 32 && !matcher->ended(); ++step) {
    if (!matcher->FillMask(mask).ok())
      return 0;
    random = random * 1664525 + 1013904223;
    int32_t token = static_cast<int32_t>((random >> 8) % 257);
    while ((mask[token / 32] >> (token % 32) & 1) == 0)
      token = (token + 1) % 257;
    auto accepted = matcher->Accept(token);
    if (accepted.ok() && !*accepted)
      std::abort();
  }
  return 0;
}
