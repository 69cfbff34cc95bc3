// Reads tokenizer.json and tokenizer_config.json into the parts of a tokenizer;
// whatever is not understood is refused by its key. Both come from strangers.
#ifndef INLAY_FRONTENDS_TOKENIZER_TOKENIZER_JSON_H_
#define INLAY_FRONTENDS_TOKENIZER_TOKENIZER_JSON_H_

#include "frontends/tokenizer/bpe.h"
#include "frontends/tokenizer/pipeline.h"
#include "frontends/tokenizer/tokenizer.h"

#include "absl/status/statusor.h"

#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

struct TokenizerDefinition {
  std::vector<AddedToken> added_tokens;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  BpeDefinition model;
  std::vector<Template> post_processor;
  Decoder decoder;
};
absl::StatusOr<TokenizerDefinition> ParseTokenizerJson(std::string_view json);

// The tokens that tokenizer_config.json names, empty where it names none.
struct NamedTokens {
  std::string bos, eos, unk, pad;
};
absl::StatusOr<NamedTokens> ParseTokenizerConfig(std::string_view json);

// `file` of `directory`; NotFound if it isn't there.
absl::StatusOr<std::string> ReadTextFile(const std::string &directory, const std::string &file);

// Whether arrays and objects nest no deeper than a tokenizer's do: JSON from strangers is checked before it is parsed.
bool IsShallowJson(std::string_view json);

} // namespace inlay::tokenizer

#endif // INLAY_FRONTENDS_TOKENIZER_TOKENIZER_JSON_H_
