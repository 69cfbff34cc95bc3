// The template filters that convert one value to a text or a number.
#include "formats/tokenizer/template_tables.h"
#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/template_wrap.h"
#include "formats/tokenizer/unicode.h"
#include "formats/tokenizer/unicode_properties.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace inlay::tokenizer {
namespace {

using Kind = Value::Kind;

// ---- text

template <std::string (*kMap)(std::string_view)> Value MapText(const Value &value, const Bound &bound) {
  return bound.engine.MakeString(kMap(bound.engine.ToText(value)), value.markup);
}
Value FilterString(const Value &value, const Bound &bound) {
  return bound.engine.MakeString(bound.engine.ToText(value), value.markup);
}
Value FilterSafe(const Value &value, const Bound &bound) {
  return bound.engine.MakeString(bound.engine.ToText(value), true);
}
Value FilterEscape(const Value &value, const Bound &bound) {
  std::string text = bound.engine.ToText(value);
  return bound.engine.MakeString(value.markup ? text : EscapedHtml(text), true);
}
Value FilterForceEscape(const Value &value, const Bound &bound) {
  return bound.engine.MakeString(EscapedHtml(bound.engine.ToText(value)), true);
}
Value FilterTrim(const Value &value, const Bound &bound) {
  std::optional<std::string> chars;
  if (bound.HasValue(0))
    chars = bound.Text(0);
  std::string text = bound.engine.ToText(value);
  return bound.engine.MakeString(std::string(Stripped(text, true, true, chars)), value.markup);
}
Value FilterReplace(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  Arguments arguments;
  arguments.positional = {Value::String(engine.ToText(bound.Get(0))), Value::String(engine.ToText(bound.Get(1))),
                          Value::Int(bound.HasValue(2) ? bound.Int(2) : -1)};
  Value text = Value::String(engine.ToText(value));
  return CallFunction(engine, *FindMethod(text, "replace"), text, arguments);
}
Value FilterCenter(const Value &value, const Bound &bound) {
  Value text = bound.engine.MakeString(bound.engine.ToText(value), value.markup);
  Arguments arguments;
  arguments.positional = {Value::Int(bound.Int(0, 80))};
  return bound.engine.failed() ? Value() : CallFunction(bound.engine, *FindMethod(text, "center"), text, arguments);
}
Value FilterIndent(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  if (!value.string())
    return engine.Fail(fmt::format("indent: found a {}, expected a string", TypeName(value)));
  int64_t width = 4;
  std::string margin;
  if (bound.Has(0) && bound.Get(0).string())
    margin = bound.Get(0).str();
  else if ((width = bound.Int(0, 4)) > static_cast<int64_t>(engine.output_limit()))
    return engine.FailOutput();
  else
    margin.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  bool blank = bound.Flag(2);
  std::string text = value.str() + "\n", out = bound.Flag(1) ? margin : "";
  bool first = true;
  for (std::string_view line : SplitLines(text, false)) {
    if (!first)
      engine.Append(out, "\n");
    if (!first && (blank || !line.empty()))
      engine.Append(out, margin);
    engine.Append(out, line);
    if (engine.failed())
      return {};
    first = false;
  }
  return engine.MakeString(std::move(out), value.markup);
}
Value FilterTruncate(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  int64_t length = bound.Int(0, 255), leeway = bound.HasValue(3) ? bound.Int(3) : 5;
  std::string end = bound.Has(2) ? bound.Text(2) : "...";
  int64_t end_length = CountCharacters(end);
  std::optional<int64_t> size = engine.Length(value);
  if (engine.failed())
    return {};
  if (length < end_length || leeway < 0 || !size)
    return engine.Fail(fmt::format("truncate: found a {}, the length {} and the leeway {}, expected a string, a length "
                                   "of at least {} and a leeway of at least 0",
                                   TypeName(value), length, leeway, end_length));
  int64_t most = 0;
  if (__builtin_add_overflow(length, leeway, &most) || *size <= most)
    return value;
  if (!value.string())
    return engine.Fail(fmt::format("truncate: found a {}, expected a string", TypeName(value)));
  std::string out;
  std::vector<std::string_view> characters = Characters(value.str());
  for (int64_t i = 0; i < length - end_length; ++i)
    out += characters[static_cast<size_t>(i)];
  if (!bound.Flag(1))
    if (size_t space = out.rfind(' '); space != std::string::npos)
      out.resize(space);
  return engine.MakeString(out + end, value.markup);
}
Value FilterWordCount(const Value &value, const Bound &bound) {
  int64_t count = 0;
  bool inside = false;
  std::string text = bound.engine.ToText(value);
  bound.engine.ChargeBytes(text.size());
  for (std::string_view c : Characters(text)) {
    bool word = IsWordCharacter(ReadUtf8(c).code_point);
    count += word && !inside;
    inside = word;
  }
  return Value::Int(count);
}
Value FilterWordWrap(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  int64_t width = bound.Int(0, 79);
  if (!value.string() || width <= 0)
    return engine.Fail(
        fmt::format("wordwrap: found a {} and the width {}, expected a string and at least 1", TypeName(value), width));
  std::string separator = bound.HasValue(2) ? bound.Text(2) : "\n", out;
  bool first_paragraph = true;
  for (std::string_view paragraph : SplitLines(value.str(), false)) {
    if (!std::exchange(first_paragraph, false))
      engine.Append(out, separator);
    bool first_line = true;
    for (const std::string &line : WrapText(paragraph, width, bound.Flag(1, true), bound.Flag(3, true))) {
      if (!std::exchange(first_line, false))
        engine.Append(out, separator);
      engine.Append(out, line);
      if (engine.failed())
        return {};
    }
  }
  return engine.MakeString(std::move(out));
}
Value FilterFormat(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  if (!bound.all.positional.empty() && !bound.all.named.empty())
    return engine.Fail("format: found positional and named arguments, expected one kind");
  Value format = engine.MakeString(engine.ToText(value), value.markup);
  if (bound.all.named.empty())
    return engine.PercentFormat(format, engine.arena.MakeTuple(bound.all.positional));
  Dict entries;
  for (const auto &[name, argument] : bound.all.named)
    entries.emplace_back(Value::String(name), argument);
  return engine.PercentFormat(format, engine.arena.MakeDict(std::move(entries)));
}

// ---- markup

void AppendQuoted(std::string_view text, bool query, std::string &out) {
  for (char c : text) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !query);
    if (plain)
      out += c;
    else if (c == ' ' && query)
      out += '+';
    else
      out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
  }
}
Value FilterUrlEncode(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  std::string out;
  List pairs;
  if (value.mapping()) {
    for (const auto &[key, entry] : *value.dict)
      pairs.push_back(engine.arena.MakeTuple({key, entry}));
  } else if (value.string() || value.none() || value.number() || value.kind == Kind::kCallable ||
             value.kind == Kind::kNamespace) {
    AppendQuoted(engine.ToText(value), false, out);
    return engine.MakeString(std::move(out));
  } else {
    pairs = engine.ToList(value);
  }
  for (const Value &pair : pairs) {
    List both = engine.ToList(pair);
    if (!engine.failed() && both.size() != 2)
      engine.Fail("urlencode: found an item that is not a pair, expected a dict or a list of pairs");
    if (engine.failed())
      return {};
    out += out.empty() ? "" : "&";
    AppendQuoted(engine.ToText(both[0]), true, out);
    out += '=';
    AppendQuoted(engine.ToText(both[1]), true, out);
  }
  return engine.MakeString(std::move(out));
}
Value FilterXmlAttr(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  if (!value.mapping())
    return engine.Fail(fmt::format("xmlattr: found a {}, expected a dict", TypeName(value)));
  std::string out;
  for (const auto &[key, entry] : *value.dict) {
    if (entry.none() || entry.undefined())
      continue;
    if (!key.string() || key.str().find_first_of(" \t\n\r\f\v/>=") != std::string::npos)
      return engine.Fail("xmlattr: found a key that is not an attribute name");
    std::string text = engine.ToText(entry);
    out += (out.empty() ? "" : " ") + (key.markup ? key.str() : EscapedHtml(key.str())) + "=\"" +
           (entry.markup ? text : EscapedHtml(text)) + "\"";
  }
  return engine.MakeString(bound.Flag(0, true) && !out.empty() ? " " + out : out);
}
// Replaces the character references that templates use. HTML has 2,231 names; others are refused.
bool AppendUnescaped(Engine &engine, std::string_view text, std::string &out) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&#34;", "\""}};
  while (!text.empty()) {
    size_t at = std::min(text.find('&'), text.size());
    out += text.substr(0, at);
    text.remove_prefix(at);
    if (text.empty())
      break;
    auto known = std::find_if(std::begin(kNames), std::end(kNames),
                              [&](const auto &name) { return text.starts_with(name.first); });
    if (known != std::end(kNames)) {
      out += known->second;
      text.remove_prefix(known->first.size());
    } else if (text.size() > 1 && (text[1] == '#' || std::isalnum(static_cast<uint8_t>(text[1])))) {
      engine.FailUnsupported("striptags: found a character reference other than &amp; &lt; &gt; &quot; &#39; &#34;");
      return false;
    } else {
      out += '&';
      text.remove_prefix(1);
    }
  }
  return true;
}
Value FilterStripTags(const Value &value, const Bound &bound) {
  std::string text = bound.engine.ToText(value), kept;
  size_t at = 0;
  for (size_t begin = text.find('<'); begin != text.npos; begin = text.find('<', at)) {
    bool comment = text.compare(begin, 4, "<!--") == 0;
    size_t end = comment ? text.find("-->", begin + 4) : text.find('>', begin);
    if (end == text.npos)
      break;
    kept.append(text, at, begin - at);
    at = end + (comment ? 3 : 1);
  }
  kept.append(text, at);
  std::string out;
  for (std::string_view word : SplitSpace(kept, UINT64_MAX, false)) {
    out += out.empty() ? "" : " ";
    if (!AppendUnescaped(bound.engine, word, out))
      return {};
  }
  return bound.engine.MakeString(std::move(out), true);
}

