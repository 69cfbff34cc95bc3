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

// Immutable; one for all grammars of a model.
class Vocabulary {
public:
  // `tokens`: the bytes of each id; those of special tokens are empty, and these are never allowed. `end_ids` are what
  // may end a text. `size`: of the logits, at least that of `tokens`.
  static absl::StatusOr<std::shared_ptr<const Vocabulary>> Create(std::vector<std::string> tokens,
                                                                  std::vector<int32_t> end_ids, int32_t size);
  static absl::StatusOr<std::shared_ptr<const Vocabulary>> FromTokenizer(const tokenizer::Tokenizer &tokenizer,
                                                                         std::vector<int32_t> end_ids, int32_t size);

  int32_t size() const { return size_; }
  // Words of a mask: bit i % 32 of word i / 32 is token i.
  size_t mask_words() const { return (static_cast<size_t>(size_) + 31) / 32; }
  const std::vector<int32_t> &end_ids() const { return end_ids_; }
  bool IsEnd(int32_t id) const;
  const std::string &bytes(int32_t id) const { return tokens_[id]; }
  int32_t max_token_bytes() const { return max_token_bytes_; }

  // Tokens with a comma or a closing bracket: they may end an item of a list.
  const std::vector<int32_t> &item_ends() const { return item_ends_; }

  // The tree without its root, a node before what is below it.
  struct Node {
    int32_t skip;        // the first node that is not below
    int32_t first_token; // in ordered_ids(); the tokens that end here go up to the next node's
    uint16_t depth;      // of its parent; the root's is 0
    uint8_t byte;
  };
  // One more than there are, so that each has a next.
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
