#include "formats/tokenizer/bpe.h"

#include "formats/tokenizer/unicode.h"

#include <algorithm>
#include <queue>
#include <utility>

namespace inlay::tokenizer {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// A token of the word, in a linked list.
struct Symbol {
  int32_t id;
  int32_t previous, next; // -1 at the ends
  bool alive = true;
};

// Two neighbours that a merge can join. The entry is stale if one of their ids has changed.
struct Candidate {
  int32_t rank, left, merged_id, left_id, right_id;
  // The queue's top is the lowest rank, then the leftmost.
  bool operator<(const Candidate &other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
};

} // namespace

Bpe::Bpe(const TokenIds &vocabulary, BpeDefinition definition)
    : TokenModel(vocabulary), definition_(std::move(definition)) {
  merges_.reserve(definition_.merges.size());
  for (size_t rank = 0; rank < definition_.merges.size(); ++rank) {
    const BpeDefinition::Merge &merge = definition_.merges[rank];
    merges_[PairKey(merge.left, merge.right)] = {static_cast<int32_t>(rank), merge.merged};
  }
  definition_.merges.clear();
}

void Bpe::EncodeWord(std::string_view word, std::vector<int32_t> &ids) const {
  if (definition_.ignore_merges) {
    if (int32_t id = Find(word); id >= 0) {
      ids.push_back(id);
      return;
    }
  }

  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  auto add = [&](int32_t id) {
    int32_t at = static_cast<int32_t>(symbols.size());
    if (at > 0)
      symbols.back().next = at;
    symbols.push_back({id, at - 1, -1});
  };
  // The unknown token is added only when the next known character is found, because consecutive unknown characters may
  // be fused. As in the `tokenizers` library, characters that fall back to bytes do not end such a run.
  bool unknown = false;
  std::string spelled;
  std::vector<int32_t> bytes;
  for (size_t at = 0; at < word.size();) {
    size_t length = ReadUtf8(word.substr(at)).length;
    std::string_view character = word.substr(at, length);
    std::string_view token = character;
    bool first = at == 0, last = at + length == word.size();
    at += length;
    if ((!first && !definition_.continuing_subword_prefix.empty()) ||
        (last && !definition_.end_of_word_suffix.empty())) {
      spelled = first ? "" : definition_.continuing_subword_prefix;
      spelled += character;
      if (last)
        spelled += definition_.end_of_word_suffix;
      token = spelled;
    }
    if (int32_t id = Find(token); id >= 0) {
      if (std::exchange(unknown, false))
        add(definition_.unk_id);
      add(id);
      continue;
    }
    if (definition_.byte_fallback && AppendBytes(token, bytes)) {
      for (int32_t id : bytes)
        add(id);
      bytes.clear();
      continue;
    }
    if (definition_.unk_id < 0)
      continue;
    if (unknown && !definition_.fuse_unk)
      add(definition_.unk_id);
    unknown = true;
  }
  if (unknown)
    add(definition_.unk_id);

  std::vector<Candidate> storage;
  storage.reserve(symbols.size());
  std::priority_queue<Candidate> queue({}, std::move(storage));
  auto consider = [&](int32_t left) {
    if (left < 0 || symbols[left].next < 0)
      return;
    int32_t left_id = symbols[left].id, right_id = symbols[symbols[left].next].id;
    if (auto it = merges_.find(PairKey(left_id, right_id)); it != merges_.end())
      queue.push({it->second.rank, left, it->second.id, left_id, right_id});
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    consider(static_cast<int32_t>(i));
  while (!queue.empty()) {
    Candidate top = queue.top();
    queue.pop();
    Symbol &left = symbols[top.left];
    if (!left.alive || left.id != top.left_id || left.next < 0 || symbols[left.next].id != top.right_id)
      continue; // stale: one of the two was merged
    Symbol &right = symbols[left.next];
    right.alive = false;
    left.id = top.merged_id;
    left.next = right.next;
    if (right.next >= 0)
      symbols[right.next].previous = top.left;
    consider(left.previous);
    consider(top.left);
  }
  for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next)
    ids.push_back(symbols[i].id);
}

} // namespace inlay::tokenizer
