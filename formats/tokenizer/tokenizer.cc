#include "formats/tokenizer/tokenizer.h"

#include "formats/tokenizer/added_tokens.h"
#include "formats/tokenizer/bpe.h"
#include "formats/tokenizer/pipeline.h"
#include "formats/tokenizer/tokenizer_config.h"
#include "formats/tokenizer/tokenizer_json.h"
#include "formats/tokenizer/unicode.h"
#include "formats/tokenizer/unicode_properties.h"
#include "formats/tokenizer/unigram.h"

#include "absl/container/flat_hash_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace inlay::tokenizer {
namespace {

// A part of a text: plain text or an added token.
struct Segment {
  TextRange range;
  const AddedToken *token = nullptr;
};

// Finds added tokens in a text: the leftmost match, and the longest of the matches at the same position.
class TokenTrie {
public:
  void Insert(std::string_view content, const AddedToken *token) {
    int32_t node = 0;
    for (char c : content) {
      auto [it, inserted] = edges_.try_emplace(Edge(node, c), static_cast<int32_t>(tokens_.size()));
      if (inserted)
        tokens_.push_back(nullptr);
      node = it->second;
    }
    if (!content.empty()) {
      begins_[static_cast<uint8_t>(content[0])] = true;
      tokens_[node] = token;
    }
  }

  std::vector<Segment> Split(std::string_view text) const {
    std::vector<Segment> out;
    size_t plain = 0; // the beginning of the plain text after the last token
    for (size_t at = 0; at < text.size();) {
      Match match = Longest(text, at);
      if (!match.token) {
        ++at;
        continue;
      }
      size_t begin = at, end = match.end;
      at = end;
      if (match.token->single_word && (EndsInWord(text.substr(0, begin)) || BeginsWord(text.substr(end))))
        continue;
      if (match.token->lstrip)
        begin = std::max(begin - WhiteSpaceBefore(text.substr(0, begin)), plain);
      if (match.token->rstrip)
        end += WhiteSpaceAfter(text.substr(end));
      if (plain < begin)
        out.push_back({{plain, begin}});
      out.push_back({{begin, end}, match.token});
      plain = end;
      at = std::max(at, end);
    }
    if (plain < text.size())
      out.push_back({{plain, text.size()}});
    return out;
  }

private:
  struct Match {
    const AddedToken *token = nullptr;
    size_t end = 0;
  };

  static uint64_t Edge(int32_t node, char c) { return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(c); }

  Match Longest(std::string_view text, size_t begin) const {
    Match match;
    if (!begins_[static_cast<uint8_t>(text[begin])])
      return match;
    int32_t node = 0;
    for (size_t i = begin; i < text.size(); ++i) {
      auto it = edges_.find(Edge(node, text[i]));
      if (it == edges_.end())
        break;
      node = it->second;
      if (tokens_[node])
        match = {tokens_[node], i + 1};
    }
    return match;
  }

  static bool EndsInWord(std::string_view text) {
    return !text.empty() && IsWordCharacter(LastCharacter(text).code_point);
  }
  static bool BeginsWord(std::string_view text) { return !text.empty() && IsWordCharacter(ReadUtf8(text).code_point); }
  static size_t WhiteSpaceBefore(std::string_view text) {
    size_t size = text.size();
    while (!text.empty() && IsWhiteSpace(LastCharacter(text).code_point))
      text.remove_suffix(LastCharacter(text).length);
    return size - text.size();
  }
  static size_t WhiteSpaceAfter(std::string_view text) {
    size_t size = text.size();
    while (!text.empty() && IsWhiteSpace(ReadUtf8(text).code_point))
      text.remove_prefix(ReadUtf8(text).length);
    return size - text.size();
  }

  absl::flat_hash_map<uint64_t, int32_t> edges_;
  std::vector<const AddedToken *> tokens_ = {nullptr}; // by node
  std::array<bool, 256> begins_{};
};

} // namespace

struct Tokenizer::Impl {
  Impl(TokenizerDefinition definition_in, TokenizerConfig config_in)
      : definition(std::move(definition_in)), config(std::move(config_in)) {}

  absl::Status Initialize();
  absl::Status EncodeSegment(std::string_view text, bool at_start, std::vector<int32_t> &ids) const;
  absl::StatusOr<const std::string *> TokenText(int32_t id) const;
  absl::StatusOr<const std::string *> DecodedToken(int32_t id) const;
  const std::string &SpecialToken(std::string_view name) const;

  TokenizerDefinition definition;
  TokenizerConfig config;
  std::unique_ptr<TokenModel> model;
  TokenTrie raw_tokens, normalized_tokens;
  std::vector<const AddedToken *> added_by_id;
  absl::flat_hash_map<int32_t, std::string>
      normalized_content;          // the texts to which normalized added tokens are decoded
  std::vector<std::string> tokens; // by id; empty: no token
};

