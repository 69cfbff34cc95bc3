// The parts of a tokenizer around its model: normalizer, pre-tokenizer, post-processor and decoder. Each is a list of
// steps. tokenizer_json.cc creates them from tokenizer.json; pipeline.cc implements them.
#ifndef INLAY_FORMATS_TOKENIZER_PIPELINE_H_
#define INLAY_FORMATS_TOKENIZER_PIPELINE_H_

#include "formats/tokenizer/character_map.h"
#include "formats/tokenizer/regex.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace inlay::tokenizer {

// ---- patterns

// `{"String": ...}` or `{"Regex": ...}`.
struct Pattern {
  std::string literal;
  std::optional<Regex> regex;

  absl::StatusOr<std::vector<TextRange>> FindAll(std::string_view text) const;
};

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// ---- normalizers: text to text

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };
struct Prepend {
  std::string text;
};
struct Lowercase {};
struct Replace {
  Pattern pattern;
  std::string content;
};
struct StripSpace {
  bool left = false;
  bool right = false;
};
using NormalizerStep = std::variant<UnicodeForm, Prepend, Lowercase, Replace, StripSpace, CharacterMap>;

absl::StatusOr<std::string> Normalize(const std::vector<NormalizerStep> &steps, std::string text);

// ---- pre-tokenizers: text to words, which the model encodes one by one

struct Split {
  Pattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
};
// Splits the text by GPT-2's pattern if `pattern` is set. Then maps each byte to a printable character.
struct ByteLevel {
  bool add_prefix_space = false;
  std::optional<Pattern> pattern;
};
enum class PrependScheme { kFirst, kNever, kAlways };
struct Metaspace {
  std::string replacement = "\xE2\x96\x81"; // U+2581
  PrependScheme prepend_scheme = PrependScheme::kAlways;
  bool split = true;
};
// Splits at each character of a kind: Digits, Punctuation, WhitespaceSplit.
struct CharacterSplit {
  bool (*is_delimiter)(uint32_t code_point) = nullptr;
  SplitBehavior behavior = SplitBehavior::kIsolated;
};
// Keeps only the matches of `\w+|[^\w\s]+`.
struct Whitespace {};
using PreTokenizerStep = std::variant<Split, ByteLevel, Metaspace, CharacterSplit, Whitespace>;

// `at_start`: whether `text` is the beginning of the encoded text.
absl::StatusOr<std::vector<std::string>> PreTokenize(const std::vector<PreTokenizerStep> &steps, std::string text,
                                                     bool at_start);

// GPT-2's pattern.
extern const std::string_view kByteLevelPattern;

// ---- post-processor: adds ids before and after the text

// TemplateProcessing for one sequence.
struct Template {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

// ---- decoder: tokens to text

// Supports the sequences that model families use: {Replace | Metaspace | Strip}* ByteFallback? Fuse? Strip?, or
// ByteLevel.
struct Strip {
  std::string content; // one character
  int start = 0;
  int stop = 0;
};
using TokenDecoderStep = std::variant<Replace, Metaspace, Strip>;
struct Decoder {
  std::vector<TokenDecoderStep> token_steps;
  bool byte_level = false;
  bool byte_fallback = false;
  std::string separator;      // between tokens; used if the file has no decoder
  std::optional<Strip> strip; // applied to the whole text; `stop` is 0
};

// The state of decoding a text token by token.
struct DecoderState {
  bool first = true;        // no token was decoded yet
  std::string bytes;        // bytes of incomplete characters
  int stripped = 0;         // number of characters stripped from the beginning
  bool strip_ended = false; // no more characters are stripped
};

// Appends the text that `token` completes. `eager`: byte tokens are decoded as soon as they form a character. Otherwise
// they are decoded at the end of the run, as in the `tokenizers` library, which replaces the whole run with U+FFFD if
// it is invalid.
absl::Status DecodeToken(const Decoder &decoder, std::string_view token, bool eager, DecoderState &state,
                         std::string &out);
// The bytes of a token that is not the first one.
absl::StatusOr<std::string> TokenBytes(const Decoder &decoder, std::string_view token);
void FinishDecode(const Decoder &decoder, DecoderState &state, std::string &out);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_PIPELINE_H_
