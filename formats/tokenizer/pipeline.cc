#include "formats/tokenizer/pipeline.h"

#include "formats/tokenizer/unicode.h"
#include "formats/tokenizer/unicode_properties.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

namespace inlay::tokenizer {

const std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

template <class... Fs> struct Overloaded : Fs... {
  using Fs::operator()...;
};

// GPT-2's table of characters for bytes: printable Latin-1 bytes map to themselves, the others to U+0100 and up.
struct ByteTable {
  std::array<std::string, 256> character; // UTF-8
  std::array<int, 0x144> byte;            // by code point; -1: no byte
  ByteTable() {
    byte.fill(-1);
    uint32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      uint32_t code_point = printable ? static_cast<uint32_t>(b) : next++;
      AppendUtf8(code_point, character[b]);
      byte[code_point] = b;
    }
  }
};
const ByteTable &Bytes() {
  static const ByteTable table;
  return table;
}

absl::StatusOr<std::string> ReplaceAll(const Replace &replace, std::string_view text) {
  absl::StatusOr<std::vector<TextRange>> matches = replace.pattern.FindAll(text);
  if (!matches.ok())
    return matches.status();
  if (matches->size() * replace.content.size() > (size_t{1} << 30))
    return absl::ResourceExhaustedError(
        "the tokenizer's Replace would produce more than 1 GiB of text; shorten the text");
  std::string out;
  size_t at = 0;
  for (TextRange match : *matches) {
    out += text.substr(at, match.begin - at);
    out += replace.content;
    at = match.end;
  }
  out += text.substr(at);
  return out;
}

absl::Status MapUnicode(std::string_view text, int options, std::string &out) {
  if (text.empty())
    return absl::OkStatus();
  utf8proc_uint8_t *mapped = nullptr;
  utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &mapped, static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
  if (length < 0)
    return absl::InternalError(fmt::format("Unicode normalisation failed: {}", utf8proc_errmsg(length)));
  out.append(reinterpret_cast<char *>(mapped), static_cast<size_t>(length));
  std::free(mapped);
  return absl::OkStatus();
}

// Characters that the normalizers of the `tokenizers` library do not know are neither reordered nor composed, so only
// the parts of the text between them are mapped.
absl::StatusOr<std::string> MapKnownUnicode(std::string_view text, int options) {
  std::string out;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    Utf8Prefix character = ReadUtf8(text.substr(at));
    if (IsUnknownToNormalizers(character.code_point)) {
      if (absl::Status status = MapUnicode(text.substr(begin, at - begin), options, out); !status.ok())
        return status;
      out += text.substr(at, character.length);
      begin = at + character.length;
    }
    at += character.length;
  }
  if (absl::Status status = MapUnicode(text.substr(begin), options, out); !status.ok())
    return status;
  return out;
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

