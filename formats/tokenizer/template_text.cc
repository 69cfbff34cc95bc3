#include "formats/tokenizer/template_text.h"

#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>

namespace inlay::tokenizer {
namespace {

// Characters whose upper or title case is several characters (Unicode 14, SpecialCasing.txt), in UTF-8.
struct SpecialCase {
  uint32_t code_point;
  const char *upper, *title;
};
constexpr SpecialCase kSpecialCases[] = {
    {0x00DF, "\x53\x53", "\x53\x73"},
    {0x0149, "\xCA\xBC\x4E", "\xCA\xBC\x4E"},
    {0x01F0, "\x4A\xCC\x8C", "\x4A\xCC\x8C"},
    {0x0390, "\xCE\x99\xCC\x88\xCC\x81", "\xCE\x99\xCC\x88\xCC\x81"},
    {0x03B0, "\xCE\xA5\xCC\x88\xCC\x81", "\xCE\xA5\xCC\x88\xCC\x81"},
    {0x0587, "\xD4\xB5\xD5\x92", "\xD4\xB5\xD6\x82"},
    {0x1E96, "\x48\xCC\xB1", "\x48\xCC\xB1"},
    {0x1E97, "\x54\xCC\x88", "\x54\xCC\x88"},
    {0x1E98, "\x57\xCC\x8A", "\x57\xCC\x8A"},
    {0x1E99, "\x59\xCC\x8A", "\x59\xCC\x8A"},
    {0x1E9A, "\x41\xCA\xBE", "\x41\xCA\xBE"},
    {0x1F50, "\xCE\xA5\xCC\x93", "\xCE\xA5\xCC\x93"},
    {0x1F52, "\xCE\xA5\xCC\x93\xCC\x80", "\xCE\xA5\xCC\x93\xCC\x80"},
    {0x1F54, "\xCE\xA5\xCC\x93\xCC\x81", "\xCE\xA5\xCC\x93\xCC\x81"},
    {0x1F56, "\xCE\xA5\xCC\x93\xCD\x82", "\xCE\xA5\xCC\x93\xCD\x82"},
    {0x1F80, "\xE1\xBC\x88\xCE\x99", "\xE1\xBE\x88"},
    {0x1F81, "\xE1\xBC\x89\xCE\x99", "\xE1\xBE\x89"},
    {0x1F82, "\xE1\xBC\x8A\xCE\x99", "\xE1\xBE\x8A"},
    {0x1F83, "\xE1\xBC\x8B\xCE\x99", "\xE1\xBE\x8B"},
    {0x1F84, "\xE1\xBC\x8C\xCE\x99", "\xE1\xBE\x8C"},
    {0x1F85, "\xE1\xBC\x8D\xCE\x99", "\xE1\xBE\x8D"},
    {0x1F86, "\xE1\xBC\x8E\xCE\x99", "\xE1\xBE\x8E"},
    {0x1F87, "\xE1\xBC\x8F\xCE\x99", "\xE1\xBE\x8F"},
    {0x1F88, "\xE1\xBC\x88\xCE\x99", "\xE1\xBE\x88"},
    {0x1F89, "\xE1\xBC\x89\xCE\x99", "\xE1\xBE\x89"},
    {0x1F8A, "\xE1\xBC\x8A\xCE\x99", "\xE1\xBE\x8A"},
    {0x1F8B, "\xE1\xBC\x8B\xCE\x99", "\xE1\xBE\x8B"},
    {0x1F8C, "\xE1\xBC\x8C\xCE\x99", "\xE1\xBE\x8C"},
    {0x1F8D, "\xE1\xBC\x8D\xCE\x99", "\xE1\xBE\x8D"},
    {0x1F8E, "\xE1\xBC\x8E\xCE\x99", "\xE1\xBE\x8E"},
    {0x1F8F, "\xE1\xBC\x8F\xCE\x99", "\xE1\xBE\x8F"},
    {0x1F90, "\xE1\xBC\xA8\xCE\x99", "\xE1\xBE\x98"},
    {0x1F91, "\xE1\xBC\xA9\xCE\x99", "\xE1\xBE\x99"},
    {0x1F92, "\xE1\xBC\xAA\xCE\x99", "\xE1\xBE\x9A"},
    {0x1F93, "\xE1\xBC\xAB\xCE\x99", "\xE1\xBE\x9B"},
    {0x1F94, "\xE1\xBC\xAC\xCE\x99", "\xE1\xBE\x9C"},
    {0x1F95, "\xE1\xBC\xAD\xCE\x99", "\xE1\xBE\x9D"},
    {0x1F96, "\xE1\xBC\xAE\xCE\x99", "\xE1\xBE\x9E"},
    {0x1F97, "\xE1\xBC\xAF\xCE\x99", "\xE1\xBE\x9F"},
    {0x1F98, "\xE1\xBC\xA8\xCE\x99", "\xE1\xBE\x98"},
    {0x1F99, "\xE1\xBC\xA9\xCE\x99", "\xE1\xBE\x99"},
    {0x1F9A, "\xE1\xBC\xAA\xCE\x99", "\xE1\xBE\x9A"},
    {0x1F9B, "\xE1\xBC\xAB\xCE\x99", "\xE1\xBE\x9B"},
    {0x1F9C, "\xE1\xBC\xAC\xCE\x99", "\xE1\xBE\x9C"},
    {0x1F9D, "\xE1\xBC\xAD\xCE\x99", "\xE1\xBE\x9D"},
    {0x1F9E, "\xE1\xBC\xAE\xCE\x99", "\xE1\xBE\x9E"},
    {0x1F9F, "\xE1\xBC\xAF\xCE\x99", "\xE1\xBE\x9F"},
    {0x1FA0, "\xE1\xBD\xA8\xCE\x99", "\xE1\xBE\xA8"},
    {0x1FA1, "\xE1\xBD\xA9\xCE\x99", "\xE1\xBE\xA9"},
    {0x1FA2, "\xE1\xBD\xAA\xCE\x99", "\xE1\xBE\xAA"},
    {0x1FA3, "\xE1\xBD\xAB\xCE\x99", "\xE1\xBE\xAB"},
    {0x1FA4, "\xE1\xBD\xAC\xCE\x99", "\xE1\xBE\xAC"},
    {0x1FA5, "\xE1\xBD\xAD\xCE\x99", "\xE1\xBE\xAD"},
    {0x1FA6, "\xE1\xBD\xAE\xCE\x99", "\xE1\xBE\xAE"},
    {0x1FA7, "\xE1\xBD\xAF\xCE\x99", "\xE1\xBE\xAF"},
    {0x1FA8, "\xE1\xBD\xA8\xCE\x99", "\xE1\xBE\xA8"},
    {0x1FA9, "\xE1\xBD\xA9\xCE\x99", "\xE1\xBE\xA9"},
    {0x1FAA, "\xE1\xBD\xAA\xCE\x99", "\xE1\xBE\xAA"},
    {0x1FAB, "\xE1\xBD\xAB\xCE\x99", "\xE1\xBE\xAB"},
    {0x1FAC, "\xE1\xBD\xAC\xCE\x99", "\xE1\xBE\xAC"},
    {0x1FAD, "\xE1\xBD\xAD\xCE\x99", "\xE1\xBE\xAD"},
    {0x1FAE, "\xE1\xBD\xAE\xCE\x99", "\xE1\xBE\xAE"},
    {0x1FAF, "\xE1\xBD\xAF\xCE\x99", "\xE1\xBE\xAF"},
    {0x1FB2, "\xE1\xBE\xBA\xCE\x99", "\xE1\xBE\xBA\xCD\x85"},
    {0x1FB3, "\xCE\x91\xCE\x99", "\xE1\xBE\xBC"},
    {0x1FB4, "\xCE\x86\xCE\x99", "\xCE\x86\xCD\x85"},
    {0x1FB6, "\xCE\x91\xCD\x82", "\xCE\x91\xCD\x82"},
    {0x1FB7, "\xCE\x91\xCD\x82\xCE\x99", "\xCE\x91\xCD\x82\xCD\x85"},
    {0x1FBC, "\xCE\x91\xCE\x99", "\xE1\xBE\xBC"},
    {0x1FC2, "\xE1\xBF\x8A\xCE\x99", "\xE1\xBF\x8A\xCD\x85"},
    {0x1FC3, "\xCE\x97\xCE\x99", "\xE1\xBF\x8C"},
    {0x1FC4, "\xCE\x89\xCE\x99", "\xCE\x89\xCD\x85"},
    {0x1FC6, "\xCE\x97\xCD\x82", "\xCE\x97\xCD\x82"},
    {0x1FC7, "\xCE\x97\xCD\x82\xCE\x99", "\xCE\x97\xCD\x82\xCD\x85"},
    {0x1FCC, "\xCE\x97\xCE\x99", "\xE1\xBF\x8C"},
    {0x1FD2, "\xCE\x99\xCC\x88\xCC\x80", "\xCE\x99\xCC\x88\xCC\x80"},
    {0x1FD3, "\xCE\x99\xCC\x88\xCC\x81", "\xCE\x99\xCC\x88\xCC\x81"},
    {0x1FD6, "\xCE\x99\xCD\x82", "\xCE\x99\xCD\x82"},
    {0x1FD7, "\xCE\x99\xCC\x88\xCD\x82", "\xCE\x99\xCC\x88\xCD\x82"},
    {0x1FE2, "\xCE\xA5\xCC\x88\xCC\x80", "\xCE\xA5\xCC\x88\xCC\x80"},
    {0x1FE3, "\xCE\xA5\xCC\x88\xCC\x81", "\xCE\xA5\xCC\x88\xCC\x81"},
    {0x1FE4, "\xCE\xA1\xCC\x93", "\xCE\xA1\xCC\x93"},
    {0x1FE6, "\xCE\xA5\xCD\x82", "\xCE\xA5\xCD\x82"},
    {0x1FE7, "\xCE\xA5\xCC\x88\xCD\x82", "\xCE\xA5\xCC\x88\xCD\x82"},
    {0x1FF2, "\xE1\xBF\xBA\xCE\x99", "\xE1\xBF\xBA\xCD\x85"},
    {0x1FF3, "\xCE\xA9\xCE\x99", "\xE1\xBF\xBC"},
    {0x1FF4, "\xCE\x8F\xCE\x99", "\xCE\x8F\xCD\x85"},
    {0x1FF6, "\xCE\xA9\xCD\x82", "\xCE\xA9\xCD\x82"},
    {0x1FF7, "\xCE\xA9\xCD\x82\xCE\x99", "\xCE\xA9\xCD\x82\xCD\x85"},
    {0x1FFC, "\xCE\xA9\xCE\x99", "\xE1\xBF\xBC"},
    {0xFB00, "\x46\x46", "\x46\x66"},
    {0xFB01, "\x46\x49", "\x46\x69"},
    {0xFB02, "\x46\x4C", "\x46\x6C"},
    {0xFB03, "\x46\x46\x49", "\x46\x66\x69"},
    {0xFB04, "\x46\x46\x4C", "\x46\x66\x6C"},
    {0xFB05, "\x53\x54", "\x53\x74"},
    {0xFB06, "\x53\x54", "\x53\x74"},
    {0xFB13, "\xD5\x84\xD5\x86", "\xD5\x84\xD5\xB6"},
    {0xFB14, "\xD5\x84\xD4\xB5", "\xD5\x84\xD5\xA5"},
    {0xFB15, "\xD5\x84\xD4\xBB", "\xD5\x84\xD5\xAB"},
    {0xFB16, "\xD5\x8E\xD5\x86", "\xD5\x8E\xD5\xB6"},
    {0xFB17, "\xD5\x84\xD4\xBD", "\xD5\x84\xD5\xAD"},
};

enum class Case { kUpper, kLower, kTitle };

void AppendCase(uint32_t c, Case to, std::string &out) {
  auto code = static_cast<utf8proc_int32_t>(c);
  if (to == Case::kLower) {
    if (c == 0x130)
      out += "i\xCC\x87";
    else
      AppendUtf8(static_cast<uint32_t>(utf8proc_tolower(code)), out);
    return;
  }
  const SpecialCase *special = std::lower_bound(std::begin(kSpecialCases), std::end(kSpecialCases), c,
                                                [](const SpecialCase &a, uint32_t b) { return a.code_point < b; });
  if (special != std::end(kSpecialCases) && special->code_point == c)
    out += to == Case::kUpper ? special->upper : special->title;
  else
    AppendUtf8(static_cast<uint32_t>(to == Case::kUpper ? utf8proc_toupper(code) : utf8proc_totitle(code)), out);
}

std::vector<uint32_t> CodePoints(std::string_view text) {
  std::vector<uint32_t> out;
  while (!text.empty()) {
    Utf8Prefix c = ReadUtf8(text);
    if (c.valid)
      out.push_back(c.code_point);
    text.remove_prefix(c.length);
  }
  return out;
}

bool IsCaseIgnorable(uint32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_CF:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_SK:
    return true;
  default:
    return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027;
  }
}

// A capital sigma at the end of a word becomes a final sigma.
void AppendLower(const std::vector<uint32_t> &text, size_t at, std::string &out) {
  if (text[at] != 0x3A3)
    return AppendCase(text[at], Case::kLower, out);
  size_t before = at, after = at + 1;
  while (before > 0 && IsCaseIgnorable(text[before - 1]))
    --before;
  while (after < text.size() && IsCaseIgnorable(text[after]))
    ++after;
  bool last = before > 0 && IsCased(text[before - 1]) && (after == text.size() || !IsCased(text[after]));
  AppendUtf8(last ? 0x3C2 : 0x3C3, out);
}

bool IsLineBoundary(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

// Removes single underscores between digits. nullopt if there are other underscores.
std::optional<std::string> WithoutUnderscores(std::string_view text, bool letters) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    auto digit = [&](char c) {
      return (c >= '0' && c <= '9') || (letters && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')));
    };
    if (i == 0 || i + 1 == text.size() || !digit(text[i - 1]) || !digit(text[i + 1]))
      return std::nullopt;
  }
  return out;
}

} // namespace

