// Text to token ids and back, for tokenizer.json files with a BPE model, byte-level
// or in SentencePiece style, as Llama, Mistral, Qwen, SmolLM, StarCoder, Falcon
// and DeepSeek-Coder ship them.
// Ids are those that the `tokenizers` library gives. Parts of a file that are
// not known are refused by name.
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
  std::optional<std::string> tokenizer_config;   // of tokenizer_config.json
  std::optional<std::string> special_tokens_map; // of special_tokens_map.json
  std::optional<std::string> added_tokens;       // of added_tokens.json
};

// An entry of `added_tokens`: found in the text before the model sees it.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;     // left out by Decode(..., skip_special_tokens = true)
  bool single_word = false; // found only between characters that no word holds
  bool lstrip = false;      // takes the white space to its left with it
  bool rstrip = false;      // takes the white space to its right with it
  bool normalized = false;  // looked for in the normalised text instead of the raw one
};

// Immutable once loaded; every method may be called from several threads.
class Tokenizer {
public:
  // Reads tokenizer.json, and the other files of TokenizerFiles that are there, as transformers' fast tokenizers do.
  // Where tokenizer.json is missing the error says what to do.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string &directory);

  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromFiles(const TokenizerFiles &files);

  // The same from two of the files; an empty `tokenizer_config_json` stands for a missing one.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(std::string_view tokenizer_json,
                                                             std::string_view tokenizer_config_json = {});
  ~Tokenizer();

  // The ids of `text`, with those that the post-processor adds (such as the beginning of the sequence) if
  // `add_special_tokens`. Bytes that are no UTF-8 count as U+FFFD, as Python's errors="replace" does it.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special_tokens = true) const;

  // The text of `ids`, always valid UTF-8. An id that names no token is an error.
  absl::StatusOr<std::string> Decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  // One more than the largest id, added tokens included.
  int32_t vocab_size() const;
  const std::vector<AddedToken> &added_tokens() const;
  bool IsSpecial(int32_t id) const;

  // The id of a token as the vocabulary spells it ("<|eot_id|>", "Ġthe"), and back.
  std::optional<int32_t> TokenToId(std::string_view token) const;
  std::optional<std::string_view> IdToToken(int32_t id) const;

  // The bytes that a token adds to a text that something stands before. They need not be whole characters. Empty for
  // special tokens and for ids that name none.
  std::string TokenBytes(int32_t id) const;

  // The special tokens that the files name, as (name, content): bos_token, pad_token, image_token and so on, in
  // transformers' order. Chat templates see them under these names.
  const std::vector<std::pair<std::string, std::string>> &special_tokens() const;

  // What the files say that changes nothing, or that has an effect which one would not expect: "FILE: KEY: ignored:
  // REASON".
  const std::vector<std::string> &notes() const;

  // Of the special tokens, empty if none has that name.
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

// Ids to text, one at a time, as they are generated; a piece never ends inside a character. The pieces joined are what
// Decode gives for all ids, except that byte-fallback tokens are given as soon as they make a character, where Decode
// has U+FFFD for each of a run of them if any of the run is invalid. `tokenizer` must outlive the stream.
class DetokenizeStream {
public:
  explicit DetokenizeStream(const Tokenizer &tokenizer, bool skip_special_tokens = true);
  ~DetokenizeStream();
  DetokenizeStream(DetokenizeStream &&) noexcept;
  DetokenizeStream &operator=(DetokenizeStream &&) noexcept;

  // The text that `id` completes: empty while a character is unfinished.
  absl::StatusOr<std::string> Push(int32_t id);

  // What is still held back; an unfinished character is U+FFFD. The stream is then as new.
  absl::StatusOr<std::string> Flush();

private:
  const Tokenizer *tokenizer_;
  bool skip_special_tokens_;
  std::unique_ptr<DecoderState> state_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TOKENIZER_H_
