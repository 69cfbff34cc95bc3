// Byte-pair encoding (Sennrich et al. 2016), the model of a tokenizer. A word is split into characters. Then the pair
// of neighbours with the lowest merge rank is joined, until no merge applies.
#ifndef INLAY_FORMATS_TOKENIZER_BPE_H_
#define INLAY_FORMATS_TOKENIZER_BPE_H_

#include "formats/tokenizer/token_model.h"

#include "absl/container/flat_hash_map.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

// The validated `model` of tokenizer.json. Merges contain ids of `vocab`.
struct BpeDefinition {
  struct Merge {
    int32_t left, right, merged;
  };
  std::vector<Merge> merges; // by rank
  int32_t unk_id = -1;       // the unknown token; -1: unknown characters are dropped
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false; // a word in the vocabulary is encoded as one token
};

class Bpe : public TokenModel {
public:
  Bpe(const TokenIds &vocabulary, BpeDefinition definition);

protected:
  void EncodeWord(std::string_view word, std::vector<int32_t> &ids) const override;

private:
  struct Merged {
    int32_t rank, id;
  };

  BpeDefinition definition_;
  absl::flat_hash_map<uint64_t, Merged> merges_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_BPE_H_
