#include "formats/tokenizer/tokenizer_config.h"

#include "formats/tokenizer/json_errors.h"
#include "formats/tokenizer/tokenizer_json.h"
#include "formats/tokenizer/unicode.h"

#include "absl/status/status.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string_view>

namespace inlay::tokenizer {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kConfig = "tokenizer_config.json";
constexpr std::string_view kSpecialTokensMap = "special_tokens_map.json";
constexpr std::string_view kAddedTokens = "added_tokens.json";
constexpr const char *kStandardNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

bool IsStandardName(std::string_view name) {
  return std::find(std::begin(kStandardNames), std::end(kStandardNames), name) != std::end(kStandardNames);
}

// Keys that are ignored, and the reasons.
constexpr std::string_view kPostProcessorDecides =
    "transformers ignores it too if there is a tokenizer.json; post_processor decides";
constexpr std::string_view kPreTokenizerDecides = "pre_tokenizer and normalizer of tokenizer.json decide";
constexpr std::string_view kNoCutting = "prompts are neither truncated nor padded; --max-model-len is the limit";
constexpr std::string_view kSlowOnly = "it applies only to tokenizers without tokenizer.json";
constexpr std::string_view kNoTokens = "it does not affect tokens";
constexpr std::pair<std::string_view, std::string_view> kIgnored[] = {
    {"add_bos_token", kPostProcessorDecides},
    {"add_eos_token", kPostProcessorDecides},
    {"add_prefix_space", kPreTokenizerDecides},
    {"add_dummy_prefix", kPreTokenizerDecides},
    {"do_lower_case", kPreTokenizerDecides},
    {"legacy", kSlowOnly},
    {"from_slow", kSlowOnly},
    {"sp_model_kwargs", kSlowOnly},
    {"spaces_between_special_tokens", kSlowOnly},
    {"errors", kSlowOnly},
    {"use_fast", kSlowOnly},
    {"tokenizer_class", kSlowOnly},
    {"vocab_file", kSlowOnly},
    {"merges_file", kSlowOnly},
    {"tokenizer_file", "tokenizer.json of this directory is read"},
    {"special_tokens_map_file", "special_tokens_map.json of this directory is read"},
    {"auto_map", "the code in a model directory is not run"},
    {"clean_up_tokenization_spaces", "transformers does not clean up what BPE tokens decode to either"},
    {"model_max_length", kNoCutting},
    {"max_len", kNoCutting},
    {"max_length", kNoCutting},
    {"truncation", kNoCutting},
    {"truncation_side", kNoCutting},
    {"truncation_strategy", kNoCutting},
    {"stride", kNoCutting},
    {"padding", kNoCutting},
    {"padding_side", kNoCutting},
    {"pad_to_multiple_of", kNoCutting},
    {"pad_token_type_id", kNoCutting},
    {"model_input_names", kNoTokens},
    {"processor_class", kNoTokens},
    {"name_or_path", kNoTokens},
    {"backend", kNoTokens},
    {"is_local", kNoTokens},
    {"local_files_only", kNoTokens},
    {"init_inputs", kNoTokens},
    {"verbose", kNoTokens},
};

absl::Status Refuse(std::string_view key, const Json &found, std::string_view expected) {
  return absl::InvalidArgumentError(fmt::format("{}: found {}, expected {}", key, Shown(found), expected));
}

// Reads an AddedToken object: content and flags, with the defaults of transformers' class.
absl::StatusOr<AddedToken> ReadAddedToken(const Json &json, const std::string &key, std::optional<bool> special) {
  AddedToken token;
  token.id = -1;
  if (!json.is_object() || !json.contains("content") || !json["content"].is_string())
    return Refuse(key, json, "a token or an object with content");
  token.content = json["content"].get<std::string>();
  std::pair<const char *, bool *> flags[] = {{"special", &token.special},
                                             {"single_word", &token.single_word},
                                             {"lstrip", &token.lstrip},
                                             {"rstrip", &token.rstrip}};
  for (const auto &[name, value] : json.items()) {
    auto flag = std::find_if(std::begin(flags), std::end(flags), [&](const auto &f) { return name == f.first; });
    if (name == "content" || name == "__type" || name == "id")
      continue;
    if (flag == std::end(flags) && name != "normalized")
      return absl::UnimplementedError(
          fmt::format("{}: found the key {}, supported: content, single_word, lstrip, rstrip, normalized, special", key,
                      Quoted(name)));
    if (!value.is_boolean())
      return Refuse(fmt::format("{}.{}", key, name), value, "true or false");
    if (flag != std::end(flags))
      *flag->second = value.get<bool>();
  }
  token.special = special.value_or(token.special);
  token.normalized = json.contains("normalized") ? json["normalized"].get<bool>() : !token.special;
  return token;
}

// Reads a special token: its text, which makes the token special, or an AddedToken object.
absl::StatusOr<AddedToken> ReadSpecialToken(const Json &json, const std::string &key, std::optional<bool> special) {
  if (!json.is_string())
    return ReadAddedToken(json, key, special);
  AddedToken token;
  token.id = -1;
  token.content = json.get<std::string>();
  token.special = true;
  return token;
}

class Reader {
public:
  Reader(const std::vector<AddedToken> &added) : added_(added) {}

