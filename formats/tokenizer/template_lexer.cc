#include "formats/tokenizer/template_lexer.h"

#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/unicode.h"
#include "formats/tokenizer/unicode_properties.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace inlay::tokenizer {
namespace {

// The size of the leading and trailing white space of a text in bytes.
size_t SpaceBefore(std::string_view text) { return text.size() - Stripped(text, true, false).size(); }
size_t SpaceAfter(std::string_view text) { return text.size() - Stripped(text, false, true).size(); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The size of the leading word characters in bytes.
size_t NameSize(std::string_view text) {
  size_t size = 0;
  while (size < text.size()) {
    Utf8Prefix c = ReadUtf8(text.substr(size));
    if (!IsWordCharacter(c.code_point))
      break;
    size += c.length;
  }
  return size;
}

class Lexer {
public:
  Lexer(std::string_view source, std::string_view file) : file_(file) {
    for (size_t i = 0; i < source.size(); ++i) { // normalize line ends as Jinja does
      if (source[i] != '\r')
        source_ += source[i];
      else if (i + 1 == source.size() || source[i + 1] != '\n')
        source_ += '\n';
    }
    if (source_.ends_with('\n'))
      source_.pop_back();
  }

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < source_.size() && status_.ok()) {
      size_t tag = source_.find('{', at_);
      while (tag != source_.npos &&
             (tag + 1 >= source_.size() || std::string_view("{%#").find(source_[tag + 1]) == std::string_view::npos))
        tag = source_.find('{', tag + 1);
      ReadText(tag == source_.npos ? source_.size() : tag);
      if (tag == source_.npos)
        break;
      char kind = source_[tag + 1];
      at_ = tag + 2;
      if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+'))
        ++at_;
      if (kind == '#')
        ReadComment();
      else if (kind == '%' && !ReadRaw())
        ReadTag("%}", Token::Kind::kBlockBegin, Token::Kind::kBlockEnd);
      else if (kind == '{')
        ReadTag("}}", Token::Kind::kOutputBegin, Token::Kind::kOutputEnd);
    }
    if (!status_.ok())
      return status_;
    return std::move(tokens_);
  }

private:
  void Fail(std::string_view message) {
    if (status_.ok())
      status_ = absl::InvalidArgumentError(fmt::format("{}: line {}: {}", file_, line_, message));
  }

  void Add(Token::Kind kind, std::string_view text) { tokens_.push_back({kind, line_, std::string(text)}); }

