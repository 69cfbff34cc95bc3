// Python's formatting operations: str % arguments, and str.format with its format specifications.
#include "formats/tokenizer/template_engine.h"
#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace inlay::tokenizer {
namespace {

using Kind = Value::Kind;

constexpr int64_t kMaxPrecision = 1000;

// A format specification of either operation.
struct Spec {
  std::string fill = " ";
  char align = '\0'; // '<' '>' '^' '=', or none given
  char sign = '-';   // '-' '+' ' '
  bool alternate = false, zero = false;
  char grouping = '\0'; // ',' or '_'
  int64_t width = -1, precision = -1;
  char type = '\0';
  bool for_numbers = false; // a sign, '#' or grouping was given
};

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }

// Removes the leading digits of `rest` and returns their value: -1 if there are none, at most INT32_MAX.
int64_t TakeNumber(std::string_view &rest) {
  int64_t out = rest.empty() || !IsAsciiDigit(rest[0]) ? -1 : 0;
  for (; !rest.empty() && IsAsciiDigit(rest[0]); rest.remove_prefix(1))
    out = std::min<int64_t>(out * 10 + (rest[0] - '0'), INT32_MAX);
  return out;
}

Value Pad(Engine &engine, const Spec &spec, std::string_view prefix, std::string_view text, char default_align,
          std::string &out) {
  int64_t missing = spec.width - CountCharacters(prefix) - CountCharacters(text);
  if (missing > static_cast<int64_t>(engine.output_limit() / spec.fill.size()))
    return engine.FailOutput();
  missing = std::max<int64_t>(missing, 0);
  char align = spec.align ? spec.align : default_align;
  int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  auto fill = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      out += spec.fill;
  };
  if (align == '=') {
    out += prefix;
    fill(missing);
    out += text;
  } else {
    fill(left);
    out += prefix;
    out += text;
    fill(missing - left);
  }
  return {};
}

void Group(std::string &digits, char separator, size_t every) { // up to the decimal point
  size_t end = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  if (size_t exponent = digits.find_first_of("eE"); every == 3 && exponent < end)
    end = exponent;
  while (end > every) {
    end -= every;
    digits.insert(end, 1, separator);
  }
}

// Formats a non-negative number.
std::string FloatDigits(double value, char type, int64_t precision, bool alternate) {
  char format[] = {'%', '#', '.', '*', type, '\0'};
  std::string spec = alternate ? std::string(format) : std::string("%.*") + type;
  int size = std::snprintf(nullptr, 0, spec.c_str(), static_cast<int>(precision), value);
  std::string out(static_cast<size_t>(size), '\0');
  std::snprintf(out.data(), out.size() + 1, spec.c_str(), static_cast<int>(precision), value);
  return out;
}

std::string_view SignOf(bool negative, char sign) {
  return negative ? "-" : sign == '+' ? "+" : sign == ' ' ? " " : "";
}

void FormatFloat(Engine &engine, const Spec &given, double value, std::string &out) {
  Spec spec = given;
  if (spec.precision > kMaxPrecision) {
    engine.FailUnsupported(fmt::format("found a precision of {}, expected at most {}", spec.precision, kMaxPrecision));
    return;
  }
  bool negative = std::signbit(value) && !std::isnan(value);
  double size = std::fabs(value);
  std::string text;
  if (spec.type == '%') {
    text = FloatDigits(size * 100, 'f', spec.precision < 0 ? 6 : spec.precision, spec.alternate) + "%";
  } else if (spec.type == '\0' && spec.precision < 0) {
    text = FloatText(size);
  } else {
    char type = spec.type == '\0' || spec.type == 'n' ? 'g' : spec.type;
    text = FloatDigits(size, type, spec.precision < 0 ? 6 : spec.precision, spec.alternate);
    if (spec.type == '\0' && text.find_first_of(".en") == std::string::npos)
      text += ".0";
  }
  if (spec.grouping)
    Group(text, spec.grouping, 3);
  Pad(engine, spec, SignOf(negative, spec.sign), text, '>', out);
}

