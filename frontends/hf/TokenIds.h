// Ids of special tokens, as config.json and generation_config.json write them.

#ifndef INLAY_FRONTENDS_HF_TOKEN_IDS_H
#define INLAY_FRONTENDS_HF_TOKEN_IDS_H

#include <cstdint>
#include <optional>
#include <vector>

#include "frontends/hf/ConfigReader.h"

namespace inlay::hf {

// `eos_token_id`: an id or a list of ids, each once. Absent where the key is missing or null. -1 stands for no token:
// in transformers no token equals it, and the text goes on to its greatest length. It is left out with a warning. Other
// ids that are not of the vocabulary are errors.
std::optional<std::vector<int64_t>> ReadEndTokens(ConfigReader &keys, int64_t vocab_size);

// `bos_token_id`. Only the tokenizer writes it into a prompt, so that an id outside of the vocabulary is a warning.
std::optional<int64_t> ReadBeginToken(ConfigReader &keys, int64_t vocab_size);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_TOKEN_IDS_H
