// The model of a tokenizer: words to token ids. What all models share is here: the vocabulary, byte tokens and a cache.
#ifndef INLAY_FORMATS_TOKENIZER_TOKEN_MODEL_H_
#define INLAY_FORMATS_TOKENIZER_TOKEN_MODEL_H_

#include "absl/container/flat_hash_map.h"

#include <array>
#include <cstdint>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::tokenizer {

// Tokens with their ids.
using TokenIds = std::vector<std::pair<std::string, int32_t>>;

// Immutable apart from its cache; may be called from several threads.
class TokenModel {
public:
  virtual ~TokenModel() = default;

  // Appends the ids of a pre-token, which is valid UTF-8.
  void Encode(std::string_view word, std::vector<int32_t> &ids) const;

  int32_t Find(std::string_view token) const; // -1 if there is no such token

protected:
  explicit TokenModel(const TokenIds &vocabulary);

  virtual void EncodeWord(std::string_view word, std::vector<int32_t> &ids) const = 0;
  // Appends the tokens "<0x00>" ... "<0xFF>" of the bytes of `text`. False, with nothing appended, if one is missing.
  bool AppendBytes(std::string_view text, std::vector<int32_t> &ids) const;

private:
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::array<int32_t, 256> byte_ids_; // -1 where missing
  mutable std::shared_mutex cache_mutex_;
  mutable absl::flat_hash_map<std::string, std::vector<int32_t>> cache_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TOKEN_MODEL_H_
