#include "formats/tokenizer/unigram.h"

#include "formats/tokenizer/unicode.h"

#include <algorithm>
#include <utility>

namespace inlay::tokenizer {
namespace {

// How much less likely than the least likely token an unknown character is (kUnkPenalty of SentencePiece).
constexpr double kUnknownPenalty = 10.0;

} // namespace

Unigram::Unigram(const TokenIds &vocabulary, UnigramDefinition definition)
    : TokenModel(vocabulary), definition_(std::move(definition)) {
  if (!definition_.scores.empty())
    unknown_score_ = *std::min_element(definition_.scores.begin(), definition_.scores.end()) - kUnknownPenalty;

  std::vector<std::pair<std::string_view, int32_t>> sorted(vocabulary.begin(), vocabulary.end());
  std::sort(sorted.begin(), sorted.end());
  // Breadth first, so that the children of a node are neighbours. The tokens below a node are neighbours in `sorted`.
  struct Range {
    size_t begin, end;
  };
  std::vector<Range> ranges{{0, sorted.size()}};
  trie_.emplace_back();
  size_t depth = 0;
  for (size_t node = 0, level_end = 1; node < trie_.size(); ++node) {
    if (node == level_end) {
      ++depth;
      level_end = trie_.size();
    }
    auto [at, end] = ranges[node];
    if (at < end && sorted[at].first.size() == depth)
      trie_[node].id = sorted[at++].second;
    trie_[node].first_child = static_cast<uint32_t>(trie_.size());
    while (at < end) {
      char byte = sorted[at].first[depth];
      size_t next = at;
      while (next < end && sorted[next].first[depth] == byte)
        ++next;
      trie_.push_back({.byte = static_cast<uint8_t>(byte)});
      ranges.push_back({at, next});
      ++trie_[node].children;
      at = next;
    }
  }
}

const Unigram::Node *Unigram::Child(const Node &node, uint8_t byte) const {
  const Node *begin = trie_.data() + node.first_child, *end = begin + node.children;
  const Node *found =
      std::lower_bound(begin, end, byte, [](const Node &one, uint8_t value) { return one.byte < value; });
  return found != end && found->byte == byte ? found : nullptr;
}

void Unigram::EncodeWord(std::string_view word, std::vector<int32_t> &ids) const {
  // The best division of the text up to a byte: its score and its last token.
  struct Best {
    double score = 0;
    size_t begin = std::string_view::npos; // of the last token
    int32_t id = -1;
  };
  std::vector<Best> best(word.size() + 1);
  auto consider = [&](size_t begin, size_t end, int32_t id, double score) {
    score += best[begin].score;
    if (best[end].begin == std::string_view::npos || score > best[end].score)
      best[end] = {score, begin, id};
  };
  for (size_t begin = 0; begin < word.size();) {
    size_t length = ReadUtf8(word.substr(begin)).length;
    bool has_character = false; // a token of just the first character
    const Node *node = trie_.data();
    for (size_t end = begin; end < word.size();) {
      node = Child(*node, static_cast<uint8_t>(word[end]));
      if (!node)
        break;
      ++end;
      if (node->id < 0)
        continue;
      consider(begin, end, node->id, definition_.scores[static_cast<size_t>(node->id)]);
      has_character |= end == begin + length;
    }
    if (!has_character)
      consider(begin, begin + length, definition_.unk_id, unknown_score_);
    begin += length;
  }

  // Unknown tokens in a row are one piece of text.
  std::vector<std::string_view> pieces;
  bool was_unknown = false;
  for (size_t end = word.size(); end > 0;) {
    auto [score, begin, id] = best[end];
    bool is_unknown = id == definition_.unk_id;
    if (is_unknown && was_unknown)
      pieces.back() = word.substr(begin, pieces.back().size() + (end - begin));
    else
      pieces.push_back(word.substr(begin, end - begin));
    was_unknown = is_unknown;
    end = begin;
  }
  std::reverse(pieces.begin(), pieces.end());
  for (std::string_view piece : pieces) {
    if (int32_t id = Find(piece); id >= 0)
      ids.push_back(id);
    else if (!definition_.byte_fallback || !AppendBytes(piece, ids))
      ids.push_back(definition_.unk_id);
  }
}

} // namespace inlay::tokenizer
