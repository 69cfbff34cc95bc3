// Byte-pair encoding (Sennrich et al. 2016), the model of a tokenizer. A word is split into characters. Then the pair
// of neighbours with the lowest merge rank is joined, until no merge applies.
#ifndef INLAY_FORMATS_TOKENIZER_BPE_H_
#define INLAY_FORMATS_TOKENIZER_BPE_H_

#include "absl/container/flat_hash_map.h"

#include <array>
#include <cstdint>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

// The validated `model` of tokenizer.json. Merges contain ids of `vocab`.
struct BpeDefinition {
  struct Merge {
    int32_t left, right, merged;
  };
  std::vector<std::pair<std::string, int32_t>> vocab;
  std::vector<Merge> merges; // by rank
  int32_t unk_id = -1;       // the unknown token; -1: unknown characters are dropped
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false; // a word in the vocabulary is encoded as one token
};

class Bpe {
public:
  explicit Bpe(BpeDefinition definition);

  // Appends the ids of a pre-token.
  void Encode(std::string_view word, std::vector<int32_t> &ids) const;

  int32_t Find(std::string_view token) const; // the id of a token, -1 if it is not in the vocabulary

private:
  struct Merged {
    int32_t rank, id;
  };
  void EncodeUncached(std::string_view word, std::vector<int32_t> &ids) const;

  BpeDefinition definition_;
  absl::flat_hash_map<std::string, int32_t> ids_;
  absl::flat_hash_map<uint64_t, Merged> merges_;
  std::array<int32_t, 256> byte_ids_; // of "<0x00>" ... "<0xFF>", -1 where missing
  mutable std::shared_mutex cache_mutex_;
  mutable absl::flat_hash_map<std::string, std::vector<int32_t>> cache_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_BPE_H_