  // Advances to `end` and counts lines.
  void MoveTo(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + at_, source_.begin() + end, '\n'));
    at_ = end;
  }

  // Reads the text up to the tag at `end` (or up to the end of the source), without the white space that the tag
  // strips.
  void ReadText(size_t end) {
    std::string_view text = std::string_view(source_).substr(at_, end - at_);
    char kind = end + 1 < source_.size() ? source_[end + 1] : '\0';
    char sign = end + 2 < source_.size() ? source_[end + 2] : '\0';
    if (end < source_.size() && sign == '-') {
      text.remove_suffix(SpaceAfter(text));
    } else if (end < source_.size() && sign != '+' && kind != '{') { // lstrip_blocks
      size_t line_begin = text.rfind('\n') + 1;                      // 0 if there is no newline
      if ((line_begin > 0 || line_starting_) && SpaceBefore(text.substr(line_begin)) == text.size() - line_begin)
        text = text.substr(0, line_begin);
    }
    if (!text.empty())
      Add(Token::Kind::kText, text);
    MoveTo(end);
  }

  // Skips the white space after a tag that ends at `end`: a newline (trim_blocks), or all white space after `-`.
  void EndTag(size_t end, char sign, bool trims) {
    size_t next = end;
    if (sign == '-') {
      next += SpaceBefore(std::string_view(source_).substr(next));
    } else if (trims && sign != '+' && next < source_.size() && source_[next] == '\n') {
      ++next;
    }
    line_starting_ = source_[next - 1] == '\n';
    MoveTo(next);
  }

  void ReadComment() {
    if (at_ == source_.size()) // as in jinja2, this is not an error
      return;
    size_t end = source_.find("#}", at_);
    if (end == source_.npos)
      return Fail("found a comment without '#}', expected its end");
    char sign = end > at_ ? source_[end - 1] : '\0';
    EndTag(end + 2, sign, true);
  }

  // Reads {% raw %} ... {% endraw %} as plain text. Returns false for other tags.
  bool ReadRaw() {
    auto tag = [&](size_t at, std::string_view name, std::string_view signs, size_t &end, char &sign) {
      auto skip = [&] { at += SpaceBefore(std::string_view(source_).substr(std::min(at, source_.size()))); };
      skip();
      if (std::string_view(source_).substr(std::min(at, source_.size()), name.size()) != name)
        return false;
      at += name.size();
      skip();
      sign = at < source_.size() && signs.find(source_[at]) != signs.npos ? source_[at++] : '\0';
      end = at + 2;
      return std::string_view(source_).substr(std::min(at, source_.size()), 2) == "%}";
    };
    size_t end = 0;
    char sign = '\0';
    if (!tag(at_, "raw", "-", end, sign))
      return false;
    EndTag(end, sign, /*trims=*/false); // only {% endraw %} strips a newline
    if (at_ == source_.size())
      return true;
    for (size_t begin = source_.find("{%", at_); begin != source_.npos; begin = source_.find("{%", begin + 2)) {
      size_t inner = begin + 2;
      if (inner < source_.size() && (source_[inner] == '-' || source_[inner] == '+'))
        ++inner;
      if (tag(inner, "endraw", "-+", end, sign)) {
        ReadText(begin);
        EndTag(end, sign, true);
        return true;
      }
    }
    Fail("found 'raw' without 'endraw'");
    return true;
  }

  void ReadTag(std::string_view close, Token::Kind begin_kind, Token::Kind end_kind) {
    Add(begin_kind, "");
    int brackets = 0;
    while (status_.ok()) {
      MoveTo(at_ + SpaceBefore(std::string_view(source_).substr(at_)));
      if (at_ == source_.size())
        return Fail(fmt::format("found the end of the template, expected '{}'", close));
      std::string_view rest = std::string_view(source_).substr(at_);
      if (brackets == 0) {
        bool output = end_kind == Token::Kind::kOutputEnd;
        char sign = rest[0] == '-' || (rest[0] == '+' && !output) ? rest[0] : '\0';
        if (rest.substr(sign ? 1 : 0).starts_with(close)) {
          Add(end_kind, close);
          return EndTag(at_ + (sign ? 1 : 0) + 2, sign, !output);
        }
      }
      char c = rest[0];
      if (!IsDigit(c) && NameSize(rest) > 0) {
        size_t size = NameSize(rest);
        Add(Token::Kind::kName, rest.substr(0, size));
        MoveTo(at_ + size);
      } else if (IsDigit(c)) {
        ReadNumber(rest);
      } else if (c == '\'' || c == '"') {
        ReadString(rest);
      } else {
        ReadOperator(rest, brackets);
      }
    }
  }

  void ReadNumber(std::string_view rest) {
    // Reads digits with single underscores between them, starting at `size`. Returns false if there are none.
    size_t size = 0;
    auto digits = [&](std::string_view allowed, bool underscore_first = false) {
      auto is = [&](size_t at) { return at < rest.size() && allowed.find(rest[at]) != allowed.npos; };
      size_t begin = size;
      while (is(size) ||
             (size < rest.size() && rest[size] == '_' && is(size + 1) && (size > begin || underscore_first)))
        ++size;
      return size > begin;
    };
    constexpr std::string_view kDecimal = "0123456789";
    digits(kDecimal);
    size_t whole = size;
    bool real = false;
    bool after_dot = !tokens_.empty() && tokens_.back().kind == Token::Kind::kOperator && tokens_.back().text == "." &&
                     at_ > 0 && source_[at_ - 1] == '.'; // 0.1 in a.0.1 is not a float
    if (!after_dot) {
      if (size + 1 < rest.size() && rest[size] == '.' && IsDigit(rest[size + 1])) {
        ++size;
        real = digits(kDecimal);
      }
      if (size < rest.size() && (rest[size] == 'e' || rest[size] == 'E')) {
        size_t before = size++;
        if (size < rest.size() && (rest[size] == '-' || rest[size] == '+'))
          ++size;
        if (digits(kDecimal))
          real = true;
        else
          size = before;
      }
    }
    if (!real) {
      size = whole;
      char letter = rest.size() > 1 ? static_cast<char>(rest[1] | 0x20) : '\0';
      std::string_view base = letter == 'x'   ? "0123456789abcdefABCDEF"
                              : letter == 'o' ? "01234567"
                              : letter == 'b' ? "01"
                                              : "";
      size = 2;
      if (rest[0] != '0') {
        size = whole;
      } else if (base.empty() || !digits(base, /*underscore_first=*/true)) {
        size = 0;
        digits("0"); // 012 is two numbers
      }
    }
    std::string number(rest.substr(0, size));
    std::erase(number, '_');
    Add(real ? Token::Kind::kFloat : Token::Kind::kInt, number);
    MoveTo(at_ + size);
  }

  void ReadString(std::string_view rest) {
    size_t end = 1;
    while (end < rest.size() && rest[end] != rest[0])
      end += rest[end] == '\\' ? 2 : 1;
    if (end >= rest.size())
      return Fail("found a string without its closing quote");
    std::string_view body = rest.substr(1, end - 1);
    std::string text;
    for (size_t i = 0; i < body.size(); ++i) {
      if (body[i] != '\\') {
        text += body[i];
        continue;
      }
      char c = body[++i]; // exists, because the closing quote is not escaped
      constexpr std::string_view kNames = "abfnrtv\\'\"", kValues = "\a\b\f\n\r\t\v\\'\"";
      if (size_t simple = kNames.find(c); simple != kNames.npos) {
        text += kValues[simple];
      } else if (c == '\n') {
      } else if (c == 'x' || c == 'u' || c == 'U') {
        size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        std::string_view hex = body.substr(i + 1, digits);
        uint32_t value = 0;
        auto [last, error] = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
        if (hex.size() != digits || error != std::errc() || last != hex.data() + hex.size() || value > 0x10FFFF ||
            (value >= 0xD800 && value < 0xE000))
          return Fail(fmt::format("found the escape '\\{}', expected the hexadecimal code of a character after it", c));
        AppendUtf8(value, text);
        i += digits;
      } else if (c >= '0' && c <= '7') {
        uint32_t value = 0;
        for (int n = 0; n < 3 && i < body.size() && body[i] >= '0' && body[i] <= '7'; ++n)
          value = value * 8 + static_cast<uint32_t>(body[i++] - '0');
        --i;
        AppendUtf8(value, text);
      } else {
        text += '\\';
        text += c;
      }
    }
    Add(Token::Kind::kString, text);
    MoveTo(at_ + end + 1);
  }

  void ReadOperator(std::string_view rest, int &brackets) {
    for (std::string_view op : {"//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "<",
                                ">",  "=",  ".",  ",",  ":",  "|",  "(", ")", "[", "]", "{", "}"}) {
      if (!rest.starts_with(op))
        continue;
      if (op == "(" || op == "[" || op == "{")
        ++brackets;
      if ((op == ")" || op == "]" || op == "}") && --brackets < 0)
        return Fail(fmt::format("found '{}' without an opening bracket", op));
      Add(Token::Kind::kOperator, op);
      return MoveTo(at_ + op.size());
    }
    Fail(fmt::format("found {}, expected an expression", Quoted(rest.substr(0, ReadUtf8(rest).length))));
  }

  std::string source_;
  std::string file_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
  absl::Status status_;
};

} // namespace

absl::StatusOr<std::vector<Token>> LexTemplate(std::string_view source, std::string_view file) {
  return Lexer(source, file).Run();
}

} // namespace inlay::tokenizer