absl::StatusOr<std::string> ToForm(UnicodeForm form, std::string text) {
  if (IsAscii(text))
    return text;
  switch (form) {
  case UnicodeForm::kNfc:
    return MapKnownUnicode(text, UTF8PROC_COMPOSE);
  case UnicodeForm::kNfd:
    return MapKnownUnicode(text, UTF8PROC_DECOMPOSE);
  case UnicodeForm::kNfkc:
    return MapKnownUnicode(text, UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  case UnicodeForm::kNfkd:
    return MapKnownUnicode(text, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  }
  return absl::InternalError("unknown Unicode form");
}

std::string ToLower(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    Utf8Prefix prefix = ReadUtf8(text);
    text.remove_prefix(prefix.length);
    if (prefix.code_point == 0x130) // the only character whose lower case is two characters
      out += "i\xCC\x87";
    else
      AppendUtf8(LowerCase(prefix.code_point), out);
  }
  return out;
}

std::string_view StripWhiteSpace(const StripSpace &step, std::string_view text) {
  while (step.left && !text.empty() && IsWhiteSpace(ReadUtf8(text).code_point))
    text.remove_prefix(ReadUtf8(text).length);
  while (step.right && !text.empty() && IsWhiteSpace(LastCharacter(text).code_point))
    text.remove_suffix(LastCharacter(text).length);
  return text;
}

// A match of a pattern, or the text between two matches.
struct Piece {
  TextRange range;
  bool matches;
};

std::vector<TextRange> SplitText(size_t size, const std::vector<TextRange> &matches, SplitBehavior behavior,
                                 bool invert) {
  std::vector<Piece> pieces;
  size_t at = 0;
  for (TextRange match : matches) {
    if (at < match.begin)
      pieces.push_back({{at, match.begin}, invert});
    pieces.push_back({match, !invert});
    at = match.end;
  }
  if (at < size)
    pieces.push_back({{at, size}, invert});

  std::vector<TextRange> out;
  bool previous = false;
  switch (behavior) {
  case SplitBehavior::kIsolated:
    for (const Piece &piece : pieces)
      out.push_back(piece.range);
    break;
  case SplitBehavior::kRemoved:
    for (const Piece &piece : pieces)
      if (!piece.matches)
        out.push_back(piece.range);
    break;
  case SplitBehavior::kContiguous:
    for (const Piece &piece : pieces) {
      if (!out.empty() && piece.matches == previous)
        out.back().end = piece.range.end;
      else
        out.push_back(piece.range);
      previous = piece.matches;
    }
    break;
  case SplitBehavior::kMergedWithPrevious:
    for (const Piece &piece : pieces) {
      if (piece.matches && !previous && !out.empty())
        out.back().end = piece.range.end;
      else
        out.push_back(piece.range);
      previous = piece.matches;
    }
    break;
  case SplitBehavior::kMergedWithNext:
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
      if (piece->matches && !previous && !out.empty())
        out.back().begin = piece->range.begin;
      else
        out.push_back(piece->range);
      previous = piece->matches;
    }
    std::reverse(out.begin(), out.end());
    break;
  }
  return out;
}

// A word that passes through the pre-tokenizers.
struct Word {
  std::string text;
  bool at_start;
};

void SplitWord(const Word &word, const std::vector<TextRange> &matches, SplitBehavior behavior, bool invert,
               std::vector<Word> &out) {
  for (TextRange range : SplitText(word.text.size(), matches, behavior, invert))
    out.push_back({word.text.substr(range.begin, range.end - range.begin), word.at_start && range.begin == 0});
}

absl::Status SplitWord(const Word &word, const Pattern &pattern, SplitBehavior behavior, bool invert,
                       std::vector<Word> &out) {
  absl::StatusOr<std::vector<TextRange>> matches = pattern.FindAll(word.text);
  if (!matches.ok())
    return matches.status();
  SplitWord(word, *matches, behavior, invert, out);
  return absl::OkStatus();
}

absl::Status Apply(const Split &step, Word word, std::vector<Word> &out) {
  return SplitWord(word, step.pattern, step.behavior, step.invert, out);
}

absl::Status Apply(const ByteLevel &step, Word word, std::vector<Word> &out) {
  if (step.add_prefix_space && !word.text.starts_with(' '))
    word.text.insert(0, " ");
  size_t first = out.size();
  if (!step.pattern)
    out.push_back(std::move(word));
  else if (absl::Status status = SplitWord(word, *step.pattern, SplitBehavior::kIsolated, false, out); !status.ok())
    return status;
  for (size_t i = first; i < out.size(); ++i) {
    std::string mapped;
    mapped.reserve(out[i].text.size() * 2);
    for (char c : out[i].text)
      mapped += Bytes().character[static_cast<uint8_t>(c)];
    out[i].text = std::move(mapped);
  }
  return absl::OkStatus();
}

absl::Status Apply(const Metaspace &step, Word word, std::vector<Word> &out) {
  std::string text;
  for (char c : word.text) {
    if (c == ' ')
      text += step.replacement;
    else
      text += c;
  }
  bool prepend =
      step.prepend_scheme == PrependScheme::kAlways || (step.prepend_scheme == PrependScheme::kFirst && word.at_start);
  if (prepend && !text.starts_with(step.replacement))
    text.insert(0, step.replacement);
  word.text = std::move(text);
  if (!step.split) {
    out.push_back(std::move(word));
    return absl::OkStatus();
  }
  return SplitWord(word, Pattern{step.replacement, std::nullopt}, SplitBehavior::kMergedWithNext, false, out);
}

absl::Status Apply(const CharacterSplit &step, Word word, std::vector<Word> &out) {
  std::vector<TextRange> matches;
  for (size_t at = 0; at < word.text.size();) {
    Utf8Prefix character = ReadUtf8(std::string_view(word.text).substr(at));
    if (step.is_delimiter(character.code_point))
      matches.push_back({at, at + character.length});
    at += character.length;
  }
  SplitWord(word, matches, step.behavior, /*invert=*/false, out);
  return absl::OkStatus();
}

