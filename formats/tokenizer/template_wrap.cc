#include "formats/tokenizer/template_wrap.h"

#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/unicode.h"
#include "formats/tokenizer/unicode_properties.h"

#include <utf8proc.h>

#include <algorithm>
#include <deque>
#include <span>

namespace inlay::tokenizer {
namespace {

using Chunk = std::span<const std::string_view>; // characters of the text

bool IsSpace(std::string_view c) { return std::string_view("\t\n\v\f\r ").find(c) != std::string_view::npos; }
bool IsWord(std::string_view c) { return IsWordCharacter(ReadUtf8(c).code_point); }
bool IsWordOrPunctuation(std::string_view c) {
  return IsWord(c) || std::string_view("!\"'&.,?").find(c) != std::string_view::npos;
}
bool IsLetter(std::string_view c) { // \w without decimal digits
  return IsWord(c) && utf8proc_category(static_cast<utf8proc_int32_t>(ReadUtf8(c).code_point)) != UTF8PROC_CATEGORY_ND;
}

// Splits a text into chunks after which a line may break: runs of white space, dashes, words, and parts of hyphenated
// words.
class Splitter {
public:
  Splitter(Chunk text, bool hyphens) : text_(text), hyphens_(hyphens) {}

  std::deque<Chunk> Run() {
    std::deque<Chunk> out;
    for (size_t at = 0; at < text_.size();) {
      size_t end = End(at);
      out.push_back(text_.subspan(at, end - at));
      at = end;
    }
    return out;
  }

private:
  bool Is(size_t at, bool (*test)(std::string_view)) const { return at < text_.size() && test(text_[at]); }
  bool IsDash(size_t at) const { return at < text_.size() && text_[at] == "-"; }

  // If two or more dashes before a word begin at `at`, returns where they end. Otherwise 0.
  size_t Dashes(size_t at) const {
    size_t end = at;
    while (IsDash(end))
      ++end;
    return end - at >= 2 && Is(end, IsWord) ? end : 0;
  }

  size_t End(size_t at) const {
    size_t end = at;
    if (IsSpace(text_[at])) {
      while (Is(end, IsSpace))
        ++end;
      return end;
    }
    if (!hyphens_) {
      while (end < text_.size() && !IsSpace(text_[end]))
        ++end;
      return end;
    }
    if (size_t dashes = at > 0 && IsWordOrPunctuation(text_[at - 1]) ? Dashes(at) : 0)
      return dashes;
    for (end = at + 1; end < text_.size() && !IsSpace(text_[end]); ++end) {
      if (IsDash(end) && EndsPart(end))
        return end + 1;
      if (IsWordOrPunctuation(text_[end - 1]) && Dashes(end))
        return end;
    }
    return end;
  }

  // Whether the dash at `at` ends a part of a hyphenated word.
  bool EndsPart(size_t at) const {
    bool before = (at >= 2 && IsLetter(text_[at - 1]) && IsLetter(text_[at - 2])) ||
                  (at >= 3 && IsWordOrPunctuation(text_[at - 1]) && IsDash(at - 2) && IsLetter(text_[at - 3]));
    size_t next = at + 2 + (IsDash(at + 2) ? 1 : 0);
    return before && Is(at + 1, IsLetter) && Is(next, IsLetter);
  }

  Chunk text_;
  bool hyphens_;
};

bool IsBlank(Chunk chunk) {
  return std::all_of(chunk.begin(), chunk.end(),
                     [](std::string_view c) { return IsPythonSpace(ReadUtf8(c).code_point); });
}

// How many characters of a word that is longer than a line are put on the current line, which has room for `room`
// characters.
size_t BreakPoint(Chunk word, size_t room, bool hyphens) {
  if (hyphens && word.size() > room) {
    for (size_t dash = room; dash-- > 1;)
      if (word[dash] == "-")
        return std::any_of(word.begin(), word.begin() + static_cast<ptrdiff_t>(dash),
                           [](std::string_view c) { return c != "-"; })
                   ? dash + 1
                   : room;
  }
  return room;
}

} // namespace

std::vector<std::string> WrapText(std::string_view text, int64_t width, bool break_long_words, bool break_on_hyphens) {
  std::vector<std::string_view> characters = Characters(text);
  std::deque<Chunk> chunks = Splitter(characters, break_on_hyphens).Run();
  size_t most = static_cast<size_t>(width);
  std::vector<std::string> lines;
  while (!chunks.empty()) {
    if (!lines.empty() && IsBlank(chunks.front()))
      chunks.pop_front();
    std::vector<Chunk> line;
    size_t length = 0;
    while (!chunks.empty() && length + chunks.front().size() <= most) {
      length += chunks.front().size();
      line.push_back(chunks.front());
      chunks.pop_front();
    }
    if (!chunks.empty() && chunks.front().size() > most) {
      if (break_long_words) {
        Chunk &word = chunks.front();
        size_t cut = BreakPoint(word, most - length, break_on_hyphens);
        line.push_back(word.first(cut));
        word = word.subspan(cut);
      } else if (line.empty()) {
        line.push_back(chunks.front());
        chunks.pop_front();
      }
    }
    if (!line.empty() && IsBlank(line.back()))
      line.pop_back();
    if (line.empty())
      continue;
    std::string &out = lines.emplace_back();
    for (Chunk chunk : line)
      for (std::string_view c : chunk)
        out += c;
  }
  return lines;
}

} // namespace inlay::tokenizer