  absl::StatusOr<TokenizerConfig> Read(const TokenizerFiles &files) {
    Json config = Json::object();
    std::vector<std::string> order;
    if (files.tokenizer_config) {
      absl::StatusOr<Json> parsed = ParseJsonObject(*files.tokenizer_config, kConfig, &order);
      if (!parsed.ok())
        return parsed.status();
      config = *std::move(parsed);
    }
    INLAY_RETURN_IF_ERROR(ReadConfig(config, order));
    if (config.contains("added_tokens_decoder") && !config["added_tokens_decoder"].is_null()) {
      INLAY_RETURN_IF_ERROR(ReadAddedTokensDecoder(config["added_tokens_decoder"]));
      for (const auto &[text, file] :
           {std::pair{&files.special_tokens_map, kSpecialTokensMap}, {&files.added_tokens, kAddedTokens}})
        if (text->has_value())
          out_.notes.push_back(fmt::format("{}: ignored: transformers does not read it if tokenizer_config.json has "
                                           "added_tokens_decoder",
                                           file));
    } else {
      if (files.special_tokens_map)
        INLAY_RETURN_IF_ERROR(ReadSpecialTokensMap(*files.special_tokens_map));
      INLAY_RETURN_IF_ERROR(ReadAddedTokensFile(files.added_tokens));
    }
    Collect();
    return std::move(out_);
  }

private:
  struct Named {
    AddedToken token;
    std::string key;
  };

  absl::Status ReadConfig(const Json &config, const std::vector<std::string> &order) {
    for (const std::string &name : order) {
      const Json &value = config[name];
      std::string key = fmt::format("{}: {}", kConfig, name);
      if (value.is_null() || name == "chat_template" || name == "added_tokens_decoder")
        continue;
      if (name.ends_with("_token") && (IsStandardName(name) || value.is_string() || value.is_object())) {
        absl::StatusOr<AddedToken> token = ReadSpecialToken(value, key, std::nullopt);
        if (!token.ok())
          return token.status();
        // In transformers' order, model-specific names with objects precede those with strings.
        if (IsStandardName(name))
          standard_[name] = {*token, key};
        else
          SetOwn(value.is_string() ? own_ : own_first_, name, {*token, key});
        continue;
      }
      if (name == "additional_special_tokens" || name == "extra_special_tokens") {
        INLAY_RETURN_IF_ERROR(
            ReadExtra(value, key, std::nullopt, name == "extra_special_tokens" ? extra_ : additional_));
        continue;
      }
      if (name == "split_special_tokens" || name == kCleanUp || name == "fix_mistral_regex" || name == kCorruptOutput) {
        if (!value.is_boolean())
          return Refuse(key, value, "true or false");
        if (name == "split_special_tokens")
          out_.split_special_tokens = value.get<bool>();
        if (name == kCleanUp)
          out_.cleans_up_spaces = value.get<bool>();
        if (name == "fix_mistral_regex" && value.get<bool>())
          return absl::UnimplementedError(fmt::format(
              "{}: found true, supported: false; fix: load the tokenizer with transformers and save it", key));
        if (name == kCorruptOutput && value.get<bool>() && config.contains(kCleanUp) && config[kCleanUp] == true)
          return absl::UnimplementedError(fmt::format("{}: found true, supported: false", key));
        if (name != kCleanUp || !value.get<bool>())
          continue;
      }
      auto ignored =
          std::find_if(std::begin(kIgnored), std::end(kIgnored), [&](const auto &k) { return k.first == name; });
      out_.notes.push_back(fmt::format("{}: ignored: {}", key,
                                       ignored != std::end(kIgnored)
                                           ? ignored->second
                                           : "transformers' fast tokenizers do not act on a key of this name"));
    }
    if (extra_.empty())
      extra_ = std::move(additional_);
    else if (!additional_.empty())
      out_.notes.push_back(
          fmt::format("{}: additional_special_tokens: ignored: extra_special_tokens takes precedence", kConfig));
    return absl::OkStatus();
  }

