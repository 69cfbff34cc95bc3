#include "runtime/guided/regex.h"

#include "runtime/guided/text_cursor.h"

#include <fmt/format.h>

namespace inlay::guided {
namespace {

CodePointSet Digits() { return CodePointSet::Of('0', '9'); }

CodePointSet WordCharacters() {
  CodePointSet set = Digits();
  set.Add('a', 'z');
  set.Add('A', 'Z');
  set.Add('_', '_');
  return set;
}

CodePointSet Spaces() {
  CodePointSet set = CodePointSet::Of('\t', '\r');
  set.Add(' ', ' ');
  return set;
}

class Parser {
public:
  Parser(std::string_view text, const Limits &limits, Rules &rules,
         const std::function<ExpressionId(const CodePointSet &)> &characters)
      : cursor_(text), limits_(limits), rules_(rules), characters_(characters) {}

  absl::StatusOr<ParsedRegex> Parse() {
    ParsedRegex result;
    result.has_begin = cursor_.Take("^");
    result.body = Alternatives(0);
    result.has_end = has_end_;
    if (cursor_.status().ok() && !cursor_.at_end())
      cursor_.Fail("found ')' without '(', expected a group's end only after its beginning; fix: escape it as \\)");
    if (!cursor_.status().ok())
      return cursor_.status();
    if (has_alternatives_ && (result.has_begin || result.has_end) && !(result.has_begin && result.has_end))
      return absl::InvalidArgumentError("found '^' or '$' in one alternative of several, expected both or none; fix: "
                                        "put the alternatives in a group");
    return result;
  }

private:
  ExpressionId Alternatives(int32_t depth) {
    if (depth > limits_.max_source_depth) {
      cursor_.Fail(fmt::format("found groups {} deep, expected at most {} (max_source_depth); fix: fewer groups", depth,
                               limits_.max_source_depth));
      return rules_.Empty();
    }
    std::vector<ExpressionId> alternatives{Sequence(depth)};
    while (cursor_.Take("|")) {
      has_alternatives_ |= depth == 0;
      alternatives.push_back(Sequence(depth));
    }
    return alternatives.size() == 1 ? alternatives[0] : rules_.Choice(std::move(alternatives));
  }

  ExpressionId Sequence(int32_t depth) {
    std::vector<ExpressionId> items;
    while (!cursor_.at_end() && cursor_.Peek() != '|' && cursor_.Peek() != ')') {
      if (depth == 0 && cursor_.Peek() == '$' && cursor_.Peek(1) == '\0') {
        cursor_.Skip();
        has_end_ = true;
        break;
      }
      items.push_back(Quantified(Atom(depth)));
    }
    return items.size() == 1 ? items[0] : rules_.Sequence(std::move(items));
  }

  ExpressionId Quantified(ExpressionId atom) {
    int32_t min = 0, max = kUnbounded;
    if (cursor_.Take("*")) {
    } else if (cursor_.Take("+")) {
      min = 1;
    } else if (cursor_.Take("?")) {
      max = 1;
    } else if (cursor_.Take("{")) {
      cursor_.Bounds(min, max);
    } else {
      return atom;
    }
    cursor_.Take("?"); // lazy: it matches the same texts
    if (cursor_.Peek() == '+')
      cursor_.Fail("found a possessive quantifier, which is not supported; fix: leave out the second '+'");
    else if (cursor_.Peek() == '*' || cursor_.Peek() == '?')
      cursor_.Fail("found a quantifier behind a quantifier; fix: put the first in a group");
    return rules_.Repeat(atom, min, max);
  }

  ExpressionId Group(int32_t depth) {
    if (cursor_.Take("?")) {
      if (cursor_.Take(":")) {
      } else if (cursor_.StartsWith("=") || cursor_.StartsWith("!")) {
        cursor_.Fail("found look-ahead (?= or (?!, which is not supported; fix: write what may follow");
      } else if (cursor_.StartsWith("<=") || cursor_.StartsWith("<!")) {
        cursor_.Fail("found look-behind (?<= or (?<!, which is not supported; fix: write what may come before");
      } else if (cursor_.Take("P<") || cursor_.Take("<")) {
        while (!cursor_.at_end() && cursor_.Peek() != '>')
          cursor_.Skip();
        if (!cursor_.Take(">"))
          cursor_.Fail("found a group's name without '>', expected (?<name>...); fix: complete it");
      } else {
        cursor_.Fail("found a group (? of a kind that is not supported, expected (?: or (?<name>; fix: use a plain "
                     "group");
      }
    }
    ExpressionId body = Alternatives(depth + 1);
    if (cursor_.status().ok() && !cursor_.Take(")"))
      cursor_.Fail("found '(' without ')', expected the group's end; fix: add it, or escape the parenthesis");
    return body;
  }

