#include "runtime/serve/python_literal.h"

#include "runtime/serve/fields.h"
#include "runtime/serve/json_scanner.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace inlay::serve {
namespace {

constexpr int kMaxDepth = 32;

void AppendUtf8(uint32_t code, std::string &out) {
  auto add = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80)
    return add(code);
  if (code < 0x800) {
    add(0xC0 | code >> 6);
    return add(0x80 | (code & 0x3F));
  }
  if (code < 0x10000) {
    add(0xE0 | code >> 12);
  } else {
    add(0xF0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3F));
  }
  add(0x80 | (code >> 6 & 0x3F));
  add(0x80 | (code & 0x3F));
}

// A recursive-descent parser of one complete literal.
class Converter {
public:
  explicit Converter(std::string_view text) : rest_(text) {}

  bool Convert(std::string &out) {
    if (!Value(out, 0))
      return false;
    SkipSpace();
    return rest_.empty();
  }

private:
  void SkipSpace() {
    while (!rest_.empty() && std::string_view(" \t\r\n").find(rest_.front()) != std::string_view::npos)
      rest_.remove_prefix(1);
  }
  bool Accept(std::string_view word) {
    if (!rest_.starts_with(word))
      return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  bool Value(std::string &out, int depth) {
    SkipSpace();
    if (rest_.empty() || depth > kMaxDepth)
      return false;
    char c = rest_.front();
    if (c == '\'' || c == '"') {
      std::string text;
      if (!String(text))
        return false;
      out += JsonStringOf(text);
      return true;
    }
    if (c == '[')
      return Items(']', out, depth);
    if (c == '{')
      return Items('}', out, depth);
    if (c == '-' || c == '+' || c == '.' || (c >= '0' && c <= '9'))
      return Number(out);
    return Word(out);
  }

  bool Word(std::string &out) {
    size_t size = 0;
    while (size < rest_.size() && std::isalnum(static_cast<unsigned char>(rest_[size])))
      ++size;
    std::string_view word = rest_.substr(0, size);
    rest_.remove_prefix(size);
    if (word == "True" || word == "true")
      out += "true";
    else if (word == "False" || word == "false")
      out += "false";
    else if (word == "None" || word == "null")
      out += "null";
    else
      return false;
    return true;
  }

  // Converts the items of a list, or of a dictionary whose keys are strings.
  bool Items(char close, std::string &out, int depth) {
    out += rest_.front();
    rest_.remove_prefix(1);
    for (bool is_first = true;; is_first = false) {
      SkipSpace();
      if (rest_.starts_with(close))
        break;
      if (!is_first)
        out += ", ";
      if (close == '}') {
        std::string name;
        if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"') || !String(name))
          return false;
        SkipSpace();
        if (!Accept(":"))
          return false;
        out += JsonStringOf(name) + ": ";
      }
      if (!Value(out, depth + 1))
        return false;
      SkipSpace();
      if (!Accept(","))
        break;
    }
    if (!rest_.starts_with(close))
      return false;
    rest_.remove_prefix(1);
    out += close;
    return true;
  }

  bool Number(std::string &out) {
    size_t size = 0;
    while (size < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[size])) ||
                                   std::string_view("+-._").find(rest_[size]) != std::string_view::npos))
      ++size;
    std::string number(rest_.substr(0, size));
    rest_.remove_prefix(size);
    std::erase(number, '_');
    if (number.starts_with('+'))
      number.erase(0, 1);
    bool is_negative = number.starts_with('-');
    if (is_negative)
      number.erase(0, 1);
    // Forms that JSON does not allow: 0x10, 1., .5
    if (number.starts_with("0x") || number.starts_with("0X")) {
      uint64_t value = 0;
      auto [end, error] = std::from_chars(number.data() + 2, number.data() + number.size(), value, 16);
      if (error != std::errc() || end != number.data() + number.size())
        return false;
      number = std::to_string(value);
    }
    if (number.starts_with('.'))
      number.insert(0, "0");
    if (size_t point = number.find('.');
        point != std::string::npos &&
        (point + 1 == number.size() || !std::isdigit(static_cast<unsigned char>(number[point + 1]))))
      number.insert(point + 1, "0");
    JsonScanner scanner;
    scanner.Take('[');
    for (char c : number)
      if (scanner.Take(c) == JsonScanner::Event::kBad)
        return false;
    if (number.empty() || !std::isdigit(static_cast<unsigned char>(number.front())) ||
        scanner.Take(']') == JsonScanner::Event::kBad || !std::isfinite(std::strtod(number.c_str(), nullptr)))
      return false;
    out += is_negative ? "-" + number : number;
    return true;
  }

  bool String(std::string &out) {
    std::string_view quote = rest_.substr(0, 1);
    if (rest_.starts_with("'''") || rest_.starts_with("\"\"\""))
      quote = rest_.substr(0, 3);
    rest_.remove_prefix(quote.size());
    while (!Accept(quote)) {
      if (rest_.empty())
        return false;
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c != '\\')
        out += c;
      else if (!Escape(out))
        return false;
    }
    return true;
  }

  bool Code(size_t digits, std::string &out) {
    uint32_t code = 0;
    if (rest_.size() < digits)
      return false;
    auto [end, error] = std::from_chars(rest_.data(), rest_.data() + digits, code, 16);
    if (error != std::errc() || end != rest_.data() + digits || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      return false;
    rest_.remove_prefix(digits);
    AppendUtf8(code, out);
    return true;
  }

  bool Escape(std::string &out) {
    constexpr std::string_view kNames = "\\'\"abfnrtv", kMeanings = "\\'\"\a\b\f\n\r\t\v";
    if (rest_.empty())
      return false;
    char c = rest_.front();
    if (size_t at = kNames.find(c); at != std::string_view::npos) {
      out += kMeanings[at];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      rest_.remove_prefix(1);
      return Code(c == 'x' ? 2 : c == 'u' ? 4 : 8, out);
    } else if (c != '\n') { // an unknown escape stands for itself
      out += '\\';
      out += c;
    }
    rest_.remove_prefix(1);
    return true;
  }

  std::string_view rest_;
};

} // namespace

