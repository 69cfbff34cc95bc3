#include "formats/tokenizer/regex_unicode.h"

#include "formats/tokenizer/unicode.h"
#include "formats/tokenizer/unicode_properties.h"

#include "absl/status/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace inlay::tokenizer {
namespace {

constexpr size_t kMaxWrittenBytes = 4 << 20;
constexpr int kMaxDepth = 256;

// Letters that got another case in Unicode 15 to 16. An older Oniguruma does not know them.
constexpr CodePointRange kNewlyCased[] = {{0x19B, 0x19B},   {0x264, 0x264},   {0x1C89, 0x1C8A},
                                          {0xA7CB, 0xA7CD}, {0xA7DA, 0xA7DC}, {0x10D50, 0x10D85}};

std::string Ranges(const CodePointSet &set, bool negative) {
  std::string out = negative ? "[^" : "[";
  auto add = [&](uint32_t first, uint32_t last) {
    if (first > last)
      return;
    out += first == last ? fmt::format("\\x{{{:X}}}", first) : fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", first, last);
  };
  for (CodePointRange range : set) { // UTF-8 has no surrogates, and ranges must not name them
    add(range.first, std::min(range.last, 0xD7FFu));
    add(std::max(range.first, 0xE000u), range.last);
  }
  return out + "]";
}

class Writer {
public:
  Writer(std::string_view pattern, std::string_view key) : pattern_(pattern), key_(key) {}

  absl::StatusOr<std::string> Run() {
    while (!AtEnd()) {
      if (absl::Status status = Next(); !status.ok())
        return status;
      if (out_.size() > kMaxWrittenBytes)
        return Refuse("a pattern with too many Unicode sets", "at most 4 MiB after the sets are expanded");
    }
    return std::move(out_);
  }

private:
  struct Options {
    bool ignore_case = false;
    bool extended = false;
  };

