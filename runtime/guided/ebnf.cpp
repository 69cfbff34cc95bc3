#include "runtime/guided/ebnf.h"

#include "runtime/guided/text_cursor.h"

#include <fmt/format.h>

#include <map>

namespace inlay::guided {
namespace {

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class Parser {
public:
  Parser(std::string_view text, const Limits &limits) : cursor_(text), limits_(limits) { RuleOf("root"); }

  absl::StatusOr<Rules> Parse() {
    SkipSpace(/*newlines=*/true);
    while (!cursor_.at_end())
      ParseRule();
    if (!cursor_.status().ok())
      return cursor_.status();
    for (const Rules::Named &rule : rules_.rules())
      if (rule.body < 0)
        return absl::InvalidArgumentError(fmt::format(
            "found no rule '{}', expected one{}; fix: add {} ::= ...", rule.name,
            rule.name == "root" ? " as the start of the grammar" : " because another rule uses it", rule.name));
    return std::move(rules_);
  }

private:
  RuleId RuleOf(const std::string &name) {
    auto found = rule_ids_.find(name);
    if (found != rule_ids_.end())
      return found->second;
    return rule_ids_[name] = rules_.AddRule(name);
  }

  void SkipSpace(bool newlines) {
    while (!cursor_.at_end()) {
      char c = cursor_.Peek();
      if (c == '#')
        while (!cursor_.at_end() && cursor_.Peek() != '\n')
          cursor_.Skip();
      else if (c == ' ' || c == '\t' || (newlines && (c == '\n' || c == '\r')))
        cursor_.Skip();
      else
        break;
    }
  }

  std::string Name() {
    size_t begin = cursor_.at();
    while (IsNameCharacter(cursor_.Peek()))
      cursor_.Skip();
    return std::string(cursor_.Slice(begin));
  }

  void ParseRule() {
    std::string name = Name();
    if (name.empty()) {
      cursor_.Fail(fmt::format("found '{}', expected a rule's name; fix: write name ::= ...", cursor_.Peek()));
      return;
    }
    SkipSpace(false);
    if (!cursor_.Take("::=")) {
      cursor_.Fail(fmt::format("found no '::=' after the rule's name '{}'; fix: add it", name));
      return;
    }
    SkipSpace(true);
    RuleId rule = RuleOf(name);
    if (rules_.rules()[rule].body >= 0) {
      cursor_.Fail(
          fmt::format("found the rule '{}' a second time, expected it once; fix: join both definitions with |", name));
      return;
    }
    if (rules_.rules().size() > static_cast<size_t>(limits_.max_rules))
      cursor_.Fail(fmt::format("found more than {} rules (max_rules), expected fewer; fix: use a smaller grammar",
                               limits_.max_rules));
    rules_.SetBody(rule, Alternatives(0));
    SkipSpace(true);
  }

  ExpressionId Alternatives(int32_t depth) {
    if (depth > limits_.max_source_depth) {
      cursor_.Fail(fmt::format("found groups nested {} deep, expected at most {} (max_source_depth); fix: use rules",
                               depth, limits_.max_source_depth));
      return rules_.Empty();
    }
    std::vector<ExpressionId> alternatives{Sequence(depth)};
    while (NextLineHasBar() && cursor_.Take("|")) {
      SkipSpace(true);
      alternatives.push_back(Sequence(depth));
    }
    return alternatives.size() == 1 ? alternatives[0] : rules_.Choice(std::move(alternatives));
  }

  // A line that begins with | continues the rule before it.
  bool NextLineHasBar() {
    TextCursor before = cursor_;
    SkipSpace(true);
    if (cursor_.Peek() == '|')
      return true;
    if (cursor_.status().ok())
      cursor_ = before;
    return false;
  }

  ExpressionId Sequence(int32_t depth) {
    std::vector<ExpressionId> items;
    while (true) {
      SkipSpace(/*newlines=*/depth > 0);
      std::optional<ExpressionId> item = Item(depth);
      if (!item)
        break;
      items.push_back(Quantified(*item, depth));
    }
    return items.size() == 1 ? items[0] : rules_.Sequence(std::move(items));
  }

  std::optional<ExpressionId> Item(int32_t depth) {
    char c = cursor_.Peek();
    if (cursor_.at_end() || c == '|' || c == ')' || c == '\n' || c == '\r')
      return std::nullopt;
    if (cursor_.Take("\""))
      return Literal();
    if (cursor_.Take("["))
      return Class();
    if (cursor_.Take("."))
      return rules_.Characters(CodePointSet::All());
    if (cursor_.Take("(")) {
      ExpressionId group = Alternatives(depth + 1);
      SkipSpace(true);
      if (cursor_.status().ok() && !cursor_.Take(")"))
        cursor_.Fail("found '(' without ')', expected the group's end; fix: add it");
      return group;
    }
    std::string name = Name();
    if (!name.empty())
      return rules_.Rule(RuleOf(name));
    cursor_.Fail(fmt::format("found '{}', expected a literal, class, group or name; fix: quote it", c));
    return std::nullopt;
  }

  ExpressionId Quantified(ExpressionId item, int32_t depth) {
    while (cursor_.status().ok()) {
      int32_t min = 0, max = kUnbounded;
      if (cursor_.Take("*")) {
      } else if (cursor_.Take("+")) {
        min = 1;
      } else if (cursor_.Take("?")) {
        max = 1;
      } else if (cursor_.Take("{")) {
        cursor_.Bounds(min, max);
      } else {
        break;
      }
      // Each quantifier counts as one level of nesting, like a group.
      if (++depth > limits_.max_source_depth)
        cursor_.Fail(
            fmt::format("found quantifiers nested {} deep, expected at most {} (max_source_depth); fix: use fewer",
                        depth, limits_.max_source_depth));
      item = rules_.Repeat(item, min, max);
    }
    return item;
  }

  uint32_t EscapedCharacter() {
    if (!cursor_.Take("\\"))
      return cursor_.Character();
    char c = cursor_.Peek();
    cursor_.Skip();
    switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'x':
      return cursor_.Hex(2);
    case 'u':
      return cursor_.Hex(4);
    case 'U':
      return cursor_.Hex(8);
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^':
    case '/':
    case '\'':
      return static_cast<uint8_t>(c);
    default:
      cursor_.Fail("found an unknown escape, expected one of \\n \\t \\r \\xHH \\uHHHH \\UHHHHHHHH \\\\ \\\" "
                   "\\[ \\] \\- \\^; fix: write the character itself");
      return 0;
    }
  }

