// The tokens of a model as bytes in a prefix tree, so that tokens with a common prefix are checked together.
#ifndef INLAY_RUNTIME_GUIDED_VOCABULARY_H_
#define INLAY_RUNTIME_GUIDED_VOCABULARY_H_

#include "absl/status/statusor.h"
#include "formats/tokenizer/tokenizer.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace inlay::guided {

// Immutable. All grammars of a model share one vocabulary.
class Vocabulary {
public:
  // `tokens`: the bytes of each token id. Special tokens have no bytes and are never allowed. `end_ids`: the tokens
  // that end a text. `size`: the number of logits, at least tokens.size().
  static absl::StatusOr<std::shared_ptr<const Vocabulary>> Create(std::vector<std::string> tokens,
                                                                  std::vector<int32_t> end_ids, int32_t size);
  static absl::StatusOr<std::shared_ptr<const Vocabulary>> FromTokenizer(const tokenizer::Tokenizer &tokenizer,
                                                                         std::vector<int32_t> end_ids, int32_t size);

  int32_t size() const { return size_; }
  // The number of 32-bit words of a mask. Bit i % 32 of word i / 32 is token i.
  size_t mask_words() const { return (static_cast<size_t>(size_) + 31) / 32; }
  const std::vector<int32_t> &end_ids() const { return end_ids_; }
  bool IsEnd(int32_t id) const;
  const std::string &bytes(int32_t id) const { return tokens_[id]; }
  int32_t max_token_bytes() const { return max_token_bytes_; }

  // Tokens that contain a comma or a closing bracket, so that they may end an item of a list.
  const std::vector<int32_t> &item_ends() const { return item_ends_; }

  // The prefix tree in preorder, without its root.
  struct Node {
    int32_t skip;        // index of the first node after this subtree
    int32_t first_token; // index in ordered_ids(); the tokens of this node end at the next node's first_token
    uint16_t depth;      // depth of its parent; the root has depth 0
    uint8_t byte;
  };
  // Ends with a sentinel, so that each node has a next one.
  const std::vector<Node> &nodes() const { return nodes_; }
  const std::vector<int32_t> &ordered_ids() const { return ordered_ids_; }

private:
  Vocabulary() = default;

  int32_t size_ = 0, max_token_bytes_ = 0;
  std::vector<std::string> tokens_;
  std::vector<int32_t> end_ids_;
  std::vector<int32_t> ordered_ids_;
  std::vector<int32_t> item_ends_;
  std::vector<Node> nodes_;
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_VOCABULARY_H_