absl::Status Apply(const Whitespace &, Word word, std::vector<Word> &out) {
  enum class Kind { kSpace, kWord, kOther };
  std::vector<TextRange> runs;
  Kind previous = Kind::kSpace;
  for (size_t at = 0; at < word.text.size();) {
    Utf8Prefix character = ReadUtf8(std::string_view(word.text).substr(at));
    Kind kind = IsWordCharacter(character.code_point) ? Kind::kWord
                : IsWhiteSpace(character.code_point)  ? Kind::kSpace
                                                      : Kind::kOther;
    if (kind == previous && kind != Kind::kSpace)
      runs.back().end += character.length;
    else if (kind != Kind::kSpace)
      runs.push_back({at, at + character.length});
    previous = kind;
    at += character.length;
  }
  SplitWord(word, runs, SplitBehavior::kRemoved, /*invert=*/true, out);
  return absl::OkStatus();
}

std::string Decode(const Metaspace &step, std::string_view token, bool first) {
  absl::StatusOr<std::string> out = ReplaceAll(
      {Pattern{step.replacement, std::nullopt}, first && step.prepend_scheme != PrependScheme::kNever ? "" : " "},
      token);
  return out.ok() ? *std::move(out) : std::string(token);
}

std::string Decode(const Strip &step, std::string_view token) {
  for (int i = 0; i < step.start && token.starts_with(step.content); ++i)
    token.remove_prefix(step.content.size());
  for (int i = 0; i < step.stop && token.ends_with(step.content); ++i)
    token.remove_suffix(step.content.size());
  return std::string(token);
}

// The byte of a token of the form <0x0A>. -1 for other tokens.
int FallbackByte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with(">"))
    return -1;
  int value = 0;
  for (char c : token.substr(3, 2)) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
    if (digit < 0)
      return -1;
    value = value * 16 + digit;
  }
  return value;
}

// Appends the bytes of a byte-level token. A token with characters outside of the byte table (an added token) is
// appended unchanged.
void AppendByteLevel(std::string_view token, std::string &out) {
  std::string bytes;
  for (std::string_view rest = token; !rest.empty();) {
    Utf8Prefix prefix = ReadUtf8(rest);
    if (!prefix.valid || prefix.code_point >= Bytes().byte.size() || Bytes().byte[prefix.code_point] < 0) {
      out += token;
      return;
    }
    bytes += static_cast<char>(Bytes().byte[prefix.code_point]);
    rest.remove_prefix(prefix.length);
  }
  out += bytes;
}

// The last step: strips up to `start` characters from the beginning of the whole text.
void Emit(const Decoder &decoder, DecoderState &state, std::string_view text, std::string &out) {
  if (decoder.strip && !state.strip_ended && !text.empty()) {
    while (state.stripped < decoder.strip->start && text.starts_with(decoder.strip->content)) {
      text.remove_prefix(decoder.strip->content.size());
      ++state.stripped;
    }
    state.strip_ended = !text.empty() || state.stripped == decoder.strip->start;
  }
  out += text;
}

// Ends a run of byte tokens. Outputs the bytes if they are valid UTF-8, else U+FFFD for each byte.
void EndRun(const Decoder &decoder, DecoderState &state, std::string &out) {
  if (state.bytes.empty())
    return;
  if (IsValidUtf8(state.bytes)) {
    Emit(decoder, state, state.bytes, out);
  } else {
    for (size_t i = 0; i < state.bytes.size(); ++i)
      Emit(decoder, state, kReplacementCharacter, out);
  }
  state.bytes.clear();
}

} // namespace

absl::StatusOr<std::vector<TextRange>> Pattern::FindAll(std::string_view text) const {
  if (regex)
    return regex->FindAll(text);
  std::vector<TextRange> matches;
  if (literal.empty())
    return matches;
  for (size_t at = text.find(literal); at != text.npos; at = text.find(literal, at + literal.size()))
    matches.push_back({at, at + literal.size()});
  return matches;
}