  ExpressionId Literal() {
    std::string text;
    while (!cursor_.Take("\"")) {
      if (cursor_.at_end() || cursor_.Peek() == '\n') {
        cursor_.Fail("found a literal without its closing quote; fix: add it");
        return rules_.Empty();
      }
      text += EncodeUtf8(EscapedCharacter());
    }
    return rules_.Literal(text);
  }

  ExpressionId Class() {
    bool is_negated = cursor_.Take("^");
    CodePointSet set;
    while (!cursor_.Take("]")) {
      if (cursor_.at_end()) {
        cursor_.Fail("found '[' without ']', expected the class's end; fix: add it");
        return rules_.Empty();
      }
      uint32_t first = EscapedCharacter(), last = first;
      if (cursor_.Peek() == '-' && cursor_.Peek(1) != ']') {
        cursor_.Skip();
        last = EscapedCharacter();
        if (cursor_.status().ok() && last < first)
          cursor_.Fail("found a range whose first character is above its last; fix: swap them");
      }
      set.Add(first, last);
    }
    return rules_.Characters(is_negated ? set.Complement() : set);
  }

  TextCursor cursor_;
  const Limits &limits_;
  Rules rules_;
  std::map<std::string, RuleId> rule_ids_;
};

} // namespace

absl::StatusOr<Rules> ParseEbnf(std::string_view grammar, const Limits &limits) {
  return Parser(grammar, limits).Parse();
}

} // namespace inlay::guided
