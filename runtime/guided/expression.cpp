#include "runtime/guided/expression.h"

#include <fmt/format.h>

#include <algorithm>

namespace inlay::guided {
namespace {

constexpr uint32_t kSurrogatesBegin = 0xD800, kSurrogatesEnd = 0xDFFF;

ByteSet ByteRange(int first, int last) {
  ByteSet set;
  for (int byte = first; byte <= last; ++byte)
    set.set(byte);
  return set;
}

// Appends the sequences of byte ranges that encode the code points [first, last], whose UTF-8 encodings have the same
// length. A range is split until all bytes after the first differing byte have their whole range 80..BF.
void AppendUtf8Ranges(const std::string &first, const std::string &last, std::vector<std::vector<ByteSet>> &out) {
  struct Piece {
    std::string first, last;
  };
  std::vector<Piece> work{{first, last}};
  while (!work.empty()) {
    Piece piece = std::move(work.back());
    work.pop_back();
    size_t size = piece.first.size();
    size_t differ = 0;
    while (differ < size && piece.first[differ] == piece.last[differ])
      ++differ;
    auto is_all = [&](const std::string &bytes, char byte) {
      return std::all_of(bytes.begin() + std::min(differ + 1, size), bytes.end(), [&](char c) { return c == byte; });
    };
    if (differ + 1 < size && !is_all(piece.first, '\x80')) {
      std::string end = piece.first, next = piece.first;
      std::fill(end.begin() + differ + 1, end.end(), '\xBF');
      std::fill(next.begin() + differ + 1, next.end(), '\x80');
      next[differ] = static_cast<char>(next[differ] + 1);
      // [first, end] has a single value of byte `differ`; [next, last] begins with a full block.
      work.push_back({next, piece.last});
      work.push_back({piece.first, end});
      continue;
    }
    if (differ + 1 < size && !is_all(piece.last, '\xBF')) {
      std::string begin = piece.last, previous = piece.last;
      std::fill(begin.begin() + differ + 1, begin.end(), '\x80');
      std::fill(previous.begin() + differ + 1, previous.end(), '\xBF');
      previous[differ] = static_cast<char>(previous[differ] - 1);
      work.push_back({begin, piece.last});
      work.push_back({piece.first, previous});
      continue;
    }
    std::vector<ByteSet> sequence;
    for (size_t i = 0; i < size; ++i)
      sequence.push_back(ByteRange(static_cast<uint8_t>(piece.first[i]), static_cast<uint8_t>(piece.last[i])));
    out.push_back(std::move(sequence));
  }
}

} // namespace

CodePointSet CodePointSet::Of(uint32_t first, uint32_t last) {
  CodePointSet set;
  set.Add(first, last);
  return set;
}

CodePointSet CodePointSet::All() { return Of(0, kMaxCodePoint); }

void CodePointSet::Add(uint32_t first, uint32_t last) {
  last = std::min(last, kMaxCodePoint);
  if (first > last)
    return;
  if (first <= kSurrogatesEnd && last >= kSurrogatesBegin) {
    if (first < kSurrogatesBegin)
      Add(first, kSurrogatesBegin - 1);
    if (last > kSurrogatesEnd)
      Add(kSurrogatesEnd + 1, last);
    return;
  }
  auto begin = std::lower_bound(ranges_.begin(), ranges_.end(), first,
                                [](const auto &range, uint32_t value) { return range.second + 1 < value; });
  auto end = begin;
  for (; end != ranges_.end() && end->first <= last + 1; ++end) {
    first = std::min(first, end->first);
    last = std::max(last, end->second);
  }
  ranges_.insert(ranges_.erase(begin, end), {first, last});
}

void CodePointSet::Add(const CodePointSet &other) {
  for (auto [first, last] : other.ranges_)
    Add(first, last);
}

CodePointSet CodePointSet::Complement() const {
  CodePointSet result;
  uint32_t next = 0;
  for (auto [first, last] : ranges_) {
    if (first > next)
      result.Add(next, first - 1);
    next = last + 1;
  }
  result.Add(next, kMaxCodePoint);
  return result;
}

CodePointSet CodePointSet::Without(const CodePointSet &other) const {
  CodePointSet either = Complement();
  either.Add(other);
  return either.Complement();
}

bool CodePointSet::Contains(uint32_t code_point) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const auto &range) { return range.first <= code_point && code_point <= range.second; });
}

RuleId Rules::AddRule(std::string name) {
  rules_.push_back({std::move(name), -1});
  return static_cast<RuleId>(rules_.size() - 1);
}

ExpressionId Rules::Add(Expression expression) {
  expressions_.push_back(std::move(expression));
  return static_cast<ExpressionId>(expressions_.size() - 1);
}