std::string JsonStringOf(std::string_view text) {
  return Json(std::string(text)).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

bool PythonLiteralToJson(std::string_view python, std::string &json) { return Converter(python).Convert(json); }

bool PythonLiteral::Take(char c) {
  if (in_string_) {
    text_ += c;
    if (std::exchange(is_escaped_, false))
      return true;
    is_escaped_ = c == '\\';
    // Three quotes open a long string. Two quotes are an empty string if the next byte is not a quote.
    std::string_view string = std::string_view(text_).substr(string_begin_);
    if (quote_.size() == 1 && string.size() == 3 && string[1] == quote_[0]) {
      if (c == quote_[0]) {
        quote_ = std::string(3, c);
        return true;
      }
      text_.pop_back();
      in_string_ = is_escaped_ = false;
      return Take(c);
    }
    bool is_empty_or_long = string.size() == 2;
    if (!is_empty_or_long && string.size() >= 2 * quote_.size() && string.ends_with(quote_))
      in_string_ = false;
    return true;
  }
  switch (c) {
  case ',':
  case ')':
    if (nesting_.empty())
      return false;
    break;
  case '\'':
  case '"':
    in_string_ = true;
    quote_ = c;
    string_begin_ = text_.size();
    break;
  case '[':
  case '{':
  case '(':
    nesting_ += c;
    break;
  case ']':
  case '}':
    if (nesting_.empty())
      is_bad_ = true;
    break;
  default:
    break;
  }
  if ((c == ')' || c == ']' || c == '}') && !nesting_.empty()) {
    char open = c == ')' ? '(' : c == ']' ? '[' : '{';
    is_bad_ |= nesting_.back() != open;
    nesting_.pop_back();
  }
  text_ += c;
  return true;
}

} // namespace inlay::serve
