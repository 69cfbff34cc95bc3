// Python's methods of str, for templates.
#include "formats/tokenizer/template_tables.h"
#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>

namespace inlay::tokenizer {
namespace {

using Kind = Value::Kind;

Value Text(const Value &self, const Bound &bound, std::string_view text) {
  return bound.engine.MakeString(std::string(text), self.markup);
}
Value TextList(const Value &self, const Bound &bound, const std::vector<std::string_view> &parts, bool tuple = false) {
  List items;
  for (std::string_view part : parts)
    items.push_back(Text(self, bound, part));
  bound.engine.Charge(static_cast<int64_t>(items.size()));
  return tuple ? bound.engine.arena.MakeTuple(std::move(items)) : bound.engine.arena.MakeList(std::move(items));
}

Value Refused(const Value &, const Bound &bound) {
  return bound.engine.FailUnsupported(
      fmt::format("found the method {}, which is not supported", Quoted(bound.function)));
}

// ---- case, and parts at the ends

template <std::string (*kMap)(std::string_view)> Value Map(const Value &self, const Bound &bound) {
  return Text(self, bound, kMap(self.str()));
}
template <bool kLeft, bool kRight> Value Strip(const Value &self, const Bound &bound) {
  std::optional<std::string> chars;
  if (bound.HasValue(0))
    chars = bound.Text(0);
  return Text(self, bound, Stripped(self.str(), kLeft, kRight, chars));
}
Value RemovePrefix(const Value &self, const Bound &bound) {
  std::string prefix = bound.Text(0);
  std::string_view text = self.str();
  return Text(self, bound, text.starts_with(prefix) ? text.substr(prefix.size()) : text);
}
Value RemoveSuffix(const Value &self, const Bound &bound) {
  std::string suffix = bound.Text(0);
  std::string_view text = self.str();
  return Text(self, bound, text.ends_with(suffix) ? text.substr(0, text.size() - suffix.size()) : text);
}
enum class Side { kLeft, kRight, kBoth };
template <Side kSide> Value Pad(const Value &self, const Bound &bound) { // the text is at side kSide
  std::string fill = bound.Has(1) ? bound.Text(1) : " ";
  int64_t width = bound.Int(0), size = CountCharacters(self.str());
  if (!bound.engine.failed() && CountCharacters(fill) != 1)
    return bound.engine.Fail(
        fmt::format("{}: found {} to fill with, expected one character", bound.function, Quoted(fill)));
  if (bound.engine.failed() || width <= size)
    return bound.engine.failed() ? Value() : self;
  int64_t missing = width - size;
  if (missing > static_cast<int64_t>(bound.engine.output_limit() / fill.size()))
    return bound.engine.FailOutput();
  int64_t left = kSide == Side::kLeft ? 0 : kSide == Side::kRight ? missing : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i)
    out += fill;
  out += self.str();
  for (int64_t i = left; i < missing; ++i)
    out += fill;
  return Text(self, bound, out);
}
Value ZeroFill(const Value &self, const Bound &bound) {
  std::string_view text = self.str();
  int64_t missing = bound.Int(0) - CountCharacters(text);
  if (missing > static_cast<int64_t>(bound.engine.output_limit()))
    return bound.engine.FailOutput();
  size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  return Text(self, bound,
              std::string(text.substr(0, sign)) + std::string(static_cast<size_t>(std::max<int64_t>(missing, 0)), '0') +
                  std::string(text.substr(sign)));
}
Value ExpandTabs(const Value &self, const Bound &bound) {
  int64_t size = bound.Int(0, 8), column = 0;
  std::string out;
  for (std::string_view c : Characters(self.str())) {
    if (c != "\t") {
      out += c;
      column = c == "\n" || c == "\r" ? 0 : column + 1;
      continue;
    }
    int64_t spaces = size > 0 ? size - column % size : 0;
    if (spaces > static_cast<int64_t>(bound.engine.output_limit() - std::min(out.size(), bound.engine.output_limit())))
      return bound.engine.FailOutput();
    out.append(static_cast<size_t>(spaces), ' ');
    column += spaces;
  }
  return Text(self, bound, out);
}

// ---- splitting and joining

template <bool kRight> Value Split(const Value &self, const Bound &bound) {
  int64_t limit = bound.Int(1, -1);
  uint64_t most = limit < 0 ? UINT64_MAX : static_cast<uint64_t>(limit);
  std::string_view rest = self.str();
  if (!bound.HasValue(0))
    return TextList(self, bound, SplitSpace(rest, most, kRight));
  std::string separator = bound.Text(0);
  if (bound.engine.failed() || separator.empty())
    return bound.engine.Fail(
        fmt::format("{}: found an empty separator, expected at least one character", bound.function));
  std::vector<std::string_view> parts;
  while (parts.size() < most) {
    size_t at = kRight ? rest.rfind(separator) : rest.find(separator);
    if (at == rest.npos)
      break;
    parts.push_back(kRight ? rest.substr(at + separator.size()) : rest.substr(0, at));
    rest = kRight ? rest.substr(0, at) : rest.substr(at + separator.size());
  }
  parts.push_back(rest);
  if (kRight)
    std::reverse(parts.begin(), parts.end());
  return TextList(self, bound, parts);
}
Value SplitAtLines(const Value &self, const Bound &bound) {
  return TextList(self, bound, SplitLines(self.str(), bound.Flag(0)));
}
template <bool kRight> Value Partition(const Value &self, const Bound &bound) {
  std::string separator = bound.Text(0);
  if (bound.engine.failed() || separator.empty())
    return bound.engine.Fail("partition: found an empty separator, expected at least one character");
  std::string_view text = self.str();
  size_t at = kRight ? text.rfind(separator) : text.find(separator);
  if (at == text.npos)
    return kRight ? TextList(self, bound, {"", "", text}, true) : TextList(self, bound, {text, "", ""}, true);
  return TextList(self, bound,
                  {text.substr(0, at), text.substr(at, separator.size()), text.substr(at + separator.size())}, true);
}
Value Join(const Value &self, const Bound &bound) {
  Engine &engine = bound.engine;
  std::string out;
  bool first = true;
  Iterator *items = engine.Iterate(bound.Get(0));
  for (Value item; items && engine.Next(*items, item);) {
    if (!item.string() && !self.markup)
      return engine.Fail(
          fmt::format("join: found a {} in the list, expected strings; fix: use the filter join", TypeName(item)));
    if (!first)
      engine.Append(out, self.str());
    first = false;
    std::string text = engine.ToText(item);
    engine.Append(out, self.markup && !item.markup ? EscapedHtml(text) : text);
  }
  return Text(self, bound, out);
}
Value Replace(const Value &self, const Bound &bound) {
  Engine &engine = bound.engine;
  std::string from = bound.Text(0), to = bound.Text(1), out;
  int64_t count = bound.Int(2, -1);
  if (engine.failed())
    return {};
  if (self.markup && !bound.Get(1).markup)
    to = EscapedHtml(to);
  std::string_view rest = self.str();
  if (from.empty()) { // an empty `from` matches before each character and at the end
    for (; count != 0; --count) {
      out += to;
      if (out.size() > engine.output_limit())
        return engine.FailOutput();
      if (rest.empty())
        break;
      size_t length = ReadUtf8(rest).length;
      out += rest.substr(0, length);
      rest.remove_prefix(length);
    }
    return Text(self, bound, out + std::string(rest));
  }
  for (size_t at = rest.find(from); at != rest.npos && count != 0; at = rest.find(from), --count) {
    out += rest.substr(0, at);
    out += to;
    rest.remove_prefix(at + from.size());
    if (out.size() > engine.output_limit())
      return engine.FailOutput();
  }
  return Text(self, bound, out + std::string(rest));
}

// ---- searching

// The characters [start, end) given by arguments 1 and 2. nullopt if start is after the end.
std::optional<std::string_view> Window(const Value &self, const Bound &bound, int64_t &start) {
  std::string_view text = self.str();
  start = 0;
  if (!bound.HasValue(1) && !bound.HasValue(2))
    return text;
  int64_t size = CountCharacters(text);
  auto clip = [&](int64_t at) { return std::max<int64_t>(at < 0 ? at + size : at, 0); };
  start = bound.HasValue(1) ? clip(bound.Int(1)) : 0;
  int64_t end = bound.HasValue(2) ? std::min(size, clip(bound.Int(2))) : size;
  if (bound.engine.failed() || start > end)
    return std::nullopt;
  auto offset = [&](int64_t character) {
    size_t at = 0;
    for (int64_t i = 0; i < character; ++i)
      at += ReadUtf8(text.substr(at)).length;
    return at;
  };
  size_t begin = offset(start);
  return text.substr(begin, offset(end) - begin);
}
template <bool kRight, bool kMust> Value Find(const Value &self, const Bound &bound) {
  std::string wanted = bound.Text(0);
  int64_t start = 0;
  std::optional<std::string_view> text = Window(self, bound, start);
  size_t at = !text ? std::string_view::npos : kRight ? text->rfind(wanted) : text->find(wanted);
  if (at != std::string_view::npos)
    return Value::Int(start + CountCharacters(text->substr(0, at)));
  return kMust ? bound.engine.Fail(fmt::format("{}: found no {} in the text", bound.function, Quoted(wanted)))
               : Value::Int(-1);
}
Value Count(const Value &self, const Bound &bound) {
  std::string wanted = bound.Text(0);
  int64_t start = 0, count = 0;
  std::optional<std::string_view> text = Window(self, bound, start);
  if (!text || bound.engine.failed())
    return Value::Int(0);
  if (wanted.empty())
    return Value::Int(CountCharacters(*text) + 1);
  for (size_t at = text->find(wanted); at != text->npos; at = text->find(wanted, at + wanted.size()))
    ++count;
  return Value::Int(count);
}
template <bool kStart> Value HasAffix(const Value &self, const Bound &bound) {
  const Value &affix = bound.Get(0);
  List affixes = affix.kind == Kind::kTuple ? *affix.list : List{affix};
  int64_t start = 0;
  std::optional<std::string_view> text = Window(self, bound, start);
  bool found = false;
  for (const Value &each : affixes) {
    if (!each.string())
      return bound.engine.Fail(
          fmt::format("{}: found a {}, expected a string or a tuple of strings", bound.function, TypeName(each)));
    found = found || (text && (kStart ? text->starts_with(each.str()) : text->ends_with(each.str())));
    if (found)
      break;
  }
  return Value::Bool(found);
}

// ---- tests of the characters

utf8proc_category_t Category(uint32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
bool IsAlpha(uint32_t c) {
  utf8proc_category_t category = Category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool IsDecimal(uint32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }
bool IsDigit(uint32_t c) { // Numeric_Type Decimal or Digit
  constexpr std::pair<uint32_t, uint32_t> kDigits[] = {
      {0xB2, 0xB3},     {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},   {0x2070, 0x2070},
      {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247C},   {0x2488, 0x2490},
      {0x24EA, 0x24EA}, {0x24F5, 0x24FD},   {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},
      {0x278A, 0x2792}, {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}};
  return IsDecimal(c) || std::any_of(std::begin(kDigits), std::end(kDigits),
                                     [&](const auto &range) { return c >= range.first && c <= range.second; });
}
bool IsAscii(uint32_t c) { return c < 0x80; }
template <bool (*kTest)(uint32_t), bool kEmpty> Value All(const Value &self, const Bound &bound) {
  std::vector<std::string_view> characters = Characters(self.str());
  return Value::Bool(characters.empty() ? kEmpty
                                        : std::all_of(characters.begin(), characters.end(), [](std::string_view c) {
                                            return kTest(ReadUtf8(c).code_point);
                                          }));
}
template <utf8proc_category_t kWanted> Value IsCase(const Value &self, const Bound &) {
  bool cased = false;
  for (std::string_view c : Characters(self.str())) {
    utf8proc_category_t category = Category(ReadUtf8(c).code_point);
    if (category != kWanted && IsCased(ReadUtf8(c).code_point))
      return Value::Bool(false);
    cased = cased || category == kWanted;
  }
  return Value::Bool(cased);
}
Value IsTitle(const Value &self, const Bound &) {
  bool cased = false, inside = false;
  for (std::string_view c : Characters(self.str())) {
    uint32_t code = ReadUtf8(c).code_point;
    if (IsCased(code)) {
      if ((Category(code) == UTF8PROC_CATEGORY_LL) != inside)
        return Value::Bool(false);
      cased = true;
    }
    inside = IsCased(code);
  }
  return Value::Bool(cased);
}

// ---- formats

Value Format(const Value &self, const Bound &bound) { return bound.engine.BraceFormat(self, bound.all); }
Value FormatMap(const Value &self, const Bound &bound) {
  Arguments arguments;
  if (!bound.Get(0).mapping())
    return bound.engine.Fail("format_map: expected a dict");
  for (const auto &[key, value] : *bound.Get(0).dict)
    if (key.string())
      arguments.named.emplace_back(key.str(), value);
  return bound.engine.BraceFormat(self, arguments);
}

bool IsAlnum(uint32_t c) {
  return IsAlpha(c) || IsDigit(c) || (Category(c) >= UTF8PROC_CATEGORY_ND && Category(c) <= UTF8PROC_CATEGORY_NO);
}

constexpr Function kMethods[] = {
    {"capitalize", "", Map<Capitalized>},
    {"casefold", "", Refused},
    {"center", "/width,fillchar=", Pad<Side::kBoth>},
    {"count", "/sub,start=,end=", Count},
    {"encode", "*", Refused},
    {"endswith", "/suffix,start=,end=", HasAffix<false>},
    {"expandtabs", "tabsize=", ExpandTabs},
    {"find", "/sub,start=,end=", Find<false, false>},
    {"format", "*", Format},
    {"format_map", "/map", FormatMap},
    {"index", "/sub,start=,end=", Find<false, true>},
    {"isalnum", "", All<IsAlnum, false>},
    {"isalpha", "", All<IsAlpha, false>},
    {"isascii", "", All<IsAscii, true>},
    {"isdecimal", "", All<IsDecimal, false>},
    {"isdigit", "", All<IsDigit, false>},
    {"isidentifier", "", Refused},
    {"islower", "", IsCase<UTF8PROC_CATEGORY_LL>},
    {"isnumeric", "", Refused},
    {"isprintable", "", All<IsPrintable, true>},
    {"isspace", "", All<IsPythonSpace, false>},
    {"istitle", "", IsTitle},
    {"isupper", "", IsCase<UTF8PROC_CATEGORY_LU>},
    {"join", "/iterable", Join},
    {"ljust", "/width,fillchar=", Pad<Side::kLeft>},
    {"lower", "", Map<Lower>},
    {"lstrip", "/chars=", Strip<true, false>},
    {"maketrans", "*", Refused},
    {"partition", "/sep", Partition<false>},
    {"removeprefix", "/prefix", RemovePrefix},
    {"removesuffix", "/suffix", RemoveSuffix},
    {"replace", "/old,new,count=", Replace},
    {"rfind", "/sub,start=,end=", Find<true, false>},
    {"rindex", "/sub,start=,end=", Find<true, true>},
    {"rjust", "/width,fillchar=", Pad<Side::kRight>},
    {"rpartition", "/sep", Partition<true>},
    {"rsplit", "sep=,maxsplit=", Split<true>},
    {"rstrip", "/chars=", Strip<false, true>},
    {"split", "sep=,maxsplit=", Split<false>},
    {"splitlines", "keepends=", SplitAtLines},
    {"startswith", "/prefix,start=,end=", HasAffix<true>},
    {"strip", "/chars=", Strip<true, true>},
    {"swapcase", "", Map<SwappedCase>},
    {"title", "", Map<TitleByLetters>},
    {"translate", "*", Refused},
    {"upper", "", Map<Upper>},
    {"zfill", "/width", ZeroFill},
};

} // namespace

std::span<const Function> StringMethods() { return kMethods; }

} // namespace inlay::tokenizer
