// The files beside tokenizer.json that say something about tokens: tokenizer_config.json, special_tokens_map.json and
// added_tokens.json, read as PreTrainedTokenizerFast.from_pretrained of transformers 5 reads them. Each key is used,
// named in a note with the reason why it is ignored, or refused.
#ifndef INLAY_FORMATS_TOKENIZER_TOKENIZER_CONFIG_H_
#define INLAY_FORMATS_TOKENIZER_TOKENIZER_CONFIG_H_

#include "formats/tokenizer/tokenizer.h"

#include "absl/status/statusor.h"

#include <string>
#include <utility>
#include <vector>

namespace inlay::tokenizer {

struct TokenizerConfig {
  // (name, content): bos_token, eos_token, ... and a model's own such as image_token, in transformers' order.
  std::vector<std::pair<std::string, std::string>> special_tokens;
  // To be added to those of tokenizer.json, in this order. An id is what the file says, -1 if it says none.
  struct Addition {
    AddedToken token;
    std::string key; // where it stands
  };
  std::vector<Addition> additions;
  bool split_special_tokens = false; // special tokens are not looked for in texts
  std::vector<std::string> notes;
};

// `added`: the added tokens of tokenizer.json.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const TokenizerFiles &files, const std::vector<AddedToken> &added);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TOKENIZER_CONFIG_H_
