#include "runtime/guided/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace inlay::guided {
namespace {

constexpr int32_t kMaxDigits = 16, kMaxIndent = 20;

// The characters that need no escape in a JSON string.
CodePointSet Plain() {
  CodePointSet set = CodePointSet::Of(0x20, kMaxCodePoint);
  CodePointSet special = CodePointSet::Of('"', '"');
  special.Add('\\', '\\');
  return set.Without(special);
}

} // namespace

ExpressionId JsonText::Named(RuleId &rule, const char *name, ExpressionId (JsonText::*body)()) {
  if (rule < 0) {
    rule = rules_.AddRule(name);
    rules_.SetBody(rule, (this->*body)());
  }
  return rules_.Rule(rule);
}

ExpressionId JsonText::Space() { return Named(space_, "space", &JsonText::SpaceBody); }
ExpressionId JsonText::Character() { return Named(character_, "character", &JsonText::CharacterBody); }
ExpressionId JsonText::Value() { return Named(value_, "value", &JsonText::ValueBody); }
ExpressionId JsonText::Object() { return Named(object_, "object", &JsonText::ObjectBody); }
ExpressionId JsonText::Array() { return Named(array_, "array", &JsonText::ArrayBody); }

ExpressionId JsonText::SpaceBody() {
  CodePointSet indent = CodePointSet::Of(' ', ' ');
  indent.Add('\t', '\t');
  return rules_.Choice(
      {rules_.Empty(), rules_.Literal(" "),
       rules_.Sequence({rules_.Literal("\n"), rules_.Repeat(rules_.Characters(indent), 0, kMaxIndent)})});
}

ExpressionId JsonText::CharacterBody() {
  auto of = [&](std::string_view characters) {
    CodePointSet set;
    for (char c : characters)
      set.Add(static_cast<uint8_t>(c), static_cast<uint8_t>(c));
    return rules_.Characters(set);
  };
  auto hex = [&](int32_t count) { return rules_.Repeat(of("0123456789abcdefABCDEF"), count, count); };
  // A high surrogate must be followed by a low surrogate. Parsers refuse or replace lone surrogates.
  ExpressionId unit = rules_.Choice(
      {rules_.Sequence({of("0123456789abcefABCEF"), hex(3)}), rules_.Sequence({of("dD"), of("01234567"), hex(2)}),
       rules_.Sequence({of("dD"), of("89abAB"), hex(2), rules_.Literal("\\u"), of("dD"), of("cdefCDEF"), hex(2)})});
  return rules_.Choice({rules_.Characters(Plain()), rules_.Sequence({rules_.Literal("\\"), of("\"\\/bfnrt")}),
                        rules_.Sequence({rules_.Literal("\\u"), unit})});
}

ExpressionId JsonText::CharacterOf(const CodePointSet &set) {
  std::vector<ExpressionId> choices{rules_.Characters(set.Without(Plain().Complement()))};
  for (uint32_t c : {0x22, 0x5c}) // quotation mark, backslash
    if (set.Contains(c))
      choices.push_back(rules_.Literal(fmt::format("\\{}", static_cast<char>(c))));
  constexpr std::string_view letters("btn\0fr", 6); // short escapes of \b to \r; \v has none
  for (uint32_t c = 0; c < 0x20; ++c) {
    if (!set.Contains(c))
      continue;
    bool has_letter = c >= '\b' && c <= '\r' && c != '\v';
    choices.push_back(
        rules_.Literal(has_letter ? fmt::format("\\{}", letters[c - '\b']) : fmt::format("\\u{:04x}", c)));
  }
  return choices.size() == 1 ? choices[0] : rules_.Choice(std::move(choices));
}

ExpressionId JsonText::Quoted(ExpressionId characters) {
  return rules_.Sequence({rules_.Literal("\""), characters, rules_.Literal("\"")});
}

ExpressionId JsonText::KeyExcept(const std::set<std::string> &names) {
  ExpressionId any = rules_.Repeat(rules_.Characters(Plain()), 0, kUnbounded);
  // All prefixes of the names, processed in reverse order, so that the expression after each prefix exists when it is
  // used.
  std::map<std::string, std::set<uint32_t>> prefixes{{"", {}}};
  for (const std::string &name : names) {
    uint32_t c = 0;
    for (size_t at = 0; at < name.size();) {
      std::string prefix = name.substr(0, at);
      if (!ReadCharacter(name, at, c).ok())
        break;
      prefixes[prefix].insert(c);
      prefixes.try_emplace(name.substr(0, at));
    }
  }
  std::map<std::string, ExpressionId> tails;
  for (auto it = prefixes.rbegin(); it != prefixes.rend(); ++it) {
    const auto &[prefix, next] = *it;
    CodePointSet taken;
    std::vector<ExpressionId> choices;
    for (uint32_t c : next) {
      taken.Add(c, c);
      if (Plain().Contains(c)) // other characters need an escape, and these keys contain no escapes
        choices.push_back(rules_.Sequence({rules_.Characters(CodePointSet::Of(c, c)), tails[prefix + EncodeUtf8(c)]}));
    }
    choices.push_back(rules_.Sequence({rules_.Characters(Plain().Without(taken)), any}));
    if (!names.contains(prefix))
      choices.push_back(rules_.Empty());
    tails[prefix] = rules_.Choice(std::move(choices));
  }
  return Quoted(tails[""]);
}

ExpressionId JsonText::Digit(char first, char last) { return rules_.Characters(CodePointSet::Of(first, last)); }