// tojson of transformers, which does not escape HTML.
Value FilterToJson(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  JsonStyle style;
  style.ascii = bound.Flag(0);
  style.sort_keys = bound.Flag(3);
  if (bound.HasValue(1)) {
    int64_t width = bound.Get(1).string() ? 0 : bound.Int(1);
    if (width > static_cast<int64_t>(engine.output_limit()))
      return engine.FailOutput();
    style.indent =
        bound.Get(1).string() ? bound.Get(1).str() : std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    style.item_separator = ",";
  }
  if (bound.HasValue(2)) {
    List both = engine.ToList(bound.Get(2));
    if (both.size() != 2 || !both[0].string() || !both[1].string())
      return engine.Fail("tojson: found separators that are not two strings");
    style.item_separator = both[0].str();
    style.key_separator = both[1].str();
  }
  return engine.MakeString(engine.ToJson(value, style));
}

// ---- numbers

Value FilterAbs(const Value &value, const Bound &bound) {
  if (value.kind == Kind::kFloat)
    return Value::Float(std::fabs(value.real));
  return value.integral() && value.integer >= 0 ? Value::Int(value.integer) : bound.engine.Unary("-", value);
}
Value Truncated(Engine &engine, double real) {
  if (std::fabs(real) < 9.2e18)
    return Value::Int(static_cast<int64_t>(real));
  return engine.Fail("int: found a number of more than 64 bits");
}
Value FilterInt(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  Value otherwise = bound.Has(0) ? bound.Get(0) : Value::Int(0);
  if (value.undefined())
    return engine.FailUndefined(value);
  if (value.integral())
    return Value::Int(value.integer);
  if (value.kind == Kind::kWideInt)
    return value;
  if (value.kind == Kind::kFloat)
    return std::isnan(value.real) ? otherwise : Truncated(engine, value.real);
  if (!value.string())
    return otherwise;
  bool overflow = false, base_ok = !bound.Has(1) || bound.Get(1).integral();
  std::optional<int64_t> integer =
      base_ok ? ParseInt(value.str(), bound.Int(1, 10), overflow) : std::optional<int64_t>();
  if (overflow)
    return engine.Fail("int: found a number of more than 64 bits");
  if (integer)
    return Value::Int(*integer);
  std::optional<double> real = ParseFloat(value.str());
  return real && std::isfinite(*real) ? Truncated(engine, *real) : otherwise;
}
Value FilterFloat(const Value &value, const Bound &bound) {
  if (value.undefined())
    return bound.engine.FailUndefined(value);
  if (value.number())
    return Value::Float(value.AsReal());
  std::optional<double> real = value.string() || value.kind == Kind::kWideInt ? ParseFloat(value.str()) : std::nullopt;
  return real ? Value::Float(*real) : bound.Has(0) ? bound.Get(0) : Value::Float(0);
}
// Rounds the exact value of the number, half to even.
double RoundedReal(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 323)
    return value;
  if (digits < -308)
    return 0.0 * value;
  if (digits < 0) {
    double power = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(value / power) * power;
  }
  std::string text = fmt::format("{:.{}f}", value, digits);
  double out = value;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}