  using OwnNames = std::vector<std::pair<std::string, Named>>;
  static void SetOwn(OwnNames &names, const std::string &name, Named token) {
    auto it = std::find_if(names.begin(), names.end(), [&](const auto &entry) { return entry.first == name; });
    if (it == names.end())
      names.emplace_back(name, std::move(token));
    else
      it->second = std::move(token);
  }

  // Reads a list of special tokens, or an object that maps model-specific names to tokens.
  absl::Status ReadExtra(const Json &value, const std::string &key, std::optional<bool> special,
                         std::vector<Named> &out) {
    if (value.is_object()) {
      for (const auto &[name, entry] : value.items()) {
        absl::StatusOr<AddedToken> token = ReadSpecialToken(entry, fmt::format("{}.{}", key, name), special);
        if (!token.ok())
          return token.status();
        SetOwn(own_, name, {*token, fmt::format("{}.{}", key, name)});
      }
      return absl::OkStatus();
    }
    if (!value.is_array())
      return Refuse(key, value, "a list of tokens");
    for (size_t i = 0; i < value.size(); ++i) {
      std::string entry = fmt::format("{}[{}]", key, i);
      absl::StatusOr<AddedToken> token = ReadSpecialToken(value[i], entry, special);
      if (!token.ok())
        return token.status();
      out.push_back({*token, entry});
    }
    return absl::OkStatus();
  }

  absl::Status ReadAddedTokensDecoder(const Json &value) {
    std::string key = fmt::format("{}: added_tokens_decoder", kConfig);
    if (!value.is_object())
      return Refuse(key, value, "an object from ids to tokens");
    for (const auto &[name, entry] : value.items()) {
      int32_t id = 0;
      auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
      if (error != std::errc() || end != name.data() + name.size() || id < 0)
        return absl::InvalidArgumentError(fmt::format("{}: found the key {}, expected an id", key, Quoted(name)));
      absl::StatusOr<AddedToken> token = ReadAddedToken(entry, fmt::format("{}.{}", key, name), std::nullopt);
      if (!token.ok())
        return token.status();
      token->id = id;
      by_id_[id] = {*token, fmt::format("{}.{}", key, name)};
      by_content_[token->content] = *token;
    }
    return absl::OkStatus();
  }

