// The common output of all grammar parsers: rules whose bodies are expressions over bytes. Text is UTF-8; a set of
// characters becomes the byte sequences that encode it.
#ifndef INLAY_RUNTIME_GUIDED_EXPRESSION_H_
#define INLAY_RUNTIME_GUIDED_EXPRESSION_H_

#include "absl/status/status.h"
#include "runtime/guided/graph.h"
#include "runtime/guided/limits.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::guided {

using ExpressionId = int32_t;
using RuleId = int32_t;

inline constexpr int32_t kUnbounded = -1;
inline constexpr uint32_t kMaxCodePoint = 0x10FFFF;

// A set of Unicode scalar values (no surrogates), as sorted ranges that are neither overlapping nor adjacent.
class CodePointSet {
public:
  CodePointSet() = default;
  static CodePointSet All();
  static CodePointSet Of(uint32_t first, uint32_t last);

  void Add(uint32_t first, uint32_t last);
  void Add(const CodePointSet &other);
  CodePointSet Complement() const;
  CodePointSet Without(const CodePointSet &other) const;
  bool Contains(uint32_t code_point) const;
  const std::vector<std::pair<uint32_t, uint32_t>> &ranges() const { return ranges_; }

private:
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;
};

struct Expression {
  enum class Kind { kByte, kSequence, kChoice, kRepeat, kRule, kGraph };
  Kind kind = Kind::kSequence;
  ByteSet bytes; // kByte: one of these
  std::vector<ExpressionId>
      children;                      // kSequence (none: the empty text), kChoice (none: nothing matches), kRepeat (one)
  int32_t min = 0, max = kUnbounded; // kRepeat
  bool is_unique = false;            // kRule: the items of a list with uniqueItems
  RuleId rule = 0;                   // kRule
  int32_t graph = 0;                 // kGraph: index in Rules::graphs()
};

// Rules and their expressions. Rule 0 is the root.
class Rules {
public:
  RuleId AddRule(std::string name);
  void SetBody(RuleId rule, ExpressionId body) { rules_[rule].body = body; }

  ExpressionId Empty() { return Sequence({}); }
  ExpressionId Byte(const ByteSet &bytes);
  ExpressionId Literal(std::string_view bytes);
  ExpressionId Characters(const CodePointSet &set);
  ExpressionId Sequence(std::vector<ExpressionId> children);
  ExpressionId Choice(std::vector<ExpressionId> children);
  ExpressionId Repeat(ExpressionId child, int32_t min, int32_t max);
  ExpressionId Optional(ExpressionId child) { return Choice({child, Empty()}); }
  ExpressionId Rule(RuleId rule);
  // A call of a rule that reads the items of a list with uniqueItems (unique_items.h), after the opening bracket.
  ExpressionId UniqueRule(RuleId rule);
  ExpressionId Nothing() { return Choice({}); } // matches no text
  // The texts that a graph accepts. Nothing() for a graph without nodes.
  ExpressionId OfGraph(Graph graph);
  // One of these texts. Common prefixes and suffixes share states.
  ExpressionId OneOf(std::vector<std::string> texts);

  struct Named {
    std::string name;
    ExpressionId body = -1;
  };
  const std::vector<Named> &rules() const { return rules_; }
  const std::vector<Expression> &expressions() const { return expressions_; }
  const std::vector<Graph> &graphs() const { return graphs_; }

private:
  ExpressionId Add(Expression expression);

  std::vector<Named> rules_;
  std::vector<Expression> expressions_;
  std::vector<Graph> graphs_;
  std::map<std::vector<std::pair<uint32_t, uint32_t>>, ExpressionId> characters_; // by ranges
};

// The UTF-8 encoding of a Unicode scalar value.
std::string EncodeUtf8(uint32_t code_point);

// Reads the character at byte `at` and advances `at`. InvalidArgument if there is no valid character.
absl::Status ReadCharacter(std::string_view text, size_t &at, uint32_t &code_point);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_EXPRESSION_H_