Value RoundedInt(Engine &engine, int64_t value, int64_t digits) {
  if (digits >= 0)
    return Value::Int(value);
  if (digits < -18)
    return Value::Int(0);
  int64_t power = 1, down = 0;
  for (int64_t i = digits; i < 0; ++i)
    power *= 10;
  int64_t rest = ((value % power) + power) % power;
  if (__builtin_sub_overflow(value, rest, &down))
    return engine.Fail("round: found a result of more than 64 bits");
  bool odd = down / power % 2 != 0;
  bool up = rest > power - rest || (rest == power - rest && odd);
  return up && __builtin_add_overflow(down, power, &down) ? engine.Fail("round: found a result of more than 64 bits")
                                                          : Value::Int(down);
}
Value FilterRound(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  std::string method = bound.Has(1) ? bound.Text(1) : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    return engine.Fail(fmt::format("round: found the method {}, expected common, ceil or floor", Quoted(method)));
  bool none = bound.Has(0) && bound.Get(0).none() && method == "common"; // round(x, None) is an int
  int64_t digits = none ? 0 : bound.Int(0, 0);
  if (value.undefined())
    return engine.FailUndefined(value);
  if (!value.number())
    return engine.Fail(fmt::format("round: found a {}, expected a number", TypeName(value)));
  if (method == "common") {
    if (value.integral())
      return RoundedInt(engine, value.integer, digits);
    double out = RoundedReal(value.real, digits);
    return none ? Truncated(engine, out) : Value::Float(out);
  }
  double power = std::pow(10.0, static_cast<double>(digits)), scaled = value.AsReal() * power;
  if (!std::isfinite(scaled) || power == 0 || std::isinf(power))
    return engine.Fail("round: found a number that is not finite");
  return Value::Float(((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) + 0.0) / power); // no -0.0
}
Value FilterFileSize(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  std::optional<double> bytes = value.number()   ? std::optional(value.AsReal())
                                : value.string() ? ParseFloat(value.str())
                                                 : std::nullopt;
  if (!bytes)
    return engine.Fail(fmt::format("filesizeformat: found a {}, expected a number", TypeName(value)));
  bool binary = bound.Flag(0);
  double base = binary ? 1024 : 1000, unit = base;
  if (*bytes == 1)
    return Value::String("1 Byte");
  if (*bytes < base) {
    Value whole = Truncated(engine, *bytes);
    return Value::String(fmt::format("{} Bytes", whole.integer));
  }
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  for (size_t i = 0;; ++i) {
    unit *= base;
    if (*bytes < unit || i + 1 == kPrefixes.size()) {
      char prefix = binary && i == 0 ? 'K' : kPrefixes[i];
      return Value::String(fmt::format("{:.1f} {}{}", base * *bytes / unit, prefix, binary ? "iB" : "B"));
    }
  }
}

