// Adds tokens to those of tokenizer.json, with the same ids as the `tokenizers` library.
#ifndef INLAY_FORMATS_TOKENIZER_ADDED_TOKENS_H_
#define INLAY_FORMATS_TOKENIZER_ADDED_TOKENS_H_

#include "formats/tokenizer/tokenizer_config.h"
#include "formats/tokenizer/tokenizer_json.h"

#include "absl/status/status.h"

#include <string>
#include <vector>

namespace inlay::tokenizer {

// A token that is in the vocabulary or was added before keeps its id and gets the flags of the last addition, but a
// special token stays special. Other tokens get the next free id. New tokens, and ids that differ from those in the
// files, are reported in `notes`.
absl::Status AddTokens(const std::vector<TokenizerConfig::Addition> &additions, TokenizerDefinition &definition,
                       std::vector<std::string> &notes);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_ADDED_TOKENS_H_
