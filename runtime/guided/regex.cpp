#include "runtime/guided/regex.h"

#include "runtime/guided/language.h"
#include "runtime/guided/text_cursor.h"

#include <fmt/format.h>

namespace inlay::guided {
namespace {

// The zero of each run of ten decimal digits outside of ASCII (category Nd of Unicode 14).
constexpr uint32_t kZeros[] = {0x660,   0x6f0,   0x7c0,   0x966,   0x9e6,   0xa66,   0xae6,   0xb66,   0xbe6,   0xc66,
                               0xce6,   0xd66,   0xde6,   0xe50,   0xed0,   0xf20,   0x1040,  0x1090,  0x17e0,  0x1810,
                               0x1946,  0x19d0,  0x1a80,  0x1a90,  0x1b50,  0x1bb0,  0x1c40,  0x1c50,  0xa620,  0xa8d0,
                               0xa900,  0xa9d0,  0xa9f0,  0xaa50,  0xabf0,  0xff10,  0x104a0, 0x10d30, 0x11066, 0x110f0,
                               0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950,
                               0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec,
                               0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0};

// The ASCII class. With `wide`, also every character that any validator includes in the class.
CodePointSet Digits(bool wide) {
  CodePointSet set = CodePointSet::Of('0', '9');
  if (wide)
    for (uint32_t zero : kZeros)
      set.Add(zero, zero + 9);
  return set;
}

CodePointSet WordCharacters(bool wide) {
  CodePointSet set = Digits(false);
  set.Add('a', 'z');
  set.Add('A', 'Z');
  set.Add('_', '_');
  if (wide)
    set.Add(0x80, kMaxCodePoint);
  return set;
}

CodePointSet Spaces(bool wide) {
  CodePointSet set = CodePointSet::Of('\t', '\r');
  set.Add(' ', ' ');
  if (!wide)
    return set;
  // The white space of ECMA-262 and of Python.
  for (uint32_t c : {0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF})
    set.Add(c, c);
  set.Add(0x1C, 0x1F);
  set.Add(0x2000, 0x200A);
  return set;
}

class Parser {
public:
  Parser(std::string_view text, const Limits &limits, Rules &rules,
         const std::function<ExpressionId(const CodePointSet &)> &characters, const RegexOptions &options)
      : cursor_(text), limits_(limits), rules_(rules), characters_(characters), options_(options) {}