// `precision` is the minimum number of digits, as in %.3d.
void FormatInt(Engine &engine, const Spec &spec, int64_t value, std::string &out) {
  uint64_t size = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  char type = spec.type;
  std::string digits = type == 'x'   ? fmt::format("{:x}", size)
                       : type == 'X' ? fmt::format("{:X}", size)
                       : type == 'o' ? fmt::format("{:o}", size)
                       : type == 'b' ? fmt::format("{:b}", size)
                                     : fmt::format("{}", size);
  if (spec.precision > kMaxPrecision) {
    engine.FailUnsupported(fmt::format("found a precision of {}, expected at most {}", spec.precision, kMaxPrecision));
    return;
  }
  if (spec.precision > static_cast<int64_t>(digits.size()))
    digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  if (spec.grouping)
    Group(digits, spec.grouping, type == 'x' || type == 'X' || type == 'o' || type == 'b' ? 4 : 3);
  std::string prefix(SignOf(value < 0, spec.sign));
  if (spec.alternate && std::string_view("xXob").find(type) != std::string_view::npos && type != '\0')
    prefix += std::string("0") + type;
  Pad(engine, spec, prefix, digits, '>', out);
}

void FormatText(Engine &engine, const Spec &spec, std::string_view text, char default_align, std::string &out) {
  if (spec.precision >= 0) {
    size_t end = 0;
    for (int64_t i = 0; i < spec.precision && end < text.size(); ++i)
      end += ReadUtf8(text.substr(end)).length;
    text = text.substr(0, end);
  }
  engine.ChargeBytes(text.size());
  Pad(engine, spec, "", text, default_align, out);
}

// ---- str % arguments

class PercentFormatter {
public:
  PercentFormatter(Engine &engine, const Value &format, const Value &arguments)
      : engine_(engine), markup_(format.markup), rest_(format.str()), arguments_(arguments) {}

  Value Run() {
    std::string out;
    while (!rest_.empty() && !engine_.failed()) {
      size_t percent = std::min(rest_.find('%'), rest_.size());
      out += rest_.substr(0, percent);
      rest_.remove_prefix(percent);
      if (rest_.empty())
        break;
      rest_.remove_prefix(1);
      Convert(out);
      if (out.size() > engine_.output_limit())
        return engine_.FailOutput();
    }
    bool counted = arguments_.kind == Kind::kTuple;
    bool by_name = arguments_.mapping() || arguments_.kind == Kind::kList || arguments_.kind == Kind::kRange ||
                   arguments_.undefined();
    if ((counted && used_ < arguments_.list->size()) || (!counted && !by_name && used_ == 0))
      engine_.Fail("format: found more arguments than conversions in the format");
    return engine_.failed() ? Value() : engine_.MakeString(std::move(out), markup_);
  }

private:
  Value NextArgument() {
    if (arguments_.kind == Kind::kTuple ? used_ < arguments_.list->size() : used_ == 0)
      return arguments_.kind == Kind::kTuple ? (*arguments_.list)[used_++] : (++used_, arguments_);
    return engine_.Fail("format: found fewer arguments than conversions in the format");
  }

  char Take() {
    if (rest_.empty()) {
      engine_.Fail("format: found a '%' at the end, expected a conversion after it");
      return '\0';
    }
    char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }

  int64_t TakeStar() {
    rest_.remove_prefix(1);
    Value number = NextArgument();
    if (!engine_.failed() && !number.integral())
      engine_.Fail("format: found '*' without an int");
    return engine_.failed() ? 0 : std::clamp<int64_t>(number.integer, -INT32_MAX, INT32_MAX);
  }

