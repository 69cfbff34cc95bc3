// Reads the other tokenizer files: tokenizer_config.json, special_tokens_map.json and added_tokens.json, in the same
// way as PreTrainedTokenizerFast.from_pretrained of transformers 5. Each key is used, refused, or reported as ignored
// in a note with the reason.
#ifndef INLAY_FORMATS_TOKENIZER_TOKENIZER_CONFIG_H_
#define INLAY_FORMATS_TOKENIZER_TOKENIZER_CONFIG_H_

#include "formats/tokenizer/tokenizer.h"

#include "absl/status/statusor.h"

#include <string>
#include <utility>
#include <vector>

namespace inlay::tokenizer {

struct TokenizerConfig {
  // (name, content): bos_token, eos_token, ... and model-specific names such as image_token, in transformers' order.
  std::vector<std::pair<std::string, std::string>> special_tokens;
  // Tokens to add to those of tokenizer.json, in this order. The id is that of the file, or -1 if the file has none.
  struct Addition {
    AddedToken token;
    std::string key; // location of the token in the files
  };
  std::vector<Addition> additions;
  bool split_special_tokens = false; // special tokens in texts are not recognized
  bool cleans_up_spaces = false;     // clean_up_tokenization_spaces, which transformers ignores with BPE models
  std::vector<std::string> notes;
};

// `added`: the added tokens of tokenizer.json.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const TokenizerFiles &files, const std::vector<AddedToken> &added);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TOKENIZER_CONFIG_H_
