// Parses tokenizer.json into the parts of a tokenizer. Unknown keys and values are refused; the error has the key. The
// file is untrusted.
#ifndef INLAY_FORMATS_TOKENIZER_TOKENIZER_JSON_H_
#define INLAY_FORMATS_TOKENIZER_TOKENIZER_JSON_H_

#include "formats/tokenizer/bpe.h"
#include "formats/tokenizer/pipeline.h"
#include "formats/tokenizer/tokenizer.h"
#include "formats/tokenizer/unigram.h"

#include "absl/status/statusor.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace inlay::tokenizer {

struct TokenizerDefinition {
  std::vector<AddedToken> added_tokens;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  TokenIds vocabulary;
  std::variant<BpeDefinition, UnigramDefinition> model;
  std::vector<Template> post_processor;
  Decoder decoder;
  std::vector<std::string> notes;
};
absl::StatusOr<TokenizerDefinition> ParseTokenizerJson(std::string_view json);

// Parses a JSON object of limited depth. `order`, if not null, receives its keys in the order of the text.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view file,
                                               std::vector<std::string> *order);

// The text of `file` in `directory`. NotFound if it does not exist.
absl::StatusOr<std::string> ReadTextFile(const std::string &directory, const std::string &file);

// The error message for a directory without tokenizer.json: lists the other tokenizer files that exist and the fix.
std::string ExplainMissingTokenizer(const std::string &directory);

// Whether the nesting of arrays and objects is within the limit. Untrusted JSON must be checked before it is parsed.
bool IsShallowJson(std::string_view json);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TOKENIZER_JSON_H_