  // Its names override those of tokenizer_config.json.
  absl::Status ReadSpecialTokensMap(const std::string &text) {
    std::vector<std::string> order;
    absl::StatusOr<Json> map = ParseJsonObject(text, kSpecialTokensMap, &order);
    if (!map.ok())
      return map.status();
    std::vector<Named> additional;
    for (const std::string &name : order) {
      const Json &value = (*map)[name];
      std::string key = fmt::format("{}: {}", kSpecialTokensMap, name);
      if (value.is_null())
        continue;
      if (name == "additional_special_tokens") {
        INLAY_RETURN_IF_ERROR(ReadExtra(value, key, true, additional));
        if (!extra_.empty())
          out_.notes.push_back(fmt::format("{}: ignored: the list of tokenizer_config.json takes precedence", key));
      } else if (name == "extra_special_tokens") {
        INLAY_RETURN_IF_ERROR(ReadExtra(value, key, true, extra_));
      } else if (name.ends_with("_token")) {
        absl::StatusOr<AddedToken> token = ReadSpecialToken(value, key, true);
        if (!token.ok())
          return token.status();
        if (IsStandardName(name))
          standard_[name] = {*token, key};
        else
          SetOwn(own_first_, name, {*token, key});
      } else {
        out_.notes.push_back(fmt::format("{}: ignored: it is not the name of a special token", key));
      }
    }
    if (extra_.empty())
      extra_ = std::move(additional);
    return absl::OkStatus();
  }

  absl::Status ReadAddedTokensFile(const std::optional<std::string> &text) {
    Json map = Json::object();
    if (text) {
      absl::StatusOr<Json> parsed = ParseJsonObject(*text, kAddedTokens, nullptr);
      if (!parsed.ok())
        return parsed.status();
      map = *std::move(parsed);
    }
    std::set<std::string> special;
    for (const auto &[name, named] : standard_)
      special.insert(named.token.content);
    for (const Named &named : extra_)
      special.insert(named.token.content);
    for (const auto &[content, id] : map.items()) {
      std::string key = fmt::format("{}: {}", kAddedTokens, Quoted(content));
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
        return Refuse(key, id, "an id");
      AddedToken token;
      token.id = id.get<int32_t>();
      token.content = content;
      token.special = special.contains(content);
      token.normalized = !token.special;
      by_id_[token.id] = {token, key};
      by_content_[content] = token;
    }
    for (const AddedToken &token : added_) {
      by_id_[token.id] = {token, "tokenizer.json: added_tokens"};
      by_id_[token.id].token.id = -1; // AddTokens() reports differing ids
      by_content_[token.content] = token;
    }
    return absl::OkStatus();
  }

  // Collects the tokens in the order in which transformers adds them, and marks the tokens that it makes special.
  void Collect() {
    std::vector<std::pair<std::string, Named>> named;
    for (const char *name : kStandardNames) {
      auto it = standard_.find(name);
      if (it == standard_.end())
        continue;
      if (auto known = by_content_.find(it->second.token.content); known != by_content_.end())
        it->second.token = known->second;
      named.emplace_back(name, it->second);
    }
    for (const OwnNames *names : {&own_first_, &own_})
      for (const auto &[name, token] : *names)
        SetOwn(named, name, token);

    std::set<std::string> named_contents, known;
    for (const auto &[name, token] : named) {
      out_.special_tokens.emplace_back(name, token.token.content);
      named_contents.insert(token.token.content);
    }
    for (const AddedToken &token : added_)
      known.insert(token.content);
    auto add = [&](const Named &entry) {
      AddedToken token = entry.token;
      token.special = token.special || named_contents.contains(token.content);
      out_.additions.push_back({token, entry.key});
    };
    for (const auto &[id, token] : by_id_) {
      add(token);
      known.insert(token.token.content);
    }
    for (const auto &[name, token] : named)
      if (known.insert(token.token.content).second)
        add(token);
    for (const Named &token : extra_)
      if (known.insert(token.token.content).second)
        add(token);
  }

  static constexpr const char *kCleanUp = "clean_up_tokenization_spaces";
  static constexpr std::string_view kCorruptOutput =
      "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";

  const std::vector<AddedToken> &added_;
  TokenizerConfig out_;
  std::map<std::string, Named, std::less<>> standard_;
  OwnNames own_first_, own_; // model-specific names
  std::vector<Named> additional_, extra_;
  std::map<int32_t, Named> by_id_; // tokens that are added before the named tokens
  std::map<std::string, AddedToken> by_content_;
};

} // namespace

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const TokenizerFiles &files, const std::vector<AddedToken> &added) {
  return Reader(added).Read(files);
}

} // namespace inlay::tokenizer
