#include "formats/tokenizer/character_map.h"

#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>
#include <utf8proc.h>

namespace inlay::tokenizer {
namespace {

constexpr size_t kMaxNormalizedBytes = size_t{1} << 30;
constexpr size_t kGraphemeLimit = 6; // bytes; longer graphemes are replaced character by character

uint32_t ReadUnit(std::string_view bytes) {
  uint32_t unit = 0;
  for (int i = 3; i >= 0; --i)
    unit = unit << 8 | static_cast<uint8_t>(bytes[static_cast<size_t>(i)]);
  return unit;
}

bool HasValue(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Value(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t Label(uint32_t unit) { return unit & 0x800000FF; }
uint32_t Offset(uint32_t unit) { return unit >> 10 << ((unit & 0x200) >> 6); }

// The length in bytes of the first grapheme of `text`.
size_t GraphemeLength(std::string_view text) {
  Utf8Prefix character = ReadUtf8(text);
  size_t length = character.length;
  utf8proc_int32_t state = 0;
  while (length < text.size()) {
    Utf8Prefix next = ReadUtf8(text.substr(length));
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(character.code_point),
                                         static_cast<utf8proc_int32_t>(next.code_point), &state))
      break;
    length += next.length;
    character = next;
  }
  return length;
}

} // namespace

absl::StatusOr<CharacterMap> CharacterMap::Parse(std::string_view bytes) {
  constexpr size_t kUnit = sizeof(uint32_t);
  if (bytes.size() < kUnit)
    return absl::InvalidArgumentError(fmt::format("found {} bytes, expected a trie and its size", bytes.size()));
  uint32_t size = ReadUnit(bytes);
  bytes.remove_prefix(kUnit);
  if (size == 0 || size % kUnit != 0 || size > bytes.size())
    return absl::InvalidArgumentError(
        fmt::format("found a trie of {} bytes, expected a multiple of {} and at most the {} bytes that follow", size,
                    kUnit, bytes.size()));
  CharacterMap map;
  map.trie_.reserve(size / kUnit);
  for (size_t at = 0; at < size; at += kUnit)
    map.trie_.push_back(ReadUnit(bytes.substr(at)));
  map.replacements_ = bytes.substr(size);
  if (!IsValidUtf8(map.replacements_))
    return absl::InvalidArgumentError("found replacements that are not UTF-8");
  return map;
}

absl::StatusOr<std::optional<std::string_view>> CharacterMap::Find(std::string_view text) const {
  const absl::Status damaged =
      absl::InvalidArgumentError("the tokenizer's Precompiled normalizer is damaged: a lookup leaves its trie");
  uint32_t node = Offset(trie_[0]);
  for (char c : text) {
    auto byte = static_cast<uint8_t>(c);
    if (byte == 0)
      break;
    node ^= byte;
    if (node >= trie_.size())
      return damaged;
    uint32_t unit = trie_[node];
    if (Label(unit) != byte)
      break;
    node ^= Offset(unit);
    if (!HasValue(unit))
      continue;
    if (node >= trie_.size())
      return damaged;
    uint32_t begin = Value(trie_[node]);
    if (begin > replacements_.size())
      return damaged;
    std::string_view found = std::string_view(replacements_).substr(begin);
    found = found.substr(0, found.find('\0'));
    if (!IsValidUtf8(found))
      return damaged;
    return found;
  }
  return std::nullopt;
}

absl::StatusOr<std::string> CharacterMap::Apply(std::string_view text) const {
  std::string out;
  while (!text.empty()) {
    std::string_view grapheme = text.substr(0, GraphemeLength(text));
    text.remove_prefix(grapheme.size());
    // The whole grapheme first, then its characters.
    for (bool is_whole : {true, false}) {
      if (is_whole && grapheme.size() >= kGraphemeLimit)
        continue;
      while (!grapheme.empty()) {
        std::string_view part = grapheme.substr(0, is_whole ? grapheme.size() : ReadUtf8(grapheme).length);
        absl::StatusOr<std::optional<std::string_view>> replacement = Find(part);
        if (!replacement.ok())
          return replacement.status();
        if (is_whole && !*replacement)
          break;
        out += replacement->value_or(part);
        grapheme.remove_prefix(part.size());
      }
    }
    if (out.size() > kMaxNormalizedBytes)
      return absl::ResourceExhaustedError(
          "the tokenizer's Precompiled normalizer would produce more than 1 GiB of text; shorten the text");
  }
  return out;
}

} // namespace inlay::tokenizer
