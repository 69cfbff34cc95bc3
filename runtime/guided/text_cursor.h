// A cursor in the text of a regular expression or grammar. Errors include the position.
#ifndef INLAY_RUNTIME_GUIDED_TEXT_CURSOR_H_
#define INLAY_RUNTIME_GUIDED_TEXT_CURSOR_H_

#include "absl/status/status.h"
#include "runtime/guided/expression.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>

namespace inlay::guided {

// Keeps the first error. After an error the cursor is at the end of the text, so that parsers stop.
class TextCursor {
public:
  explicit TextCursor(std::string_view text) : text_(text) {}

  bool at_end() const { return at_ >= text_.size(); }
  size_t at() const { return at_; }
  const absl::Status &status() const { return status_; }
  char Peek(size_t ahead = 0) const { return text_.size() - at_ > ahead ? text_[at_ + ahead] : '\0'; }
  bool StartsWith(std::string_view prefix) const { return text_.substr(at_).substr(0, prefix.size()) == prefix; }
  void Skip(size_t bytes = 1) { at_ = std::min(at_ + bytes, text_.size()); }
  bool Take(std::string_view prefix) {
    if (!StartsWith(prefix))
      return false;
    Skip(prefix.size());
    return true;
  }
  std::string_view Slice(size_t begin) const { return text_.substr(begin, at_ - begin); }

  void Fail(std::string_view message) {
    if (status_.ok())
      status_ = absl::InvalidArgumentError(fmt::format("at byte {}: {}", at_, message));
    at_ = text_.size();
  }

  uint32_t Character() {
    uint32_t code_point = 0;
    if (absl::Status status = ReadCharacter(text_, at_, code_point); !status.ok()) {
      if (at_ >= text_.size())
        Fail("found the end, expected a character; fix: complete the expression");
      else if (status_.ok())
        status_ = status;
      at_ = text_.size();
    }
    return code_point;
  }

  // Reads a code point of exactly `digits` hexadecimal digits.
  uint32_t Hex(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i, Skip()) {
      char c = Peek();
      int digit = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
      if (digit < 0) {
        Fail(
            fmt::format("found an escape that is too short, expected {} hexadecimal digits; fix: complete it", digits));
        return 0;
      }
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    if (value > kMaxCodePoint || (value >= 0xD800 && value <= 0xDFFF))
      Fail(fmt::format("found the character U+{:04X}, expected a Unicode scalar value; fix: write the character itself",
                       value));
    return value;
  }

  // Reads a decimal number. nullopt if there is no digit.
  std::optional<int32_t> Number() {
    if (Peek() < '0' || Peek() > '9')
      return std::nullopt;
    int64_t value = 0;
    for (; Peek() >= '0' && Peek() <= '9'; Skip()) {
      value = value * 10 + (Peek() - '0');
      if (value > INT32_MAX) {
        Fail("found a number above 2147483647, expected a smaller one; fix: use a smaller bound");
        return 0;
      }
    }
    return static_cast<int32_t>(value);
  }

  // Reads the rest of `{m}`, `{m,}`, `{,n}` or `{m,n}` after the `{`.
  void Bounds(int32_t &min, int32_t &max) {
    std::optional<int32_t> low = Number();
    bool has_comma = Take(",");
    std::optional<int32_t> high = has_comma ? Number() : low;
    if (!Take("}") || (!low && !high)) {
      Fail("found a broken repetition, expected {m}, {m,} or {m,n}; fix: correct it, or escape the brace");
      return;
    }
    min = low.value_or(0);
    max = high.value_or(kUnbounded);
    if (max != kUnbounded && max < min)
      Fail(fmt::format("found the repetition {{{},{}}}, expected the first bound not above the second; fix: swap "
                       "them",
                       min, max));
  }

private:
  std::string_view text_;
  size_t at_ = 0;
  absl::Status status_;
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_TEXT_CURSOR_H_
