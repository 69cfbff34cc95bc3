// The unigram model of SentencePiece (Kudo, 2018): of all ways to divide a word into tokens, the one with the highest
// sum of scores, found as by Viterbi.
#ifndef INLAY_FORMATS_TOKENIZER_UNIGRAM_H_
#define INLAY_FORMATS_TOKENIZER_UNIGRAM_H_

#include "formats/tokenizer/token_model.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

// What tokenizer.json says about the model, checked.
struct UnigramDefinition {
  std::vector<double> scores; // by id: natural logarithms of probabilities
  int32_t unk_id = -1;        // for characters without a token
  bool byte_fallback = false; // unknown text becomes byte tokens, if there are all that it needs
};

class Unigram : public TokenModel {
public:
  // `vocabulary` holds the ids from 0 on, each once, and no token twice.
  Unigram(const TokenIds &vocabulary, UnigramDefinition definition);

protected:
  void EncodeWord(std::string_view word, std::vector<int32_t> &ids) const override;

private:
  // A node of the trie of all tokens. Its children are neighbours in `trie_`, sorted by `byte`.
  struct Node {
    uint32_t first_child = 0;
    uint16_t children = 0;
    uint8_t byte = 0;
    int32_t id = -1; // of the token that ends here
  };
  const Node *Child(const Node &node, uint8_t byte) const;

  UnigramDefinition definition_;
  double unknown_score_ = 0;
  std::vector<Node> trie_; // the root first
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_UNIGRAM_H_