  bool AtEnd() const { return at_ >= pattern_.size(); }
  bool StartsWith(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  absl::Status Refuse(std::string_view found, std::string_view supported) const {
    return absl::UnimplementedError(
        fmt::format("{}: found {} in the pattern {}, supported: {}", key_, found, Quoted(pattern_), supported));
  }

  void Copy(size_t bytes) {
    bytes = std::min(bytes, pattern_.size() - at_);
    out_ += pattern_.substr(at_, bytes);
    at_ += bytes;
  }
  void CopyThrough(std::string_view end) {
    size_t found = pattern_.find(end, at_);
    Copy(found == pattern_.npos ? pattern_.size() - at_ : found + end.size() - at_);
  }

  // Writes a set outside of brackets. Oniguruma ignores case in brackets but not in \p{...}, so (?-i:) turns it off.
  void AddAlone(const CodePointSet &set, bool negative) {
    bool fold = options_.back().ignore_case;
    out_ += (fold ? "(?-i:" : "") + Ranges(set, negative) + (fold ? ")" : "");
  }

  absl::Status CheckCase(CodePointRange range) const {
    if (!options_.back().ignore_case)
      return absl::OkStatus();
    for (CodePointRange cased : kNewlyCased)
      if (range.first <= cased.last && cased.first <= range.last)
        return Refuse(fmt::format("U+{:04X} with the option i", cased.first), "letters with a case before Unicode 15");
    return absl::OkStatus();
  }

  // Reads the set of \p{name}, \P{name} or \p{^name} at the current position.
  absl::Status ReadProperty(bool in_brackets, CodePointSet &set, bool &negative) {
    negative = pattern_[at_ + 1] == 'P';
    size_t begin = at_ + 3, end = pattern_.find('}', begin);
    if (end == pattern_.npos)
      return absl::InvalidArgumentError(
          fmt::format("{}: found no '}}' after \\p{{ in the pattern {}, expected one", key_, Quoted(pattern_)));
    if (pattern_[begin] == '^') {
      negative = !negative;
      ++begin;
    }
    std::string_view name = pattern_.substr(begin, end - begin);
    at_ = end + 1;
    return FindSet(name, /*posix=*/false, in_brackets, set);
  }

  absl::Status FindSet(std::string_view name, bool posix, bool in_brackets, CodePointSet &set) {
    std::optional<CodePointSet> found = FindProperty(name, posix);
    if (!found)
      return Refuse(
          fmt::format("the property {}", Quoted(name)),
          "general categories, scripts, POSIX brackets' names, Any, Assigned, Alphabetic, Lowercase, Uppercase, "
          "White_Space, Emoji, Emoji_Presentation, Extended_Pictographic");
    for (std::string_view one_case : {"lu", "ll", "lt", "lower", "upper"})
      if (in_brackets && options_.back().ignore_case && *found == *FindProperty(one_case))
        return Refuse(fmt::format("the property {} in brackets with the option i", Quoted(name)),
                      "the property L, which includes both cases");
    if (!in_brackets && *found == WordCharacters(WordPlace::kInBrackets))
      found = WordCharacters(WordPlace::kOutside);
    set = *std::move(found);
    return absl::OkStatus();
  }

  // Handles the escapes that have the same meaning inside and outside of brackets. `done`: whether the escape was one
  // of them.
  absl::Status NextEscape(bool in_brackets, bool &done) {
    done = true;
    char letter = at_ + 1 < pattern_.size() ? pattern_[at_ + 1] : '\0';
    CodePointSet set;
    bool negative = false;
    switch (letter) {
    case 'p':
    case 'P':
      if (at_ + 3 >= pattern_.size() || pattern_[at_ + 2] != '{')
        break;
      if (absl::Status status = ReadProperty(in_brackets, set, negative); !status.ok())
        return status;
      Add(in_brackets, set, negative);
      return absl::OkStatus();
    case 'w':
    case 'W':
      at_ += 2;
      Add(in_brackets, WordCharacters(in_brackets ? WordPlace::kInBrackets : WordPlace::kOutside), letter == 'W');
      return absl::OkStatus();
    case 'd':
    case 'D':
      at_ += 2;
      Add(in_brackets, *FindProperty("nd"), letter == 'D');
      return absl::OkStatus();
    case 'c':
    case 'C':
    case 'M':
      return Refuse(fmt::format("the escape \\{}", letter), "\\x{...} for control characters");
    default:
      break;
    }
    done = false;
    return absl::OkStatus();
  }

  void Add(bool in_brackets, const CodePointSet &set, bool negative) {
    if (in_brackets)
      out_ += Ranges(set, negative);
    else
      AddAlone(set, negative);
  }

  absl::Status CopyCharacter() {
    Utf8Prefix character = ReadUtf8(pattern_.substr(at_));
    if (absl::Status status = CheckCase({character.code_point, character.code_point}); !status.ok())
      return status;
    Copy(character.length);
    return absl::OkStatus();
  }

  absl::Status Next() {
    char c = pattern_[at_];
    if (c == '\\') {
      bool done = false;
      if (absl::Status status = NextEscape(/*in_brackets=*/false, done); !status.ok() || done)
        return status;
      char letter = at_ + 1 < pattern_.size() ? pattern_[at_ + 1] : '\0';
      if (letter == 'X' || letter == 'y' || letter == 'Y')
        return Refuse(fmt::format("the escape \\{}", letter), "patterns without grapheme clusters");
      if (letter == 'b' || letter == 'B') {
        at_ += 2;
        std::string word = Ranges(WordCharacters(WordPlace::kOutside), false);
        if (options_.back().ignore_case)
          word = "(?-i:" + word + ")";
        bool boundary = letter == 'b';
        out_ +=
            fmt::format("(?:(?<={0})(?{1}{0})|(?<!{0})(?{2}{0}))", word, boundary ? '!' : '=', boundary ? '=' : '!');
        return absl::OkStatus();
      }
      Copy(1);
      return AtEnd() ? absl::OkStatus() : CopyCharacter();
    }
    if (c == '[')
      return Brackets(0);
    if (c == '(')
      return Open();
    if (c == ')') {
      if (options_.size() > 1)
        options_.pop_back();
      Copy(1);
      return absl::OkStatus();
    }
    if (c == '#' && options_.back().extended) {
      CopyThrough("\n");
      return absl::OkStatus();
    }
    return CopyCharacter();
  }

  absl::Status Open() {
    if (StartsWith("(?#")) {
      CopyThrough(")");
      return absl::OkStatus();
    }
    if (StartsWith("(*") || StartsWith("(?{"))
      return Refuse("a callout", "patterns without callouts");
    if (options_.size() > kMaxDepth)
      return Refuse("groups nested too deep", fmt::format("{} levels", kMaxDepth));
    Options options = options_.back();
    if (!StartsWith("(?") || at_ + 2 >= pattern_.size() ||
        std::string_view(":=!><~('").find(pattern_[at_ + 2]) != std::string_view::npos) {
      Copy(StartsWith("(?") ? 2 : 1);
      options_.push_back(options);
      return absl::OkStatus();
    }
    size_t end = at_ + 2;
    bool on = true;
    for (; end < pattern_.size() && pattern_[end] != ')' && pattern_[end] != ':'; ++end) {
      char option = pattern_[end];
      if (option == '-')
        on = false;
      else if (option == 'i')
        options.ignore_case = on;
      else if (option == 'x')
        options.extended = on;
      else if (option != 'm')
        return Refuse(fmt::format("the option {}", Quoted(pattern_.substr(end, 1))), "i, m, x");
    }
    if (end < pattern_.size() && pattern_[end] == ':')
      options_.push_back(options);
    else
      options_.back() = options; // applies up to the end of the group
    Copy(end + 1 - at_);
    return absl::OkStatus();
  }

  // The name in [:name:] or [:^name:] at the current position. Empty if there is none.
  std::string_view PosixName() const {
    if (!StartsWith("[:"))
      return {};
    size_t begin = at_ + 2, end = begin;
    if (end < pattern_.size() && pattern_[end] == '^')
      ++end;
    while (end < pattern_.size() &&
           ((pattern_[end] >= 'a' && pattern_[end] <= 'z') || (pattern_[end] >= 'A' && pattern_[end] <= 'Z')))
      ++end;
    return pattern_.substr(end).starts_with(":]") ? pattern_.substr(begin, end - begin) : std::string_view{};
  }

  // Handles a bracket expression from '[' to its ']'.
  absl::Status Brackets(int depth) {
    if (depth > kMaxDepth)
      return Refuse("brackets nested too deep", fmt::format("{} levels", kMaxDepth));
    Copy(1);
    if (StartsWith("^"))
      Copy(1);
    if (StartsWith("]")) // a leading ']' is a character
      Copy(1);
    uint32_t previous = 0; // the previous character, the first of a range if '-' follows
    while (!AtEnd()) {
      if (out_.size() > kMaxWrittenBytes)
        return absl::OkStatus(); // Run() returns the error
      if (StartsWith("]")) {
        Copy(1);
        return absl::OkStatus();
      }
      if (std::string_view name = PosixName(); !name.empty()) {
        at_ += name.size() + 4;
        bool negative = name.starts_with('^');
        CodePointSet set;
        if (absl::Status status = FindSet(name.substr(negative ? 1 : 0), /*posix=*/true, /*in_brackets=*/true, set);
            !status.ok())
          return status;
        Add(/*in_brackets=*/true, set, negative);
        continue;
      }
      if (StartsWith("[")) {
        if (absl::Status status = Brackets(depth + 1); !status.ok())
          return status;
        continue;
      }
      if (StartsWith("\\")) {
        bool done = false;
        if (absl::Status status = NextEscape(/*in_brackets=*/true, done); !status.ok())
          return status;
        if (done)
          continue;
        Copy(1);
        if (AtEnd())
          return absl::OkStatus();
      } else if (StartsWith("-") && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
        Copy(1);
        uint32_t last = ReadUtf8(pattern_.substr(at_)).code_point;
        if (absl::Status status = CheckCase({previous, std::max(previous, last)}); !status.ok())
          return status;
        continue;
      }
      previous = ReadUtf8(pattern_.substr(at_)).code_point;
      if (absl::Status status = CopyCharacter(); !status.ok())
        return status;
    }
    return absl::OkStatus();
  }

  std::string_view pattern_;
  std::string_view key_;
  size_t at_ = 0;
  std::string out_;
  std::vector<Options> options_ = {{}}; // options of each open group
};

} // namespace

absl::StatusOr<std::string> WriteOutUnicodeSets(std::string_view pattern, std::string_view key) {
  return Writer(pattern, key).Run();
}

} // namespace inlay::tokenizer