absl::Status Tokenizer::Impl::Initialize() {
  int32_t size = 0;
  for (const auto &[token, id] : definition.vocabulary)
    size = std::max(size, id + 1);
  for (const AddedToken &token : definition.added_tokens)
    size = std::max(size, token.id + 1);
  tokens.resize(size);
  added_by_id.resize(size);
  for (const auto &[token, id] : definition.vocabulary)
    tokens[id] = token;
  for (const AddedToken &token : definition.added_tokens) {
    tokens[token.id] = token.content;
    added_by_id[token.id] = &token;
    bool looked_for = !(config.split_special_tokens && token.special);
    if (!token.normalized) {
      if (looked_for)
        raw_tokens.Insert(token.content, &token);
      continue;
    }
    absl::StatusOr<std::string> content = Normalize(definition.normalizer, token.content);
    if (!content.ok())
      return content.status();
    if (looked_for)
      normalized_tokens.Insert(*content, &token);
    normalized_content.emplace(token.id, *std::move(content));
  }
  for (const Template &around : definition.post_processor)
    for (const std::vector<int32_t> *ids : {&around.before, &around.after})
      for (int32_t id : *ids)
        if (absl::Status status = TokenText(id).status(); !status.ok())
          return absl::InvalidArgumentError(fmt::format(
              "tokenizer.json: post_processor: {}; fix: correct special_tokens", std::string(status.message())));
  if (auto *merges = std::get_if<BpeDefinition>(&definition.model))
    model = std::make_unique<Bpe>(definition.vocabulary, std::move(*merges));
  else
    model = std::make_unique<Unigram>(definition.vocabulary, std::get<UnigramDefinition>(std::move(definition.model)));
  definition.vocabulary.clear();
  return absl::OkStatus();
}

absl::StatusOr<const std::string *> Tokenizer::Impl::TokenText(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= tokens.size() || tokens[id].empty())
    return absl::InvalidArgumentError(
        fmt::format("found the token id {}, expected one that names a token, below {}", id, tokens.size()));
  return &tokens[id];
}

// The text that the decoder receives for an id. As in the `tokenizers` library, added tokens with `normalized` are
// decoded to their normalized form.
absl::StatusOr<const std::string *> Tokenizer::Impl::DecodedToken(int32_t id) const {
  auto it = normalized_content.find(id);
  return it == normalized_content.end() ? TokenText(id) : &it->second;
}

absl::Status Tokenizer::Impl::EncodeSegment(std::string_view text, bool at_start, std::vector<int32_t> &ids) const {
  absl::StatusOr<std::string> normalized = Normalize(definition.normalizer, std::string(text));
  if (!normalized.ok())
    return normalized.status();
  std::string_view whole = *normalized;
  for (const Segment &segment : normalized_tokens.Split(whole)) {
    if (segment.token) {
      ids.push_back(segment.token->id);
      continue;
    }
    std::string_view part = whole.substr(segment.range.begin, segment.range.end - segment.range.begin);
    absl::StatusOr<std::vector<std::string>> words =
        PreTokenize(definition.pre_tokenizer, std::string(part), at_start && segment.range.begin == 0);
    if (!words.ok())
      return words.status();
    for (const std::string &word : *words)
      model->Encode(word, ids);
  }
  return absl::OkStatus();
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string &directory) {
  absl::StatusOr<std::string> json = ReadTextFile(directory, "tokenizer.json");
  if (absl::IsNotFound(json.status()))
    return absl::NotFoundError(ExplainMissingTokenizer(directory));
  if (!json.ok())
    return json.status();
  TokenizerFiles files;
  files.tokenizer_json = *std::move(json);
  std::pair<const char *, std::optional<std::string> *> others[] = {
      {"tokenizer_config.json", &files.tokenizer_config},
      {"special_tokens_map.json", &files.special_tokens_map},
      {"added_tokens.json", &files.added_tokens}};
  for (auto [name, text] : others) {
    absl::StatusOr<std::string> read = ReadTextFile(directory, name);
    if (read.ok())
      *text = *std::move(read);
    else if (!absl::IsNotFound(read.status()))
      return read.status();
  }
  return FromFiles(files);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromFiles(const TokenizerFiles &files) {
  absl::StatusOr<TokenizerDefinition> definition = ParseTokenizerJson(files.tokenizer_json);
  if (!definition.ok())
    return definition.status();
  absl::StatusOr<TokenizerConfig> config = ReadTokenizerConfig(files, definition->added_tokens);
  if (!config.ok())
    return config.status();
  if (config->cleans_up_spaces && std::holds_alternative<UnigramDefinition>(definition->model))
    return absl::UnimplementedError("tokenizer_config.json: clean_up_tokenization_spaces: found true beside a Unigram "
                                    "model, supported: false; fix: set it to false, which keeps the spaces before "
                                    "punctuation in decoded text");
  if (absl::Status status = AddTokens(config->additions, *definition, config->notes); !status.ok())
    return status;
  config->notes.insert(config->notes.begin(), definition->notes.begin(), definition->notes.end());
  auto impl = std::make_unique<Impl>(*std::move(definition), *std::move(config));
  if (absl::Status status = impl->Initialize(); !status.ok())
    return status;
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(std::string_view tokenizer_json,
                                                               std::string_view tokenizer_config_json) {
  TokenizerFiles files;
  files.tokenizer_json = tokenizer_json;
  if (!tokenizer_config_json.empty())
    files.tokenizer_config = tokenizer_config_json;
  return FromFiles(files);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max() / 4))
    return absl::InvalidArgumentError(fmt::format("found a text of {} bytes, expected at most {}; fix: split it",
                                                  text.size(), std::numeric_limits<int32_t>::max() / 4));
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = ReplaceInvalidUtf8(text);
    text = repaired;
  }
  std::vector<int32_t> ids;
  for (const Segment &segment : impl_->raw_tokens.Split(text)) {
    if (segment.token) {
      ids.push_back(segment.token->id);
      continue;
    }
    std::string_view part = text.substr(segment.range.begin, segment.range.end - segment.range.begin);
    if (absl::Status status = impl_->EncodeSegment(part, segment.range.begin == 0, ids); !status.ok())
      return status;
  }
  if (add_special_tokens) {
    for (const Template &around : impl_->definition.post_processor) {
      ids.insert(ids.begin(), around.before.begin(), around.before.end());
      ids.insert(ids.end(), around.after.begin(), around.after.end());
    }
  }
  return ids;
}