ExpressionId JsonText::Integer() {
  return rules_.Choice({rules_.Literal("0"), rules_.Sequence({rules_.Optional(rules_.Literal("-")), Digit('1', '9'),
                                                              rules_.Repeat(Digit('0', '9'), 0, kMaxDigits - 1)})});
}

ExpressionId JsonText::Number() {
  ExpressionId whole = rules_.Choice(
      {rules_.Literal("0"), rules_.Sequence({Digit('1', '9'), rules_.Repeat(Digit('0', '9'), 0, kMaxDigits - 1)})});
  CodePointSet e = CodePointSet::Of('e', 'e'), sign = CodePointSet::Of('+', '+');
  e.Add('E', 'E');
  sign.Add('-', '-');
  return rules_.Sequence(
      {rules_.Optional(rules_.Literal("-")), whole,
       rules_.Optional(rules_.Sequence({rules_.Literal("."), rules_.Repeat(Digit('0', '9'), 1, kMaxDigits)})),
       // The exponent has at most two digits, so that the number is finite as a double.
       rules_.Optional(rules_.Sequence(
           {rules_.Characters(e), rules_.Optional(rules_.Characters(sign)), rules_.Repeat(Digit('0', '9'), 1, 2)}))});
}

// Numbers with as many digits as `digits` that are at least `digits`.
ExpressionId JsonText::AtLeast(const std::string &digits) {
  if (digits.empty())
    return rules_.Empty();
  int32_t rest = static_cast<int32_t>(digits.size()) - 1;
  std::vector<ExpressionId> choices{rules_.Sequence({Digit(digits[0], digits[0]), AtLeast(digits.substr(1))})};
  if (digits[0] < '9')
    choices.push_back(
        rules_.Sequence({Digit(static_cast<char>(digits[0] + 1), '9'), rules_.Repeat(Digit('0', '9'), rest, rest)}));
  return rules_.Choice(std::move(choices));
}

ExpressionId JsonText::AtMost(const std::string &digits) {
  if (digits.empty())
    return rules_.Empty();
  int32_t rest = static_cast<int32_t>(digits.size()) - 1;
  std::vector<ExpressionId> choices{rules_.Sequence({Digit(digits[0], digits[0]), AtMost(digits.substr(1))})};
  if (digits[0] > '0')
    choices.push_back(
        rules_.Sequence({Digit('0', static_cast<char>(digits[0] - 1)), rules_.Repeat(Digit('0', '9'), rest, rest)}));
  return rules_.Choice(std::move(choices));
}

// Numbers from `low` to `high`, which have the same number of digits.
ExpressionId JsonText::Natural(const std::string &low, const std::string &high) {
  if (low.empty())
    return rules_.Empty();
  if (low[0] == high[0])
    return rules_.Sequence({Digit(low[0], low[0]), Natural(low.substr(1), high.substr(1))});
  int32_t rest = static_cast<int32_t>(low.size()) - 1;
  std::vector<ExpressionId> choices{rules_.Sequence({Digit(low[0], low[0]), AtLeast(low.substr(1))}),
                                    rules_.Sequence({Digit(high[0], high[0]), AtMost(high.substr(1))})};
  if (low[0] + 1 < high[0])
    choices.push_back(rules_.Sequence({Digit(static_cast<char>(low[0] + 1), static_cast<char>(high[0] - 1)),
                                       rules_.Repeat(Digit('0', '9'), rest, rest)}));
  return rules_.Choice(std::move(choices));
}

ExpressionId JsonText::IntegerBetween(int64_t low, int64_t high) {
  std::vector<ExpressionId> choices;
  // Adds one choice per number of digits, without leading zeros.
  auto positive = [&](int64_t from, int64_t to, std::string_view sign) {
    for (int64_t begin = std::max<int64_t>(from, 1), end; begin <= to; begin = end + 1) {
      std::string first = fmt::format("{}", begin);
      end = std::min<int64_t>(to, std::stoll(std::string(first.size(), '9')));
      choices.push_back(rules_.Sequence({rules_.Literal(sign), Natural(first, fmt::format("{}", end))}));
    }
  };
  if (low < 0)
    positive(std::max<int64_t>(-high, 1), -low, "-");
  if (low <= 0 && high >= 0)
    choices.push_back(rules_.Literal("0"));
  if (high > 0)
    positive(low, high, "");
  return rules_.Choice(std::move(choices));
}

ExpressionId JsonText::Pair(ExpressionId key, ExpressionId value) {
  return rules_.Sequence({key, rules_.Literal(":"), Space(), value});
}

ExpressionId JsonText::CommaThen(ExpressionId item) { return rules_.Sequence({rules_.Literal(","), Space(), item}); }

ExpressionId JsonText::List(ExpressionId item, int32_t min, int32_t max) {
  if (max == 0)
    return rules_.Empty();
  ExpressionId list = rules_.Sequence(
      {item, rules_.Repeat(CommaThen(item), std::max(min - 1, 0), max == kUnbounded ? kUnbounded : max - 1)});
  return min == 0 ? rules_.Optional(list) : list;
}

ExpressionId JsonText::ObjectBody() {
  return rules_.Sequence(
      {rules_.Literal("{"), Space(), List(Pair(String(), Value()), 0, kUnbounded), Space(), rules_.Literal("}")});
}

ExpressionId JsonText::ArrayBody() {
  return rules_.Sequence({rules_.Literal("["), Space(), List(Value(), 0, kUnbounded), Space(), rules_.Literal("]")});
}

ExpressionId JsonText::ValueBody() {
  return rules_.Choice(
      {Object(), Array(), String(), Number(), rules_.Literal("true"), rules_.Literal("false"), rules_.Literal("null")});
}

} // namespace inlay::guided
