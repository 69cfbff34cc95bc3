#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>

namespace inlay::tokenizer {

Utf8Prefix ReadUtf8(std::string_view text) {
  if (text.empty())
    return {};
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  uint8_t first = byte(0);
  if (first < 0x80)
    return {first, 1, true, false};
  size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4)
    return {0, 1, false, false};
  // The range of the second byte excludes overlong forms, surrogates and values above U+10FFFF.
  uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  uint32_t code_point = first & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size())
      return {0, i, false, true};
    if (byte(i) < low || byte(i) > high)
      return {0, i, false, false};
    low = 0x80;
    high = 0xBF;
    code_point = code_point << 6 | (byte(i) & 0x3F);
  }
  return {code_point, length, true, false};
}

Utf8Prefix LastCharacter(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80)
    --begin;
  return ReadUtf8(text.substr(begin));
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    Utf8Prefix prefix = ReadUtf8(text);
    out += prefix.valid ? text.substr(0, prefix.length) : kReplacementCharacter;
    text.remove_prefix(prefix.length);
  }
  return out;
}

size_t IncompleteSuffix(std::string_view text) {
  for (size_t length = std::min<size_t>(3, text.size()); length > 0; --length) {
    Utf8Prefix prefix = ReadUtf8(text.substr(text.size() - length));
    if (prefix.incomplete && prefix.length == length)
      return length;
  }
  return 0;
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    Utf8Prefix prefix = ReadUtf8(text);
    if (!prefix.valid)
      return false;
    text.remove_prefix(prefix.length);
  }
  return true;
}

void AppendUtf8(uint32_t code_point, std::string &out) {
  utf8proc_uint8_t buffer[4];
  utf8proc_ssize_t length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), buffer);
  out.append(reinterpret_cast<char *>(buffer), static_cast<size_t>(length));
}

bool IsWhiteSpace(uint32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 60;
  std::string out = "'";
  std::string shown = ReplaceInvalidUtf8(text.substr(0, kShown));
  for (char c : shown) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F)
      out += fmt::format("\\x{:02x}", c);
    else
      out += c;
  }
  return out + (text.size() > kShown ? "...'" : "'");
}

} // namespace inlay::tokenizer