  ExpressionId Atom(int32_t depth) {
    switch (cursor_.Peek()) {
    case '(':
      cursor_.Skip();
      return Group(depth);
    case '[':
      cursor_.Skip();
      return characters_(Class());
    case '.':
      cursor_.Skip();
      return characters_(CodePointSet::Of('\n', '\n').Complement());
    case '\\':
      cursor_.Skip();
      return characters_(Escape(/*in_class=*/false));
    case '^':
    case '$':
      cursor_.Fail(fmt::format("found the anchor '{}' inside the expression, which is not supported; fix: leave it out "
                               "(the whole text must match), or escape it",
                               cursor_.Peek()));
      return rules_.Empty();
    case '*':
    case '+':
    case '?':
    case '{':
      cursor_.Fail(fmt::format("found the quantifier '{}' with nothing before it; fix: escape it", cursor_.Peek()));
      return rules_.Empty();
    default:
      uint32_t c = cursor_.Character();
      return characters_(CodePointSet::Of(c, c));
    }
  }

  CodePointSet Escape(bool in_class) {
    char c = cursor_.Peek();
    auto one = [](uint32_t code_point) { return CodePointSet::Of(code_point, code_point); };
    auto skip = [&](CodePointSet set) {
      cursor_.Skip();
      return set;
    };
    switch (c) {
    case 'd':
      return skip(Digits());
    case 'D':
      return skip(Digits().Complement());
    case 'w':
      return skip(WordCharacters());
    case 'W':
      return skip(WordCharacters().Complement());
    case 's':
      return skip(Spaces());
    case 'S':
      return skip(Spaces().Complement());
    case 't':
      return skip(one('\t'));
    case 'n':
      return skip(one('\n'));
    case 'r':
      return skip(one('\r'));
    case 'f':
      return skip(one('\f'));
    case 'v':
      return skip(one('\v'));
    case '0':
      return skip(one(0));
    case 'x':
      cursor_.Skip();
      return one(cursor_.Hex(2));
    case 'u':
      cursor_.Skip();
      return one(cursor_.Hex(4));
    case 'U':
      cursor_.Skip();
      return one(cursor_.Hex(8));
    default:
      break;
    }
    if (c >= '1' && c <= '9')
      cursor_.Fail("found a back-reference, which is not supported; fix: repeat the group");
    else if ((c == 'b' || c == 'B' || c == 'A' || c == 'Z' || c == 'z') && !in_class)
      cursor_.Fail(fmt::format("found the assertion '\\{}', which is not supported; fix: leave it out", c));
    else if (c == 'b')
      return skip(one('\b'));
    else if (c == 'p' || c == 'P')
      cursor_.Fail(fmt::format("found the Unicode property '\\{}', which is not supported; fix: name ranges", c));
    else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
      cursor_.Fail(fmt::format("found the escape '\\{}', which is not supported; fix: write the character itself", c));
    uint32_t code_point = cursor_.Character();
    return one(code_point);
  }

  CodePointSet Class() {
    bool is_negated = cursor_.Take("^");
    CodePointSet set;
    for (bool first = true; cursor_.status().ok(); first = false) {
      if (cursor_.at_end()) {
        cursor_.Fail("found '[' without ']', expected the class's end; fix: add it, or escape the bracket");
        break;
      }
      if (!first && cursor_.Take("]"))
        break;
      if (first && cursor_.StartsWith("]")) {
        cursor_.Fail("found an empty class, expected a character in it; fix: escape the bracket as \\]");
        break;
      }
      CodePointSet low = ClassItem();
      bool is_range = cursor_.Peek() == '-' && cursor_.Peek(1) != ']' && cursor_.Peek(1) != '\0';
      if (!is_range) {
        set.Add(low);
        continue;
      }
      cursor_.Skip();
      CodePointSet high = ClassItem();
      if (!cursor_.status().ok())
        break;
      auto is_single = [](const CodePointSet &s) {
        return s.ranges().size() == 1 && s.ranges()[0].first == s.ranges()[0].second;
      };
      if (!is_single(low) || !is_single(high) || low.ranges()[0].first > high.ranges()[0].first) {
        cursor_.Fail("found a broken range in a class, expected its first character not above its last; fix: exchange "
                     "them, or escape the '-'");
        break;
      }
      set.Add(low.ranges()[0].first, high.ranges()[0].first);
    }
    return is_negated ? set.Complement() : set;
  }

  CodePointSet ClassItem() {
    if (cursor_.Take("\\"))
      return Escape(/*in_class=*/true);
    if (cursor_.StartsWith("[:"))
      cursor_.Fail("found a POSIX class [:name:], which is not supported; fix: name ranges");
    uint32_t c = cursor_.Character();
    return CodePointSet::Of(c, c);
  }

  TextCursor cursor_;
  const Limits &limits_;
  Rules &rules_;
  const std::function<ExpressionId(const CodePointSet &)> &characters_;
  bool has_end_ = false, has_alternatives_ = false;
};

} // namespace

absl::StatusOr<ParsedRegex> ParseRegex(std::string_view regex, const Limits &limits, Rules &rules,
                                       const std::function<ExpressionId(const CodePointSet &)> &characters) {
  return Parser(regex, limits, rules, characters).Parse();
}

absl::StatusOr<Rules> ParseRegexRules(std::string_view regex, const Limits &limits) {
  Rules rules;
  rules.AddRule("root");
  absl::StatusOr<ParsedRegex> parsed =
      ParseRegex(regex, limits, rules, [&](const CodePointSet &set) { return rules.Characters(set); });
  if (!parsed.ok())
    return parsed.status();
  rules.SetBody(0, parsed->body);
  return rules;
}

} // namespace inlay::guided