  void Convert(std::string &out) {
    std::optional<Value> named;
    if (rest_.starts_with('(')) {
      size_t depth = 0, end = 0;
      for (; end < rest_.size(); ++end) {
        depth += rest_[end] == '(' ? 1 : 0;
        if (rest_[end] == ')' && --depth == 0)
          break;
      }
      if (end == rest_.size() || !arguments_.mapping()) {
        engine_.Fail("format: found a name in the format, expected a dict of arguments");
        return;
      }
      Value *found = engine_.FindEntry(*arguments_.dict, Value::String(std::string(rest_.substr(1, end - 1))));
      if (!found) {
        engine_.Fail(fmt::format("format: found no argument {}", Quoted(rest_.substr(1, end - 1))));
        return;
      }
      named = *found;
      rest_.remove_prefix(end + 1);
    }
    Spec spec;
    bool left = false;
    for (; !rest_.empty() && std::string_view("-+ #0").find(rest_[0]) != std::string_view::npos;
         rest_.remove_prefix(1)) {
      left = left || rest_[0] == '-';
      spec.alternate = spec.alternate || rest_[0] == '#';
      spec.zero = spec.zero || rest_[0] == '0';
      if (rest_[0] == '+' || (rest_[0] == ' ' && spec.sign == '-'))
        spec.sign = rest_[0];
    }
    spec.width = rest_.starts_with('*') ? TakeStar() : TakeNumber(rest_);
    if (spec.width < -1) {
      left = true;
      spec.width = -spec.width;
    }
    if (rest_.starts_with('.')) {
      rest_.remove_prefix(1);
      spec.precision = std::max<int64_t>(rest_.starts_with('*') ? TakeStar() : TakeNumber(rest_), 0);
    }
    if (!rest_.empty() && std::string_view("hlL").find(rest_[0]) != std::string_view::npos)
      rest_.remove_prefix(1);
    spec.type = Take();
    if (engine_.failed())
      return;
    if (spec.type == '%') {
      out += '%';
      return;
    }
    if (named)
      used_ = 1;
    Value value = named ? *named : NextArgument();
    spec.align = left ? '<' : '>';
    if (!engine_.failed())
      ConvertValue(spec, left, value, out);
  }

  void ConvertValue(Spec spec, bool left, const Value &value, std::string &out) {
    char type = spec.type;
    if (type == 's' || type == 'r' || type == 'a') {
      std::string text = type == 's' ? engine_.ToText(value) : engine_.ToRepr(value, type == 'a');
      if (markup_ && !value.markup)
        text = EscapedHtml(text);
      return FormatText(engine_, spec, text, '>', out);
    }
    if (type == 'c') {
      std::string text;
      if (value.integral() && value.integer >= 0 && value.integer < 0x110000 &&
          (value.integer < 0xD800 || value.integer > 0xDFFF))
        AppendUtf8(static_cast<uint32_t>(value.integer), text);
      else if (value.string() && CountCharacters(value.str()) == 1)
        text = value.str();
      else
        engine_.Fail("format: expected an int or one character for %c");
      spec.precision = -1;
      return FormatText(engine_, spec, text, '>', out);
    }
    if (value.undefined()) {
      engine_.FailUndefined(value);
      return;
    }
    if (spec.zero && !left) {
      spec.fill = "0";
      spec.align = '=';
    }
    bool real = std::string_view("eEfFgG").find(type) != std::string_view::npos;
    bool whole = std::string_view("diu").find(type) != std::string_view::npos;
    if (!real && !whole && std::string_view("xXo").find(type) == std::string_view::npos)
      engine_.Fail(
          fmt::format("format: found the conversion %{}, expected one of s r a c d i u x X o e E f F g G", type));
    else if (!value.number() || (!real && !whole && !value.integral()))
      engine_.Fail(fmt::format("format: found a {} for %{}, expected a number", TypeName(value), type));
    else if (real)
      FormatFloat(engine_, spec, value.AsReal(), out);
    else if (value.kind == Kind::kFloat && !(std::fabs(value.real) < 9.2e18))
      engine_.Fail("format: found a number of more than 64 bits");
    else
      FormatInt(engine_, spec, value.integral() ? value.integer : static_cast<int64_t>(value.real), out);
  }

  Engine &engine_;
  bool markup_;
  std::string_view rest_;
  const Value &arguments_;
  size_t used_ = 0;
};

// ---- str.format

class BraceFormatter {
public:
  BraceFormatter(Engine &engine, bool markup, const Arguments &arguments)
      : engine_(engine), markup_(markup), arguments_(arguments) {}

