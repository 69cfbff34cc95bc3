// Reads tokenizer.json into the parts of a tokenizer; whatever is not understood
// is refused by its key. The file comes from strangers.
#ifndef INLAY_FORMATS_TOKENIZER_TOKENIZER_JSON_H_
#define INLAY_FORMATS_TOKENIZER_TOKENIZER_JSON_H_

#include "formats/tokenizer/bpe.h"
#include "formats/tokenizer/pipeline.h"
#include "formats/tokenizer/tokenizer.h"

#include "absl/status/statusor.h"

#include <nlohmann/json_fwd.hpp>

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
  std::vector<std::string> notes;
};
absl::StatusOr<TokenizerDefinition> ParseTokenizerJson(std::string_view json);

// An object that is not nested deep. `order`, if given, gets its keys in the order of the text.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view file,
                                               std::vector<std::string> *order);

// `file` of `directory`; NotFound if it isn't there.
absl::StatusOr<std::string> ReadTextFile(const std::string &directory, const std::string &file);

// Why there is no tokenizer in a directory without tokenizer.json, which files of one are there, and what to do.
std::string ExplainMissingTokenizer(const std::string &directory);

// Whether arrays and objects nest no deeper than a tokenizer's do: JSON from strangers is checked before it is parsed.
bool IsShallowJson(std::string_view json);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TOKENIZER_JSON_H_