constexpr Function kFilters[] = {
    {"abs", "", FilterAbs},
    {"capitalize", "", MapText<Capitalized>},
    {"center", "width=", FilterCenter},
    {"e", "", FilterEscape},
    {"escape", "", FilterEscape},
    {"filesizeformat", "binary=", FilterFileSize},
    {"float", "default=", FilterFloat},
    {"forceescape", "", FilterForceEscape},
    {"format", "*", FilterFormat},
    {"indent", "width=,first=,blank=", FilterIndent},
    {"int", "default=,base=", FilterInt},
    {"lower", "", MapText<Lower>},
    {"replace", "old,new,count=", FilterReplace},
    {"round", "precision=,method=", FilterRound},
    {"safe", "", FilterSafe},
    {"string", "", FilterString},
    {"striptags", "", FilterStripTags},
    {"title", "", MapText<TitleByWords>},
    {"tojson", "ensure_ascii=,indent=,separators=,sort_keys=", FilterToJson},
    {"trim", "chars=", FilterTrim},
    {"truncate", "length=,killwords=,end=,leeway=", FilterTruncate},
    {"upper", "", MapText<Upper>},
    {"urlencode", "", FilterUrlEncode},
    {"wordcount", "", FilterWordCount},
    {"wordwrap", "width=,break_long_words=,wrapstring=,break_on_hyphens=", FilterWordWrap},
    {"xmlattr", "autospace=", FilterXmlAttr},
};

} // namespace

std::span<const Function> TextFilters() { return kFilters; }

} // namespace inlay::tokenizer