  std::string Run(std::string_view rest, int depth) {
    std::string out;
    if (depth < 0)
      engine_.Fail("format: found fields nested too deep");
    while (!rest.empty() && !engine_.failed()) {
      char c = rest[0];
      if (c != '{' && c != '}') {
        size_t end = std::min(rest.find_first_of("{}"), rest.size());
        out += rest.substr(0, end);
        rest.remove_prefix(end);
      } else if (rest.size() > 1 && rest[1] == c) {
        out += c;
        rest.remove_prefix(2);
      } else if (c == '}') {
        engine_.Fail("format: found a single '}', expected '}}' or a field");
      } else {
        rest.remove_prefix(1);
        Field(rest, depth, out);
      }
      if (out.size() > engine_.output_limit())
        engine_.FailOutput();
    }
    return out;
  }

private:
  void Field(std::string_view &rest, int depth, std::string &out) {
    size_t end = 0, level = 1;
    for (; end < rest.size(); ++end) {
      level += rest[end] == '{' ? 1 : 0;
      if (rest[end] == '}' && --level == 0)
        break;
    }
    if (end == rest.size()) {
      engine_.Fail("format: found a '{' without its '}'");
      return;
    }
    std::string_view field = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    size_t name_end = 0;
    for (bool inside = false; name_end < field.size(); ++name_end) {
      char c = field[name_end];
      inside = c == '[' ? true : c == ']' ? false : inside;
      if (!inside && (c == '!' || c == ':'))
        break;
      if (c == '{') {
        engine_.Fail("format: found '{' in the name of a field");
        return;
      }
    }
    std::string_view name = field.substr(0, name_end);
    field.remove_prefix(name_end);
    char conversion = '\0';
    if (field.starts_with('!')) {
      conversion = field.size() > 1 ? field[1] : '?';
      field.remove_prefix(std::min<size_t>(2, field.size()));
      if (!field.empty() && field[0] != ':')
        engine_.Fail("format: expected ':' after the conversion");
    }
    if (!field.empty())
      field.remove_prefix(1);
    Value value = Find(name);
    if (conversion == 's' || conversion == 'r' || conversion == 'a')
      value = engine_.MakeString(conversion == 's' ? engine_.ToText(value) : engine_.ToRepr(value, conversion == 'a'));
    else if (conversion != '\0')
      engine_.Fail("format: expected the conversion s, r or a");
    std::string spec = Run(field, depth - 1);
    if (engine_.failed())
      return;
    std::string text;
    Format(value, spec, text);
    out += markup_ && !value.markup ? EscapedHtml(text) : text;
  }

  Value Find(std::string_view name) {
    size_t first_end = std::min(name.find_first_of(".["), name.size());
    std::string first(name.substr(0, first_end));
    bool digits = !first.empty() && std::all_of(first.begin(), first.end(), IsAsciiDigit);
    if (name.empty()) {
      if (manual_)
        return engine_.Fail("format: found numbered and unnumbered fields, expected one kind");
      first = fmt::format("{}", automatic_++);
      digits = true;
    } else if (std::all_of(name.begin(), name.end(), IsAsciiDigit)) {
      if (automatic_ > 0)
        return engine_.Fail("format: found numbered and unnumbered fields, expected one kind");
      manual_ = true;
    }
    Value value;
    if (digits) {
      std::string_view number = first;
      size_t index = static_cast<size_t>(TakeNumber(number));
      if (index >= arguments_.positional.size())
        return engine_.Fail(fmt::format("format: found no argument {}", first));
      value = arguments_.positional[index];
    } else {
      auto it = std::find_if(arguments_.named.begin(), arguments_.named.end(),
                             [&](const auto &argument) { return argument.first == first; });
      if (it == arguments_.named.end())
        return engine_.Fail(fmt::format("format: found no argument {}", Quoted(first)));
      value = it->second;
    }
    return Walk(value, name.substr(first_end));
  }

  Value Walk(Value value, std::string_view path) {
    while (!path.empty() && !engine_.failed()) {
      bool attribute = path[0] == '.';
      path.remove_prefix(1);
      size_t end = attribute ? std::min(path.find_first_of(".["), path.size()) : path.find(']');
      if (end == path.npos || end == 0)
        return engine_.Fail("format: found an empty name or a '[' without its ']' in a field");
      std::string part(path.substr(0, end));
      path.remove_prefix(end + (attribute ? 0 : 1));
      if (!attribute && !path.empty() && path[0] != '.' && path[0] != '[')
        return engine_.Fail("format: expected '.' or '[' after ']'");
      if (attribute) {
        value = engine_.Attribute(value, part);
      } else if (std::all_of(part.begin(), part.end(), IsAsciiDigit)) {
        std::string_view number = part;
        value = engine_.Index(value, Value::Int(TakeNumber(number)));
      } else {
        value = engine_.Index(value, Value::String(part));
      }
    }
    return value;
  }