ExpressionId Rules::Byte(const ByteSet &bytes) {
  return Add({.kind = Expression::Kind::kByte, .bytes = bytes, .children = {}});
}

ExpressionId Rules::Literal(std::string_view bytes) {
  std::vector<ExpressionId> children;
  for (char byte : bytes)
    children.push_back(Byte(ByteSet().set(static_cast<uint8_t>(byte))));
  return children.size() == 1 ? children[0] : Sequence(std::move(children));
}

ExpressionId Rules::Characters(const CodePointSet &set) {
  if (auto found = characters_.find(set.ranges()); found != characters_.end())
    return found->second;
  // The code points that UTF-8 encodes in 2, 3 and 4 bytes.
  constexpr std::pair<uint32_t, uint32_t> lengths[] = {{0x80, 0x7FF}, {0x800, 0xFFFF}, {0x10000, kMaxCodePoint}};
  ByteSet ascii;
  std::vector<std::vector<ByteSet>> sequences;
  for (auto [first, last] : set.ranges()) {
    for (uint32_t c = first; c <= std::min(last, 0x7Fu); ++c)
      ascii.set(c);
    for (auto [low, high] : lengths) {
      uint32_t from = std::max(first, low), to = std::min(last, high);
      if (from <= to)
        AppendUtf8Ranges(EncodeUtf8(from), EncodeUtf8(to), sequences);
    }
  }
  std::vector<ExpressionId> choices;
  if (ascii.any())
    choices.push_back(Byte(ascii));
  for (const std::vector<ByteSet> &sequence : sequences) {
    std::vector<ExpressionId> bytes;
    for (const ByteSet &byte : sequence)
      bytes.push_back(Byte(byte));
    choices.push_back(Sequence(std::move(bytes)));
  }
  return characters_[set.ranges()] = choices.size() == 1 ? choices[0] : Choice(std::move(choices));
}

ExpressionId Rules::Sequence(std::vector<ExpressionId> children) {
  return Add({.kind = Expression::Kind::kSequence, .bytes = {}, .children = std::move(children)});
}

ExpressionId Rules::Choice(std::vector<ExpressionId> children) {
  return Add({.kind = Expression::Kind::kChoice, .bytes = {}, .children = std::move(children)});
}

ExpressionId Rules::Repeat(ExpressionId child, int32_t min, int32_t max) {
  return Add({.kind = Expression::Kind::kRepeat, .bytes = {}, .children = {child}, .min = min, .max = max});
}

ExpressionId Rules::Rule(RuleId rule) {
  return Add({.kind = Expression::Kind::kRule, .bytes = {}, .children = {}, .rule = rule});
}

ExpressionId Rules::UniqueRule(RuleId rule) {
  return Add({.kind = Expression::Kind::kRule, .bytes = {}, .children = {}, .is_unique = true, .rule = rule});
}

ExpressionId Rules::OfGraph(Graph graph) {
  if (graph.nodes.empty())
    return Nothing();
  graphs_.push_back(std::move(graph));
  return Add({.kind = Expression::Kind::kGraph,
              .bytes = {},
              .children = {},
              .graph = static_cast<int32_t>(graphs_.size() - 1)});
}

ExpressionId Rules::OneOf(std::vector<std::string> texts) {
  return texts.size() == 1 ? Literal(texts[0]) : OfGraph(GraphOfTexts(std::move(texts)));
}

std::string EncodeUtf8(uint32_t code_point) {
  std::string out;
  auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | code_point >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | code_point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
  return out;
}

absl::Status ReadCharacter(std::string_view text, size_t &at, uint32_t &code_point) {
  auto invalid = [&] {
    return absl::InvalidArgumentError(
        fmt::format("at byte {}: found invalid UTF-8, expected UTF-8; fix: encode the text as UTF-8", at));
  };
  if (at >= text.size())
    return invalid();
  uint8_t lead = static_cast<uint8_t>(text[at]);
  int tail = lead < 0x80 ? 0 : lead >> 5 == 6 ? 1 : lead >> 4 == 14 ? 2 : lead >> 3 == 30 ? 3 : -1;
  if (tail < 0 || text.size() - at <= static_cast<size_t>(tail))
    return invalid();
  code_point = tail == 0 ? lead : lead & (0x3F >> tail);
  for (int i = 1; i <= tail; ++i) {
    uint8_t byte = static_cast<uint8_t>(text[at + i]);
    if (byte >> 6 != 2)
      return invalid();
    code_point = code_point << 6 | (byte & 0x3F);
  }
  constexpr uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
  if (code_point < smallest[tail] || code_point > kMaxCodePoint ||
      (code_point >= kSurrogatesBegin && code_point <= kSurrogatesEnd))
    return invalid();
  at += tail + 1;
  return absl::OkStatus();
}

} // namespace inlay::guided