  absl::StatusOr<ParsedRegex> Parse() {
    ParsedRegex result;
    result.has_begin = !options_.anchors_are_bytes && cursor_.Take("^");
    result.body = Alternatives(0);
    result.has_end = has_end_;
    if (cursor_.status().ok() && !cursor_.at_end())
      cursor_.Fail("found ')' without '(', expected ')' only at the end of a group; fix: escape it as \\)");
    if (!cursor_.status().ok())
      return cursor_.status();
    if (has_alternatives_ && (result.has_begin || result.has_end) && !(result.has_begin && result.has_end))
      return absl::InvalidArgumentError("found '^' or '$' in only one alternative, expected '^' and '$' around all or "
                                        "none; fix: put the alternatives in a group");
    return result;
  }

private:
  ExpressionId Alternatives(int32_t depth) {
    if (depth > limits_.max_source_depth) {
      cursor_.Fail(
          fmt::format("found groups nested {} deep, expected at most {} (max_source_depth); fix: use fewer groups",
                      depth, limits_.max_source_depth));
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
      if (!options_.anchors_are_bytes && depth == 0 && cursor_.Peek() == '$' && cursor_.Peek(1) == '\0') {
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
    cursor_.Take("?"); // a lazy quantifier matches the same texts
    if (cursor_.Peek() == '+')
      cursor_.Fail("found a possessive quantifier, which is not supported; fix: remove the second '+'");
    else if (cursor_.Peek() == '*' || cursor_.Peek() == '?')
      cursor_.Fail("found a quantifier after a quantifier; fix: put the first in a group");
    return rules_.Repeat(atom, min, max);
  }

  ExpressionId Group(int32_t depth) {
    if (cursor_.Take("?")) {
      if (cursor_.Take(":")) {
      } else if (cursor_.StartsWith("=") || cursor_.StartsWith("!")) {
        cursor_.Fail("found look-ahead (?= or (?!, which is not supported; fix: write the text that may follow");
      } else if (cursor_.StartsWith("<=") || cursor_.StartsWith("<!")) {
        cursor_.Fail("found look-behind (?<= or (?<!, which is not supported; fix: write the text that may precede");
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
      return characters_(AnyCharacter());
    case '\\':
      cursor_.Skip();
      return characters_(Escape(/*in_class=*/false, options_.is_negated));
    case '^':
    case '$':
      if (options_.anchors_are_bytes) {
        char anchor = cursor_.Peek() == '^' ? kTextBegin : kTextEnd;
        cursor_.Skip();
        return rules_.Literal(std::string(1, anchor));
      }
      cursor_.Fail(fmt::format("found the anchor '{}' inside the expression, which is not supported; fix: remove it "
                               "(the whole text must match) or escape it",
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

  CodePointSet AnyCharacter() const {
    CodePointSet ends = CodePointSet::Of('\n', '\n');
    if (options_.syntax == RegexSyntax::kEcma && !options_.is_negated) {
      ends.Add('\r', '\r');
      ends.Add(0x2028, 0x2029);
    }
    return ends.Complement();
  }

  // The class of an escape. `wide`: the union of what validators accept for it; otherwise the intersection.
  CodePointSet Escape(bool in_class, bool wide) {
    bool is_wide = options_.syntax == RegexSyntax::kEcma && wide;
    bool is_complement_of_wide = options_.syntax == RegexSyntax::kEcma && !wide;
    char c = cursor_.Peek();
    auto one = [](uint32_t code_point) { return CodePointSet::Of(code_point, code_point); };
    auto skip = [&](CodePointSet set) {
      cursor_.Skip();
      return set;
    };
    switch (c) {
    case 'd':
      return skip(Digits(is_wide));
    case 'D':
      return skip(Digits(is_complement_of_wide).Complement());
    case 'w':
      return skip(WordCharacters(is_wide));
    case 'W':
      return skip(WordCharacters(is_complement_of_wide).Complement());
    case 's':
      return skip(Spaces(is_wide));
    case 'S':
      return skip(Spaces(is_complement_of_wide).Complement());
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
      cursor_.Fail(fmt::format("found the assertion '\\{}', which is not supported; fix: remove it", c));
    else if (c == 'b')
      return skip(one('\b'));
    else if (c == 'p' || c == 'P')
      cursor_.Fail(fmt::format("found the Unicode property '\\{}', which is not supported; fix: use ranges", c));
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
      CodePointSet low = ClassItem(is_negated != options_.is_negated);
      bool is_range = cursor_.Peek() == '-' && cursor_.Peek(1) != ']' && cursor_.Peek(1) != '\0';
      if (!is_range) {
        set.Add(low);
        continue;
      }
      cursor_.Skip();
      CodePointSet high = ClassItem(is_negated != options_.is_negated);
      if (!cursor_.status().ok())
        break;
      auto is_single = [](const CodePointSet &s) {
        return s.ranges().size() == 1 && s.ranges()[0].first == s.ranges()[0].second;
      };
      if (!is_single(low) || !is_single(high) || low.ranges()[0].first > high.ranges()[0].first) {
        cursor_.Fail("found a broken range in a class, expected its first character not above its last; fix: swap "
                     "them, or escape the '-'");
        break;
      }
      set.Add(low.ranges()[0].first, high.ranges()[0].first);
    }
    return is_negated ? set.Complement() : set;
  }

  CodePointSet ClassItem(bool wide) {
    if (cursor_.Take("\\"))
      return Escape(/*in_class=*/true, wide);
    if (cursor_.StartsWith("[:"))
      cursor_.Fail("found a POSIX class [:name:], which is not supported; fix: use ranges");
    uint32_t c = cursor_.Character();
    return CodePointSet::Of(c, c);
  }

  TextCursor cursor_;
  const Limits &limits_;
  Rules &rules_;
  const std::function<ExpressionId(const CodePointSet &)> &characters_;
  const RegexOptions options_;
  bool has_end_ = false, has_alternatives_ = false;
};

} // namespace

absl::StatusOr<ParsedRegex> ParseRegex(std::string_view regex, const Limits &limits, Rules &rules,
                                       const std::function<ExpressionId(const CodePointSet &)> &characters,
                                       const RegexOptions &options) {
  return Parser(regex, limits, rules, characters, options).Parse();
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