bool IsPythonSpace(uint32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

bool IsCased(uint32_t c) {
  utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

bool IsPrintable(uint32_t c) {
  if (c == ' ')
    return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_CN:
  case UTF8PROC_CATEGORY_CC:
  case UTF8PROC_CATEGORY_CF:
  case UTF8PROC_CATEGORY_CS:
  case UTF8PROC_CATEGORY_CO:
  case UTF8PROC_CATEGORY_ZS:
  case UTF8PROC_CATEGORY_ZL:
  case UTF8PROC_CATEGORY_ZP:
    return false;
  default:
    return true;
  }
}

std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    size_t length = ReadUtf8(text).length;
    out.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

int64_t CountCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

std::string_view Stripped(std::string_view text, bool left, bool right, std::optional<std::string_view> chars) {
  auto strips = [&](std::string_view c) {
    return chars ? chars->find(c) != chars->npos : IsPythonSpace(ReadUtf8(c).code_point);
  };
  while (left && !text.empty()) {
    size_t length = ReadUtf8(text).length;
    if (!strips(text.substr(0, length)))
      break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80)
      --begin;
    if (!strips(text.substr(begin)))
      break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

std::string Upper(std::string_view text) {
  std::string out;
  for (uint32_t c : CodePoints(text))
    AppendCase(c, Case::kUpper, out);
  return out;
}

std::string Lower(std::string_view text) {
  std::string out;
  std::vector<uint32_t> points = CodePoints(text);
  for (size_t i = 0; i < points.size(); ++i)
    AppendLower(points, i, out);
  return out;
}

std::string Capitalized(std::string_view text) {
  std::string out;
  std::vector<uint32_t> points = CodePoints(text);
  for (size_t i = 0; i < points.size(); ++i) {
    if (i == 0)
      AppendCase(points[i], Case::kTitle, out);
    else
      AppendLower(points, i, out);
  }
  return out;
}

std::string SwappedCase(std::string_view text) {
  std::string out;
  std::vector<uint32_t> points = CodePoints(text);
  for (size_t i = 0; i < points.size(); ++i) {
    utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(points[i]));
    if (category == UTF8PROC_CATEGORY_LU)
      AppendLower(points, i, out);
    else if (category == UTF8PROC_CATEGORY_LL)
      AppendCase(points[i], Case::kUpper, out);
    else
      AppendUtf8(points[i], out);
  }
  return out;
}

std::string TitleByLetters(std::string_view text) {
  std::string out;
  std::vector<uint32_t> points = CodePoints(text);
  bool inside = false;
  for (size_t i = 0; i < points.size(); ++i) {
    if (inside)
      AppendLower(points, i, out);
    else
      AppendCase(points[i], Case::kTitle, out);
    inside = IsCased(points[i]);
  }
  return out;
}

std::string TitleByWords(std::string_view text) {
  std::string out;
  auto begins_word = [](uint32_t c) {
    return IsPythonSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  std::vector<std::string_view> characters = Characters(text);
  for (size_t i = 0; i < characters.size();) {
    size_t end = i + 1;
    bool separator = begins_word(ReadUtf8(characters[i]).code_point);
    while (end < characters.size() && begins_word(ReadUtf8(characters[end]).code_point) == separator)
      ++end;
    const char *last = characters[end - 1].data() + characters[end - 1].size();
    std::string_view rest(characters[i].data() + characters[i].size(),
                          static_cast<size_t>(last - characters[i].data()) - characters[i].size());
    out += Upper(characters[i]) + Lower(rest);
    i = end;
  }
  return out;
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> out;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    Utf8Prefix c = ReadUtf8(text.substr(at));
    size_t next = at + c.length;
    if (IsLineBoundary(c.code_point) && c.valid) {
      if (c.code_point == '\r' && next < text.size() && text[next] == '\n')
        ++next;
      out.push_back(text.substr(begin, (keep_ends ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size())
    out.push_back(text.substr(begin));
  return out;
}

std::vector<std::string_view> SplitSpace(std::string_view text, uint64_t most, bool from_right) {
  std::vector<std::string_view> out;
  auto space_at = [&](size_t at) { return IsPythonSpace(ReadUtf8(text.substr(at)).code_point); };
  if (!from_right) {
    for (text = Stripped(text, true, false); !text.empty(); text = Stripped(text, true, false)) {
      if (out.size() == most) {
        out.push_back(text);
        break;
      }
      size_t end = 0;
      while (end < text.size() && !space_at(end))
        end += ReadUtf8(text.substr(end)).length;
      out.push_back(text.substr(0, end));
      text.remove_prefix(end);
    }
    return out;
  }
  for (text = Stripped(text, false, true); !text.empty(); text = Stripped(text, false, true)) {
    if (out.size() == most) {
      out.push_back(text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      size_t previous = begin - 1;
      while (previous > 0 && (static_cast<uint8_t>(text[previous]) & 0xC0) == 0x80)
        --previous;
      if (space_at(previous))
        break;
      begin = previous;
    }
    out.push_back(text.substr(begin));
    text = text.substr(0, begin);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::string FloatText(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

std::string StringRepr(std::string_view text, bool ascii) {
  char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string out(1, quote);
  while (!text.empty()) {
    Utf8Prefix c = ReadUtf8(text);
    uint32_t code = c.code_point;
    if (code == static_cast<uint8_t>(quote) || code == '\\')
      out += fmt::format("\\{}", static_cast<char>(code));
    else if (code == '\n' || code == '\r' || code == '\t')
      out += code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t";
    else if (code < 0x20 || code == 0x7F || (code > 0x7F && (ascii || !IsPrintable(code))))
      out += code < 0x100     ? fmt::format("\\x{:02x}", code)
             : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                              : fmt::format("\\U{:08x}", code);
    else
      out += text.substr(0, c.length);
    text.remove_prefix(c.length);
  }
  return out + quote;
}

std::string JsonString(std::string_view text, bool ascii) {
  std::string out = "\"";
  while (!text.empty()) {
    Utf8Prefix c = ReadUtf8(text);
    constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
    if (size_t at = c.code_point < 0x80 ? kEscaped.find(text[0]) : kEscaped.npos; at != kEscaped.npos) {
      out += '\\';
      out += kLetters[at];
    } else if (c.code_point < 0x20 || (ascii && c.code_point > 0x7E && c.code_point <= 0xFFFF)) {
      out += fmt::format("\\u{:04x}", c.code_point);
    } else if (ascii && c.code_point > 0xFFFF) {
      uint32_t rest = c.code_point - 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      out += text.substr(0, c.length);
    }
    text.remove_prefix(c.length);
  }
  return out + '"';
}

std::string EscapedHtml(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '\'')
      out += "&#39;";
    else if (c == '"')
      out += "&#34;";
    else
      out += c;
  }
  return out;
}

std::optional<int64_t> ParseInt(std::string_view text, int64_t base, bool &overflow) {
  text = Stripped(text, true, true);
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+'))
    text.remove_prefix(1);
  if (text.size() > 1 && text[0] == '0') {
    char letter = static_cast<char>(text[1] | 0x20);
    int64_t named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (named != 0 && (base == named || base == 0)) {
      base = named;
      text.remove_prefix(text.size() > 2 && text[2] == '_' ? 3 : 2);
    } else if (base == 0 && text.find_first_not_of("0_") != text.npos) {
      return std::nullopt; // 012
    }
  }
  if (base == 0)
    base = 10;
  std::optional<std::string> digits = WithoutUnderscores(text, /*letters=*/true);
  if (base < 2 || base > 36 || !digits || digits->empty() || (*digits)[0] == '-')
    return std::nullopt;
  std::string number = (negative ? "-" : "") + *digits;
  int64_t value = 0;
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value, static_cast<int>(base));
  if (end != number.data() + number.size())
    return std::nullopt;
  if (error == std::errc::result_out_of_range)
    overflow = true;
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<double> ParseFloat(std::string_view text) {
  text = Stripped(text, true, true);
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+'))
    text.remove_prefix(1);
  std::string lower = Lower(text);
  if (lower == "inf" || lower == "infinity" || lower == "nan") {
    double value = lower == "nan" ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
    return negative ? -value : value;
  }
  std::optional<std::string> digits = WithoutUnderscores(text, /*letters=*/false);
  if (!digits || digits->find_first_not_of("0123456789.eE+-") != std::string::npos || digits->empty() ||
      (*digits)[0] == '-' || (*digits)[0] == '+')
    return std::nullopt;
  double value = 0;
  auto [end, error] = std::from_chars(digits->data(), digits->data() + digits->size(), value);
  if (end != digits->data() + digits->size() || error == std::errc::invalid_argument)
    return std::nullopt;
  if (error == std::errc::result_out_of_range) { // overflow or underflow
    size_t exponent = digits->find_first_of("eE");
    bool small = exponent != std::string::npos && exponent + 1 < digits->size() && (*digits)[exponent + 1] == '-';
    value = small ? 0 : std::numeric_limits<double>::infinity();
  }
  return negative ? -value : value;
}

} // namespace inlay::tokenizer
