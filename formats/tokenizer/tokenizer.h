// Converts text to token ids and back. Supports tokenizer.json files with a BPE model, byte-level or in SentencePiece
// style, such as those of Llama, Mistral, Qwen, SmolLM, StarCoder, Falcon and DeepSeek-Coder, or with SentencePiece's
// unigram model. The ids are the same as those of the `tokenizers` library. Unknown parts of a file are refused; the
// error names them.
#ifndef INLAY_FORMATS_TOKENIZER_TOKENIZER_H_
#define INLAY_FORMATS_TOKENIZER_TOKENIZER_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::tokenizer {

struct DecoderState;

// The texts of a tokenizer's files.
struct TokenizerFiles {
  std::string tokenizer_json;
  std::optional<std::string> tokenizer_config;   // tokenizer_config.json
  std::optional<std::string> special_tokens_map; // special_tokens_map.json
  std::optional<std::string> added_tokens;       // added_tokens.json
};

// An entry of `added_tokens`. Added tokens are found in the text before the model encodes the rest.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;     // skipped by Decode(..., skip_special_tokens = true)
  bool single_word = false; // found only if no word characters are adjacent
  bool lstrip = false;      // includes the white space to its left
  bool rstrip = false;      // includes the white space to its right
  bool normalized = false;  // found in the normalized text instead of the raw one
};

// Immutable once loaded; every method may be called from several threads.
class Tokenizer {
public:
  // Reads tokenizer.json and the other files of TokenizerFiles that exist, as transformers' fast tokenizers do.
  // NotFound, with the fix, if tokenizer.json is missing.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string &directory);

  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromFiles(const TokenizerFiles &files);

  // The same for two of the files. An empty `tokenizer_config_json` means that the file is missing.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(std::string_view tokenizer_json,
                                                             std::string_view tokenizer_config_json = {});
  ~Tokenizer();

  // The token ids of `text`. With `add_special_tokens`, includes the ids that the post-processor adds, such as
  // bos_token. Invalid UTF-8 is replaced with U+FFFD, as with Python's errors="replace".
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special_tokens = true) const;

  // The text of `ids`, always valid UTF-8. InvalidArgument for an id without a token.
  absl::StatusOr<std::string> Decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  // One more than the largest id, including added tokens.
  int32_t vocab_size() const;
  const std::vector<AddedToken> &added_tokens() const;
  bool IsSpecial(int32_t id) const;

  // The id of a token in the spelling of the vocabulary ("<|eot_id|>", "Ġthe"), and the reverse.
  std::optional<int32_t> TokenToId(std::string_view token) const;
  std::optional<std::string_view> IdToToken(int32_t id) const;

  // The bytes that a token adds to a text when it is not the first token. They may be a part of a character. Empty for
  // special tokens and for ids without a token.
  std::string TokenBytes(int32_t id) const;

  // The named special tokens of the files as (name, content): bos_token, pad_token, image_token and so on, in
  // transformers' order. Chat templates see them under these names.
  const std::vector<std::pair<std::string, std::string>> &special_tokens() const;

  // Messages about parts of the files that are ignored or have an unexpected effect: "FILE: KEY: ignored: REASON".
  const std::vector<std::string> &notes() const;

  // The special tokens with these names. Empty if not defined.
  const std::string &bos_token() const;
  const std::string &eos_token() const;
  const std::string &unk_token() const;
  const std::string &pad_token() const;

private:
  friend class DetokenizeStream;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Decodes ids one at a time, as they are generated. A piece never ends inside a character. The joined pieces are equal
// to the result of Decode for all ids, with one exception: byte-fallback tokens are decoded as soon as they form a
// character, but Decode replaces a whole run of them with U+FFFD if any of the run is invalid. `tokenizer` must outlive
// the stream.
class DetokenizeStream {
public:
  explicit DetokenizeStream(const Tokenizer &tokenizer, bool skip_special_tokens = true);
  ~DetokenizeStream();
  DetokenizeStream(DetokenizeStream &&) noexcept;
  DetokenizeStream &operator=(DetokenizeStream &&) noexcept;

  // The text that `id` completes. Empty while a character is incomplete.
  absl::StatusOr<std::string> Push(int32_t id);

  // Returns the text that is still held back and resets the stream. An incomplete character becomes U+FFFD.
  absl::StatusOr<std::string> Flush();

private:
  const Tokenizer *tokenizer_;
  bool skip_special_tokens_;
  std::unique_ptr<DecoderState> state_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TOKENIZER_H_