absl::StatusOr<std::string> Normalize(const std::vector<NormalizerStep> &steps, std::string text) {
  for (const NormalizerStep &step : steps) {
    absl::StatusOr<std::string> next =
        std::visit(Overloaded{[&](UnicodeForm form) { return ToForm(form, std::move(text)); },
                              [&](const Prepend &prepend) -> absl::StatusOr<std::string> {
                                return text.empty() ? text : prepend.text + text;
                              },
                              [&](const Lowercase &) -> absl::StatusOr<std::string> { return ToLower(text); },
                              [&](const StripSpace &strip) -> absl::StatusOr<std::string> {
                                return std::string(StripWhiteSpace(strip, text));
                              },
                              [&](const CharacterMap &map) { return map.Apply(text); },
                              [&](const Replace &replace) { return ReplaceAll(replace, text); }},
                   step);
    if (!next.ok())
      return next.status();
    text = *std::move(next);
  }
  return text;
}

absl::StatusOr<std::vector<std::string>> PreTokenize(const std::vector<PreTokenizerStep> &steps, std::string text,
                                                     bool at_start) {
  if (text.empty())
    return std::vector<std::string>();
  std::vector<Word> words;
  words.push_back({std::move(text), at_start});
  for (const PreTokenizerStep &step : steps) {
    std::vector<Word> next;
    for (Word &word : words) {
      absl::Status status =
          std::visit([&](const auto &concrete) { return Apply(concrete, std::move(word), next); }, step);
      if (!status.ok())
        return status;
    }
    std::erase_if(next, [](const Word &word) { return word.text.empty(); });
    words = std::move(next);
  }
  std::vector<std::string> out;
  out.reserve(words.size());
  for (Word &word : words)
    out.push_back(std::move(word.text));
  return out;
}

// Applies the per-token steps to a token.
static absl::StatusOr<std::string> DecodeSteps(const Decoder &decoder, std::string_view token, bool first) {
  std::string text(token);
  for (const TokenDecoderStep &step : decoder.token_steps) {
    absl::StatusOr<std::string> next =
        std::visit(Overloaded{[&](const Replace &replace) { return ReplaceAll(replace, text); },
                              [&](const Metaspace &metaspace) -> absl::StatusOr<std::string> {
                                return Decode(metaspace, text, first);
                              },
                              [&](const Strip &strip) -> absl::StatusOr<std::string> { return Decode(strip, text); }},
                   step);
    if (!next.ok())
      return next.status();
    text = *std::move(next);
  }
  return text;
}

absl::StatusOr<std::string> TokenBytes(const Decoder &decoder, std::string_view token) {
  std::string bytes;
  if (decoder.byte_level) {
    AppendByteLevel(token, bytes);
    return bytes;
  }
  absl::StatusOr<std::string> text = DecodeSteps(decoder, token, /*first=*/false);
  int byte = text.ok() && decoder.byte_fallback ? FallbackByte(*text) : -1;
  return byte < 0 ? text : absl::StatusOr<std::string>(std::string(1, static_cast<char>(byte)));
}

absl::Status DecodeToken(const Decoder &decoder, std::string_view token, bool eager, DecoderState &state,
                         std::string &out) {
  bool first = std::exchange(state.first, false);
  if (!first && !decoder.separator.empty())
    out += decoder.separator;
  if (decoder.byte_level) {
    AppendByteLevel(token, state.bytes);
    size_t complete = state.bytes.size() - IncompleteSuffix(state.bytes);
    out += ReplaceInvalidUtf8(std::string_view(state.bytes).substr(0, complete));
    state.bytes.erase(0, complete);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> decoded = DecodeSteps(decoder, token, first);
  if (!decoded.ok())
    return decoded.status();
  std::string text = *std::move(decoded);
  int byte = decoder.byte_fallback ? FallbackByte(text) : -1;
  if (byte < 0) {
    EndRun(decoder, state, out);
    Emit(decoder, state, text, out);
    return absl::OkStatus();
  }
  state.bytes += static_cast<char>(byte);
  if (eager && IncompleteSuffix(state.bytes) != state.bytes.size()) // at most three bytes are held back
    EndRun(decoder, state, out);
  return absl::OkStatus();
}

void FinishDecode(const Decoder &decoder, DecoderState &state, std::string &out) {
  if (decoder.byte_level) {
    out += ReplaceInvalidUtf8(state.bytes);
    state.bytes.clear();
  } else {
    EndRun(decoder, state, out);
  }
  state = {};
}

} // namespace inlay::tokenizer
