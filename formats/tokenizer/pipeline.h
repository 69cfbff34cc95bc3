// The parts of a tokenizer around its model, each a list of steps: normaliser,
// pre-tokeniser, post-processor, decoder. tokenizer_json.cc makes them from
// tokenizer.json; what they do is here.
#ifndef INLAY_FORMATS_TOKENIZER_PIPELINE_H_
#define INLAY_FORMATS_TOKENIZER_PIPELINE_H_

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
// --------------------------------------------------------------------------------------------------------

// `{"String": ...}` or `{"Regex": ...}`.
struct Pattern {
  std::string literal;
  std::optional<Regex> regex;

  absl::StatusOr<std::vector<TextRange>> FindAll(std::string_view text) const;
};

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// ---- normalisers: text to text
// ---------------------------------------------------------------------------------------

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
using NormalizerStep = std::variant<UnicodeForm, Prepend, Lowercase, Replace, StripSpace>;

absl::StatusOr<std::string> Normalize(const std::vector<NormalizerStep> &steps, std::string text);

// ---- pre-tokenisers: text to the words that the model encodes alone
// --------------------------------------------------

struct Split {
  Pattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
};
// Each byte becomes a printable character; before, GPT-2's pattern splits if `pattern` is there.
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
// Keeps what `\w+|[^\w\s]+` matches.
struct Whitespace {};
using PreTokenizerStep = std::variant<Split, ByteLevel, Metaspace, CharacterSplit, Whitespace>;

// `at_start`: the text stands at the very beginning of what is encoded.
absl::StatusOr<std::vector<std::string>> PreTokenize(const std::vector<PreTokenizerStep> &steps, std::string text,
                                                     bool at_start);

// GPT-2's pattern.
extern const std::string_view kByteLevelPattern;

// ---- post-processor: what stands around the ids
// ----------------------------------------------------------------------

// TemplateProcessing for one sequence.
struct Template {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

// ---- decoder: tokens to text
// -----------------------------------------------------------------------------------------

// {Replace | Metaspace | Strip}* ByteFallback? Fuse? Strip?, or ByteLevel: what these families ship.
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
  std::string separator;      // between tokens, where there is no decoder at all
  std::optional<Strip> strip; // of the whole text; `stop` is 0
};

// Where a text that is being decoded stands.
struct DecoderState {
  bool first = true;        // no token yet
  std::string bytes;        // of unfinished characters
  int stripped = 0;         // characters taken from the front
  bool strip_ended = false; // something else than these came
};

// Appends what `token` completes. `eager`: bytes that fall back are given as soon as they are characters, not when the
// run of bytes ends (which decides, in the library, whether they all are U+FFFD).
absl::Status DecodeToken(const Decoder &decoder, std::string_view token, bool eager, DecoderState &state,
                         std::string &out);
// What a token that is not the first one stands for, in bytes.
absl::StatusOr<std::string> TokenBytes(const Decoder &decoder, std::string_view token);
void FinishDecode(const Decoder &decoder, DecoderState &state, std::string &out);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_PIPELINE_H_