  void Format(const Value &value, std::string_view text, std::string &out) {
    if (text.empty()) {
      out = engine_.ToText(value);
      return;
    }
    if ((!value.string() && !value.number()) || (markup_ && value.markup)) {
      engine_.Fail(
          fmt::format("format: found the specification {} for a {}, expected none", Quoted(text), TypeName(value)));
      return;
    }
    std::optional<Spec> spec = ParseSpec(text);
    if (!spec) {
      engine_.Fail(fmt::format("format: found the specification {}", Quoted(text)));
      return;
    }
    if (spec->zero && !spec->align)
      spec->align = value.string() ? '<' : '=';
    if (spec->grouping && spec->zero) {
      engine_.FailUnsupported("format: found zero padding with grouping, expected only one of them");
      return;
    }
    if (value.string())
      FormatString(*spec, value, out);
    else
      FormatNumber(*spec, value, out);
  }

  void FormatString(const Spec &spec, const Value &value, std::string &out) {
    if ((spec.type && spec.type != 's') || spec.align == '=' || spec.for_numbers)
      engine_.Fail("format: found a specification for numbers, expected one for strings");
    else
      FormatText(engine_, spec, value.str(), '<', out);
  }

  void FormatNumber(const Spec &spec, const Value &value, std::string &out) {
    bool real = value.kind == Kind::kFloat || std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
    if (spec.type == '\0')
      real = value.kind == Kind::kFloat;
    constexpr std::string_view kReal = "eEfFgG%n", kWhole = "bdoxXn";
    bool known = spec.type == '\0' || (real ? kReal : kWhole).find(spec.type) != std::string_view::npos;
    if (spec.type == 'c' && !real)
      engine_.FailUnsupported("format: found the type c, expected another");
    else if (!known || (!real && spec.precision >= 0) ||
             (spec.grouping == ',' && std::string_view("boxXn").find(spec.type) != std::string_view::npos && spec.type))
      engine_.Fail(fmt::format("format: found a specification that is invalid for a {}", TypeName(value)));
    else if (real)
      FormatFloat(engine_, spec, value.AsReal(), out);
    else
      FormatInt(engine_, spec, value.integer, out);
  }

  // [[fill]align][sign][#][0][width][grouping][.precision][type]
  static std::optional<Spec> ParseSpec(std::string_view rest) {
    Spec spec;
    constexpr std::string_view kAligns = "<>^=";
    size_t first = ReadUtf8(rest).length;
    if (first < rest.size() && kAligns.find(rest[first]) != kAligns.npos) {
      spec.fill = rest.substr(0, first);
      spec.align = rest[first];
      rest.remove_prefix(first + 1);
    } else if (kAligns.find(rest[0]) != kAligns.npos) {
      spec.align = rest[0];
      rest.remove_prefix(1);
    }
    auto take = [&](std::string_view any) {
      char c = !rest.empty() && any.find(rest[0]) != any.npos ? rest[0] : '\0';
      rest.remove_prefix(c ? 1 : 0);
      return c;
    };
    if (char sign = take("+- ")) {
      spec.sign = sign;
      spec.for_numbers = true;
    }
    if (take("#"))
      spec.alternate = spec.for_numbers = true;
    if (take("0")) {
      spec.zero = true;
      if (!spec.align)
        spec.fill = "0";
    }
    spec.width = TakeNumber(rest);
    if (char grouping = take(",_")) {
      spec.grouping = grouping;
      spec.for_numbers = true;
    }
    if (take(".")) {
      spec.precision = TakeNumber(rest);
      if (spec.precision < 0)
        return std::nullopt;
    }
    if (!rest.empty()) {
      spec.type = rest[0];
      rest.remove_prefix(1);
    }
    return rest.empty() ? std::optional(spec) : std::nullopt;
  }

  Engine &engine_;
  bool markup_;
  const Arguments &arguments_;
  int64_t automatic_ = 0;
  bool manual_ = false;
};

} // namespace

Value Engine::PercentFormat(const Value &format, const Value &arguments) {
  return failed() ? Value() : PercentFormatter(*this, format, arguments).Run();
}

Value Engine::BraceFormat(const Value &format, const Arguments &arguments) {
  if (failed())
    return {};
  std::string out = BraceFormatter(*this, format.markup, arguments).Run(format.str(), 2);
  return failed() ? Value() : MakeString(std::move(out), format.markup);
}

} // namespace inlay::tokenizer