absl::StatusOr<std::string> Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string out;
  DecoderState state;
  for (int32_t id : ids) {
    absl::StatusOr<const std::string *> token = impl_->DecodedToken(id);
    if (!token.ok())
      return token.status();
    if (skip_special_tokens && IsSpecial(id))
      continue;
    absl::Status status = DecodeToken(impl_->definition.decoder, **token, /*eager=*/false, state, out);
    if (!status.ok())
      return status;
  }
  FinishDecode(impl_->definition.decoder, state, out);
  return IsValidUtf8(out) ? out : ReplaceInvalidUtf8(out);
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->tokens.size()); }
const std::vector<AddedToken> &Tokenizer::added_tokens() const { return impl_->definition.added_tokens; }

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && impl_->added_by_id[id] && impl_->added_by_id[id]->special;
}

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  for (const AddedToken &added : impl_->definition.added_tokens)
    if (added.content == token)
      return added.id;
  int32_t id = impl_->model->Find(token);
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

std::optional<std::string_view> Tokenizer::IdToToken(int32_t id) const {
  absl::StatusOr<const std::string *> token = impl_->TokenText(id);
  return token.ok() ? std::optional<std::string_view>(**token) : std::nullopt;
}

std::string Tokenizer::TokenBytes(int32_t id) const {
  absl::StatusOr<const std::string *> token = impl_->DecodedToken(id);
  if (!token.ok() || IsSpecial(id))
    return {};
  absl::StatusOr<std::string> bytes = inlay::tokenizer::TokenBytes(impl_->definition.decoder, **token);
  return bytes.ok() ? *std::move(bytes) : std::string();
}

const std::vector<std::pair<std::string, std::string>> &Tokenizer::special_tokens() const {
  return impl_->config.special_tokens;
}
const std::vector<std::string> &Tokenizer::notes() const { return impl_->config.notes; }

const std::string &Tokenizer::Impl::SpecialToken(std::string_view name) const {
  static const std::string none;
  for (const auto &[known, content] : config.special_tokens)
    if (known == name)
      return content;
  return none;
}
const std::string &Tokenizer::bos_token() const { return impl_->SpecialToken("bos_token"); }
const std::string &Tokenizer::eos_token() const { return impl_->SpecialToken("eos_token"); }
const std::string &Tokenizer::unk_token() const { return impl_->SpecialToken("unk_token"); }
const std::string &Tokenizer::pad_token() const { return impl_->SpecialToken("pad_token"); }

DetokenizeStream::DetokenizeStream(const Tokenizer &tokenizer, bool skip_special_tokens)
    : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens), state_(std::make_unique<DecoderState>()) {}
DetokenizeStream::~DetokenizeStream() = default;
DetokenizeStream::DetokenizeStream(DetokenizeStream &&) noexcept = default;
DetokenizeStream &DetokenizeStream::operator=(DetokenizeStream &&) noexcept = default;

absl::StatusOr<std::string> DetokenizeStream::Push(int32_t id) {
  absl::StatusOr<const std::string *> token = tokenizer_->impl_->DecodedToken(id);
  if (!token.ok())
    return token.status();
  std::string out;
  if (skip_special_tokens_ && tokenizer_->IsSpecial(id))
    return out;
  absl::Status status = DecodeToken(tokenizer_->impl_->definition.decoder, **token, /*eager=*/true, *state_, out);
  if (!status.ok())
    return status;
  return out;
}

absl::StatusOr<std::string> DetokenizeStream::Flush() {
  std::string out;
  FinishDecode(tokenizer_->impl_->definition.decoder, *state_, out);
  return out;
}

} // namespace inlay::tokenizer
