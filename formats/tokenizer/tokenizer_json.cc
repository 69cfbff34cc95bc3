#include "formats/tokenizer/tokenizer_json.h"

#include "formats/json/json_shape.h"
#include "formats/tokenizer/json_errors.h"
#include "formats/tokenizer/unicode.h"
#include "formats/tokenizer/unicode_properties.h"

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <utility>

namespace inlay::tokenizer {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFile = "tokenizer.json";
constexpr size_t kMaxFileBytes = size_t{256} << 20;
constexpr int kMaxJsonDepth = 64;
constexpr int32_t kMaxId = (1 << 22) - 1; // ids index tables
constexpr size_t kMaxSteps = 64;          // steps of one part, after Sequences are flattened

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

// A value of the file and its key, which errors contain.
struct Node {
  const Json *json;
  std::string key;

  Node At(const char *name) const {
    static const Json null;
    auto it = json->is_object() ? json->find(name) : json->end();
    return {json->is_object() && it != json->end() ? &*it : &null, key.empty() ? name : key + "." + name};
  }
  Node At(size_t index) const { return {&(*json)[index], fmt::format("{}[{}]", key, index)}; }
  bool missing() const { return json->is_null(); }
};

absl::Status Refuse(const Node &node, std::string_view expected) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {}: found {}, expected {}", kFile, node.key, Shown(*node.json), expected));
}

absl::Status RefuseKind(const Node &node, std::string_view supported) {
  return absl::UnimplementedError(
      fmt::format("{}: {}: found {}, supported: {}", kFile, node.key, Shown(*node.json), supported));
}

absl::StatusOr<std::string> ReadString(const Node &node) {
  if (!node.json->is_string())
    return Refuse(node, "a string");
  return node.json->get<std::string>();
}

absl::StatusOr<bool> ReadBool(const Node &node, bool otherwise) {
  if (node.missing())
    return otherwise;
  if (!node.json->is_boolean())
    return Refuse(node, "true or false");
  return node.json->get<bool>();
}

absl::StatusOr<int32_t> ReadInt(const Node &node, int32_t maximum) {
  if (!node.json->is_number_integer() ||
      (node.json->is_number_unsigned() ? node.json->get<uint64_t>() > static_cast<uint64_t>(maximum)
                                       : node.json->get<int64_t>() < 0))
    return Refuse(node, fmt::format("an integer from 0 to {}", maximum));
  return node.json->get<int32_t>();
}

absl::Status Set(absl::StatusOr<bool> value, bool &out) {
  if (value.ok())
    out = *value;
  return value.status();
}
absl::Status Set(absl::StatusOr<std::string> value, std::string &out) {
  if (!value.ok())
    return value.status();
  out = *std::move(value);
  return absl::OkStatus();
}
absl::Status Set(absl::StatusOr<int32_t> value, int32_t &out) {
  if (value.ok())
    out = *value;
  return value.status();
}

absl::Status RefuseOtherKeys(const Node &node, std::initializer_list<std::string_view> known) {
  for (const auto &[name, value] : node.json->items())
    if (std::find(known.begin(), known.end(), name) == known.end())
      return absl::UnimplementedError(fmt::format("{}: {}: found the key {}, supported: {}", kFile, node.key,
                                                  Quoted(name), fmt::join(known, ", ")));
  return absl::OkStatus();
}

// Flattens the Sequences of a part and calls `read(node, type)` for each step.
template <class Read> absl::Status ReadSteps(const Node &node, const char *children, size_t &count, const Read &read) {
  if (node.missing())
    return absl::OkStatus();
  if (!node.json->is_object())
    return Refuse(node, "an object or null");
  if (++count > kMaxSteps)
    return Refuse(node, fmt::format("at most {} steps", kMaxSteps));
  Node type = node.At("type");
  if (!type.json->is_string())
    return Refuse(type, "a string");
  if (*type.json != "Sequence")
    return read(node, type);
  INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type", children}));
  Node list = node.At(children);
  if (!list.json->is_array())
    return Refuse(list, "a list");
  for (size_t i = 0; i < list.json->size(); ++i)
    INLAY_RETURN_IF_ERROR(ReadSteps(list.At(i), children, count, read));
  return absl::OkStatus();
}

absl::StatusOr<Pattern> ReadPattern(const Node &node) {
  Node literal = node.At("String"), regex = node.At("Regex");
  Pattern pattern;
  if (literal.json->is_string()) {
    pattern.literal = literal.json->get<std::string>();
    if (pattern.literal.empty())
      return Refuse(literal, "at least one character");
    return pattern;
  }
  if (!regex.json->is_string())
    return Refuse(node, "{\"String\": ...} or {\"Regex\": ...}");
  absl::StatusOr<Regex> compiled =
      Regex::Compile(regex.json->get_ref<const std::string &>(), fmt::format("{}: {}", kFile, regex.key));
  if (!compiled.ok())
    return compiled.status();
  pattern.regex = *std::move(compiled);
  return pattern;
}

absl::StatusOr<Replace> ReadReplace(const Node &node) {
  INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type", "pattern", "content"}));
  absl::StatusOr<Pattern> pattern = ReadPattern(node.At("pattern"));
  if (!pattern.ok())
    return pattern.status();
  Replace replace{*std::move(pattern), ""};
  INLAY_RETURN_IF_ERROR(Set(ReadString(node.At("content")), replace.content));
  return replace;
}

absl::StatusOr<Metaspace> ReadMetaspace(const Node &node) {
  INLAY_RETURN_IF_ERROR(
      RefuseOtherKeys(node, {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"}));
  Metaspace metaspace;
  INLAY_RETURN_IF_ERROR(Set(ReadString(node.At("replacement")), metaspace.replacement));
  if (metaspace.replacement.empty() || ReadUtf8(metaspace.replacement).length != metaspace.replacement.size())
    return Refuse(node.At("replacement"), "one character");
  INLAY_RETURN_IF_ERROR(Set(ReadBool(node.At("split"), true), metaspace.split));
  // Older files have add_prefix_space instead of prepend_scheme.
  bool prefix = true;
  INLAY_RETURN_IF_ERROR(Set(ReadBool(node.At("add_prefix_space"), true), prefix));
  Node scheme = node.At("prepend_scheme");
  if (scheme.missing())
    metaspace.prepend_scheme = prefix ? PrependScheme::kAlways : PrependScheme::kNever;
  else if (*scheme.json == "always")
    metaspace.prepend_scheme = PrependScheme::kAlways;
  else if (*scheme.json == "never")
    metaspace.prepend_scheme = PrependScheme::kNever;
  else if (*scheme.json == "first")
    metaspace.prepend_scheme = PrependScheme::kFirst;
  else
    return RefuseKind(scheme, "first, never, always");
  if (!prefix && metaspace.prepend_scheme != PrependScheme::kNever)
    return Refuse(scheme, "\"never\" because add_prefix_space is false");
  return metaspace;
}

absl::StatusOr<CharacterMap> ReadCharacterMap(const Node &node) {
  INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type", "precompiled_charsmap"}));
  Node charsmap = node.At("precompiled_charsmap");
  std::string text, bytes;
  INLAY_RETURN_IF_ERROR(Set(ReadString(charsmap), text));
  if (!absl::Base64Unescape(text, &bytes))
    return Refuse(charsmap, "base64 text");
  absl::StatusOr<CharacterMap> map = CharacterMap::Parse(bytes);
  if (!map.ok())
    return absl::InvalidArgumentError(
        fmt::format("{}: {}: {}", kFile, charsmap.key, std::string(map.status().message())));
  return map;
}

absl::Status ReadNormalizer(const Node &node, std::vector<NormalizerStep> &steps) {
  size_t count = 0;
  return ReadSteps(node, "normalizers", count, [&](const Node &step, const Node &type) -> absl::Status {
    const std::string &name = type.json->get_ref<const std::string &>();
    constexpr std::pair<std::string_view, UnicodeForm> kForms[] = {{"NFC", UnicodeForm::kNfc},
                                                                   {"NFD", UnicodeForm::kNfd},
                                                                   {"NFKC", UnicodeForm::kNfkc},
                                                                   {"NFKD", UnicodeForm::kNfkd}};
    for (auto [form_name, form] : kForms) {
      if (name == form_name) {
        steps.push_back(form);
        return RefuseOtherKeys(step, {"type"});
      }
    }
    if (name == "Lowercase") {
      steps.push_back(Lowercase{});
      return RefuseOtherKeys(step, {"type"});
    }
    if (name == "Prepend") {
      Prepend prepend;
      INLAY_RETURN_IF_ERROR(RefuseOtherKeys(step, {"type", "prepend"}));
      INLAY_RETURN_IF_ERROR(Set(ReadString(step.At("prepend")), prepend.text));
      steps.push_back(std::move(prepend));
      return absl::OkStatus();
    }
    if (name == "Strip") {
      StripSpace strip;
      INLAY_RETURN_IF_ERROR(RefuseOtherKeys(step, {"type", "strip_left", "strip_right"}));
      INLAY_RETURN_IF_ERROR(Set(ReadBool(step.At("strip_left"), true), strip.left));
      INLAY_RETURN_IF_ERROR(Set(ReadBool(step.At("strip_right"), true), strip.right));
      steps.push_back(strip);
      return absl::OkStatus();
    }
    if (name == "Replace") {
      absl::StatusOr<Replace> replace = ReadReplace(step);
      if (!replace.ok())
        return replace.status();
      steps.push_back(*std::move(replace));
      return absl::OkStatus();
    }
    if (name == "Precompiled") {
      absl::StatusOr<CharacterMap> map = ReadCharacterMap(step);
      if (!map.ok())
        return map.status();
      steps.push_back(*std::move(map));
      return absl::OkStatus();
    }
    return RefuseKind(type, "NFC, NFD, NFKC, NFKD, Lowercase, Precompiled, Prepend, Replace, Strip, Sequence");
  });
}

absl::Status ReadBehavior(const Node &node, SplitBehavior &behavior) {
  constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  for (auto [name, value] : kBehaviors) {
    if (*node.json == name) {
      behavior = value;
      return absl::OkStatus();
    }
  }
  return RefuseKind(node, "Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

absl::StatusOr<Split> ReadSplit(const Node &node) {
  INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type", "pattern", "behavior", "invert"}));
  absl::StatusOr<Pattern> pattern = ReadPattern(node.At("pattern"));
  if (!pattern.ok())
    return pattern.status();
  Split split{*std::move(pattern)};
  INLAY_RETURN_IF_ERROR(Set(ReadBool(node.At("invert"), false), split.invert));
  INLAY_RETURN_IF_ERROR(ReadBehavior(node.At("behavior"), split.behavior));
  return split;
}

// Reads Digits, Punctuation and WhitespaceSplit. nullopt for other types.
absl::StatusOr<std::optional<CharacterSplit>> ReadCharacterSplit(const Node &node, std::string_view type) {
  if (type == "Digits") {
    INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type", "individual_digits"}));
    bool individual = false;
    INLAY_RETURN_IF_ERROR(Set(ReadBool(node.At("individual_digits"), false), individual));
    return CharacterSplit{IsNumeric, individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous};
  }
  if (type == "Punctuation") {
    INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type", "behavior"}));
    CharacterSplit split{IsPunctuation, SplitBehavior::kIsolated};
    if (Node behavior = node.At("behavior"); !behavior.missing())
      INLAY_RETURN_IF_ERROR(ReadBehavior(behavior, split.behavior));
    return split;
  }
  if (type == "WhitespaceSplit") {
    INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type"}));
    return CharacterSplit{IsWhiteSpace, SplitBehavior::kRemoved};
  }
  return std::nullopt;
}

absl::Status ReadPreTokenizer(const Node &node, std::vector<PreTokenizerStep> &steps) {
  size_t count = 0;
  return ReadSteps(node, "pretokenizers", count, [&](const Node &step, const Node &type) -> absl::Status {
    if (*type.json == "Split") {
      absl::StatusOr<Split> split = ReadSplit(step);
      if (!split.ok())
        return split.status();
      steps.push_back(*std::move(split));
      return absl::OkStatus();
    }
    if (*type.json == "ByteLevel") {
      INLAY_RETURN_IF_ERROR(RefuseOtherKeys(step, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
      ByteLevel byte_level;
      bool use_regex = true;
      INLAY_RETURN_IF_ERROR(Set(ReadBool(step.At("add_prefix_space"), true), byte_level.add_prefix_space));
      INLAY_RETURN_IF_ERROR(Set(ReadBool(step.At("use_regex"), true), use_regex));
      if (use_regex) {
        absl::StatusOr<Regex> regex = Regex::Compile(kByteLevelPattern, fmt::format("{}: {}", kFile, step.key));
        if (!regex.ok())
          return regex.status();
        byte_level.pattern = Pattern{"", *std::move(regex)};
      }
      steps.push_back(std::move(byte_level));
      return absl::OkStatus();
    }
    if (*type.json == "Metaspace") {
      absl::StatusOr<Metaspace> metaspace = ReadMetaspace(step);
      if (!metaspace.ok())
        return metaspace.status();
      steps.push_back(*std::move(metaspace));
      return absl::OkStatus();
    }
    if (*type.json == "Whitespace") {
      steps.push_back(Whitespace{});
      return RefuseOtherKeys(step, {"type"});
    }
    absl::StatusOr<std::optional<CharacterSplit>> split =
        ReadCharacterSplit(step, type.json->get_ref<const std::string &>());
    if (!split.ok())
      return split.status();
    if (!split->has_value())
      return RefuseKind(type,
                        "Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit, Sequence");
    steps.push_back(**split);
    return absl::OkStatus();
  });
}

absl::Status ReadTemplate(const Node &node, Template &out) {
  INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type", "single", "pair", "special_tokens"}));
  Node single = node.At("single"), specials = node.At("special_tokens");
  if (!single.json->is_array())
    return Refuse(single, "a list");
  bool seen = false;
  for (size_t i = 0; i < single.json->size(); ++i) {
    Node piece = single.At(i);
    if (!piece.At("Sequence").missing()) {
      Node id = piece.At("Sequence").At("id");
      if (seen || *id.json != "A")
        return Refuse(id, "the sequence 'A', once");
      seen = true;
      continue;
    }
    std::string name;
    Node id = piece.At("SpecialToken").At("id");
    INLAY_RETURN_IF_ERROR(Set(ReadString(id), name));
    Node ids = specials.At(name.c_str()).At("ids");
    if (!ids.json->is_array())
      return Refuse(ids, fmt::format("the list of ids that {} names", id.key));
    for (size_t j = 0; j < ids.json->size(); ++j) {
      int32_t value = 0;
      INLAY_RETURN_IF_ERROR(Set(ReadInt(ids.At(j), kMaxId), value));
      (seen ? out.after : out.before).push_back(value);
    }
  }
  if (!seen)
    return Refuse(single, "a piece {\"Sequence\": {\"id\": \"A\"}}");
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const Node &node, std::vector<Template> &templates) {
  size_t count = 0;
  return ReadSteps(node, "processors", count, [&](const Node &step, const Node &type) -> absl::Status {
    if (*type.json == "ByteLevel") // changes offsets only
      return RefuseOtherKeys(step, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    if (*type.json == "TemplateProcessing")
      return ReadTemplate(step, templates.emplace_back());
    return RefuseKind(type, "TemplateProcessing, ByteLevel, Sequence");
  });
}

absl::StatusOr<Strip> ReadStrip(const Node &node) {
  INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type", "content", "start", "stop"}));
  Strip strip;
  INLAY_RETURN_IF_ERROR(Set(ReadString(node.At("content")), strip.content));
  if (strip.content.empty() || ReadUtf8(strip.content).length != strip.content.size())
    return Refuse(node.At("content"), "one character");
  INLAY_RETURN_IF_ERROR(Set(ReadInt(node.At("start"), 1 << 16), strip.start));
  INLAY_RETURN_IF_ERROR(Set(ReadInt(node.At("stop"), 1 << 16), strip.stop));
  return strip;
}

absl::Status ReadDecoder(const Node &node, Decoder &decoder) {
  if (node.missing()) {
    decoder.separator = " ";
    return absl::OkStatus();
  }
  size_t count = 0;
  bool fuse = false;
  return ReadSteps(node, "decoders", count, [&](const Node &step, const Node &type) -> absl::Status {
    const std::string &name = type.json->get_ref<const std::string &>();
    bool per_token = !decoder.byte_level && !decoder.byte_fallback && !fuse;
    absl::Status order =
        Refuse(type, "the order {Replace, Metaspace, Strip}, ByteFallback, Fuse, Strip, or ByteLevel alone");
    if (name == "ByteLevel") {
      if (!per_token || !decoder.token_steps.empty())
        return order;
      decoder.byte_level = true;
      return RefuseOtherKeys(step, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    }
    if (name == "ByteFallback") {
      if (!per_token)
        return order;
      decoder.byte_fallback = true;
      return RefuseOtherKeys(step, {"type"});
    }
    if (name == "Fuse") {
      if (decoder.strip || decoder.byte_level)
        return order;
      fuse = true;
      return RefuseOtherKeys(step, {"type"});
    }
    if (name == "Strip") {
      absl::StatusOr<Strip> strip = ReadStrip(step);
      if (!strip.ok())
        return strip.status();
      if (per_token) {
        decoder.token_steps.push_back(*std::move(strip));
        return absl::OkStatus();
      }
      if (!fuse || decoder.strip)
        return order;
      if (strip->stop != 0)
        return Refuse(step.At("stop"), "0 after Fuse, because text is streamed before its end is known");
      decoder.strip = *std::move(strip);
      return absl::OkStatus();
    }
    if (name == "Replace") {
      if (!per_token)
        return order;
      absl::StatusOr<Replace> replace = ReadReplace(step);
      if (!replace.ok())
        return replace.status();
      decoder.token_steps.push_back(*std::move(replace));
      return absl::OkStatus();
    }
    if (name == "Metaspace") {
      if (!per_token)
        return order;
      absl::StatusOr<Metaspace> metaspace = ReadMetaspace(step);
      if (!metaspace.ok())
        return metaspace.status();
      decoder.token_steps.push_back(*std::move(metaspace));
      return absl::OkStatus();
    }
    return RefuseKind(type, "ByteLevel, Replace, Metaspace, ByteFallback, Fuse, Strip, Sequence");
  });
}

using Vocabulary = absl::flat_hash_map<absl::string_view, int32_t>;

absl::Status ReadVocab(const Node &node, TokenIds &vocabulary, Vocabulary &ids) {
  if (!node.json->is_object())
    return Refuse(node, "an object from tokens to ids");
  absl::flat_hash_map<int32_t, absl::string_view> tokens;
  ids.reserve(node.json->size());
  tokens.reserve(node.json->size());
  for (const auto &[token, value] : node.json->items()) {
    Node entry{&value, fmt::format("{}[{}]", node.key, Quoted(token))};
    int32_t id = 0;
    INLAY_RETURN_IF_ERROR(Set(ReadInt(entry, kMaxId), id));
    auto [other, inserted] = tokens.emplace(id, Absl(token));
    if (!inserted)
      return Refuse(entry,
                    fmt::format("a unique id: {} has it too", Quoted({other->second.data(), other->second.size()})));
    ids.emplace(Absl(token), id);
    vocabulary.emplace_back(token, id);
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(const Node &node, BpeDefinition &model, const Vocabulary &ids) {
  if (!node.json->is_array())
    return Refuse(node, "a list of merges");
  model.merges.reserve(node.json->size());
  std::string merged;
  for (size_t i = 0; i < node.json->size(); ++i) {
    const Json &merge = (*node.json)[i];
    std::string_view left, right;
    // Files until 2024 have "a b", later files ["a", "b"].
    if (merge.is_string()) {
      std::string_view text = merge.get_ref<const std::string &>();
      size_t space = text.find(' ');
      if (space == text.npos || text.find(' ', space + 1) != text.npos)
        return Refuse(node.At(i), "two tokens separated by one space");
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = merge[0].get_ref<const std::string &>();
      right = merge[1].get_ref<const std::string &>();
    } else {
      return Refuse(node.At(i), "\"a b\" or [\"a\", \"b\"]");
    }
    merged = left;
    merged += right.substr(std::min(right.size(), model.continuing_subword_prefix.size()));
    int32_t found[3];
    std::string_view parts[3] = {left, right, merged};
    for (int part = 0; part < 3; ++part) {
      auto it = ids.find(Absl(parts[part]));
      if (it == ids.end())
        return absl::InvalidArgumentError(fmt::format(
            "{}: {}: found the token {}, expected one of model.vocab; fix: add it there or remove the merge", kFile,
            node.At(i).key, Quoted(parts[part])));
      found[part] = it->second;
    }
    model.merges.push_back({found[0], found[1], found[2]});
  }
  return absl::OkStatus();
}

absl::Status ReadBpe(const Node &node, BpeDefinition &model, TokenIds &vocabulary, Vocabulary &ids) {
  INLAY_RETURN_IF_ERROR(
      RefuseOtherKeys(node, {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                             "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
  if (Node dropout = node.At("dropout"); !dropout.missing() && !(dropout.json->is_number() && *dropout.json == 0.0))
    return Refuse(dropout, "null, because dropout is used only in training");
  INLAY_RETURN_IF_ERROR(Set(ReadBool(node.At("fuse_unk"), false), model.fuse_unk));
  INLAY_RETURN_IF_ERROR(Set(ReadBool(node.At("byte_fallback"), false), model.byte_fallback));
  INLAY_RETURN_IF_ERROR(Set(ReadBool(node.At("ignore_merges"), false), model.ignore_merges));
  if (Node prefix = node.At("continuing_subword_prefix"); !prefix.missing())
    INLAY_RETURN_IF_ERROR(Set(ReadString(prefix), model.continuing_subword_prefix));
  if (Node suffix = node.At("end_of_word_suffix"); !suffix.missing())
    INLAY_RETURN_IF_ERROR(Set(ReadString(suffix), model.end_of_word_suffix));
  INLAY_RETURN_IF_ERROR(ReadVocab(node.At("vocab"), vocabulary, ids));
  INLAY_RETURN_IF_ERROR(ReadMerges(node.At("merges"), model, ids));
  if (Node unk = node.At("unk_token"); !unk.missing()) {
    std::string token;
    INLAY_RETURN_IF_ERROR(Set(ReadString(unk), token));
    auto it = ids.find(Absl(token));
    if (it == ids.end())
      return Refuse(unk, "a token of model.vocab");
    model.unk_id = it->second;
  }
  return absl::OkStatus();
}

absl::Status ReadUnigram(const Node &node, UnigramDefinition &model, TokenIds &vocabulary, Vocabulary &ids) {
  INLAY_RETURN_IF_ERROR(RefuseOtherKeys(node, {"type", "unk_id", "vocab", "byte_fallback"}));
  INLAY_RETURN_IF_ERROR(Set(ReadBool(node.At("byte_fallback"), false), model.byte_fallback));
  Node list = node.At("vocab");
  if (!list.json->is_array() || list.json->size() > static_cast<size_t>(kMaxId))
    return Refuse(list, fmt::format("a list of at most {} tokens with their scores", kMaxId));
  for (size_t i = 0; i < list.json->size(); ++i) {
    const Json &entry = (*list.json)[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      return Refuse(list.At(i), "a token and its score");
    const std::string &token = entry[0].get_ref<const std::string &>();
    if (!ids.emplace(Absl(token), static_cast<int32_t>(i)).second)
      return absl::InvalidArgumentError(
          fmt::format("{}: {}: found {}, expected each token once", kFile, list.At(i).key, Quoted(token)));
    vocabulary.emplace_back(token, static_cast<int32_t>(i));
    model.scores.push_back(entry[1].get<double>());
  }
  // The library refuses text with an unknown character where there is none.
  if (vocabulary.empty())
    return Refuse(list, "at least one token");
  return Set(ReadInt(node.At("unk_id"), static_cast<int32_t>(vocabulary.size()) - 1), model.unk_id);
}

absl::Status ReadModel(const Node &node, TokenizerDefinition &out, Vocabulary &ids) {
  if (!node.json->is_object())
    return Refuse(node, "an object");
  Node type = node.At("type");
  if (*type.json == "Unigram")
    return ReadUnigram(node, out.model.emplace<UnigramDefinition>(), out.vocabulary, ids);
  // Files of 2021 and before leave the type out.
  if (!type.missing() && *type.json != "BPE")
    return RefuseKind(type, "BPE, Unigram");
  return ReadBpe(node, out.model.emplace<BpeDefinition>(), out.vocabulary, ids);
}

absl::Status ReadAddedTokens(const Node &node, const Vocabulary &ids, std::vector<AddedToken> &tokens) {
  if (node.missing())
    return absl::OkStatus();
  if (!node.json->is_array())
    return Refuse(node, "a list");
  absl::flat_hash_map<int32_t, absl::string_view> by_id;
  for (const auto &[token, id] : ids)
    by_id.emplace(id, token);
  absl::flat_hash_map<std::string, int32_t> seen;
  for (size_t i = 0; i < node.json->size(); ++i) {
    Node entry = node.At(i);
    AddedToken token;
    INLAY_RETURN_IF_ERROR(Set(ReadInt(entry.At("id"), kMaxId), token.id));
    INLAY_RETURN_IF_ERROR(Set(ReadString(entry.At("content")), token.content));
    INLAY_RETURN_IF_ERROR(Set(ReadBool(entry.At("special"), false), token.special));
    INLAY_RETURN_IF_ERROR(Set(ReadBool(entry.At("single_word"), false), token.single_word));
    INLAY_RETURN_IF_ERROR(Set(ReadBool(entry.At("lstrip"), false), token.lstrip));
    INLAY_RETURN_IF_ERROR(Set(ReadBool(entry.At("rstrip"), false), token.rstrip));
    INLAY_RETURN_IF_ERROR(Set(ReadBool(entry.At("normalized"), !token.special), token.normalized));
    if (token.content.empty())
      return Refuse(entry.At("content"), "at least one character");
    if (auto it = ids.find(Absl(token.content)); it != ids.end() && it->second != token.id)
      return Refuse(entry.At("id"), fmt::format("{}, which model.vocab gives {}", it->second, Quoted(token.content)));
    if (!seen.emplace(token.content, token.id).second)
      return Refuse(entry.At("content"), "each content once");
    auto [other, inserted] = by_id.emplace(token.id, Absl(entry.At("content").json->get_ref<const std::string &>()));
    if (!inserted && other->second != Absl(token.content))
      return Refuse(entry.At("id"),
                    fmt::format("a unique id: {} has it too", Quoted({other->second.data(), other->second.size()})));
    tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

} // namespace

absl::StatusOr<Json> ParseJsonObject(std::string_view text, std::string_view file, std::vector<std::string> *order) {
  if (!IsShallowJson(text))
    return absl::InvalidArgumentError(
        fmt::format("{}: found JSON nested deeper than {} levels, expected fewer", file, kMaxJsonDepth));
  Json json = Json::parse(
      text.begin(), text.end(),
      [&](int depth, Json::parse_event_t event, const Json &value) {
        if (order && depth == 1 && event == Json::parse_event_t::key)
          order->push_back(value.get<std::string>());
        return true;
      },
      /*allow_exceptions=*/false);
  if (json.is_discarded())
    return absl::InvalidArgumentError(fmt::format(
        "{}: found {} bytes that are not JSON, expected an object; fix: download the file again", file, text.size()));
  if (!json.is_object())
    return absl::InvalidArgumentError(fmt::format("{}: found {}, expected an object", file, Shown(json)));
  return json;
}

bool IsShallowJson(std::string_view json) { return ShapeOfJson(json).depth <= kMaxJsonDepth; }

absl::StatusOr<TokenizerDefinition> ParseTokenizerJson(std::string_view text) {
  absl::StatusOr<Json> json = ParseJsonObject(text, kFile, nullptr);
  if (!json.ok())
    return json.status();
  Node root{&*json, ""};
  for (const auto &[name, value] : json->items()) {
    constexpr std::string_view kKnown[] = {"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                           "pre_tokenizer", "post_processor", "decoder", "model"};
    if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown))
      return absl::UnimplementedError(
          fmt::format("{}: found the key {}, supported: {}", kFile, Quoted(name), fmt::join(kKnown, ", ")));
  }
  if (Node version = root.At("version"); !version.missing() && *version.json != "1.0")
    return RefuseKind(version, "1.0");
  TokenizerDefinition out;
  for (const char *name : {"truncation", "padding"})
    if (Node node = root.At(name); !node.missing())
      out.notes.push_back(fmt::format(
          "{}: {}: ignored: prompts are neither truncated nor padded; --max-model-len is the limit", kFile, name));
  Vocabulary ids;
  INLAY_RETURN_IF_ERROR(ReadModel(root.At("model"), out, ids));
  INLAY_RETURN_IF_ERROR(ReadAddedTokens(root.At("added_tokens"), ids, out.added_tokens));
  INLAY_RETURN_IF_ERROR(ReadNormalizer(root.At("normalizer"), out.normalizer));
  INLAY_RETURN_IF_ERROR(ReadPreTokenizer(root.At("pre_tokenizer"), out.pre_tokenizer));
  INLAY_RETURN_IF_ERROR(ReadPostProcessor(root.At("post_processor"), out.post_processor));
  INLAY_RETURN_IF_ERROR(ReadDecoder(root.At("decoder"), out.decoder));
  return out;
}

absl::StatusOr<std::string> ReadTextFile(const std::string &directory, const std::string &file) {
  std::filesystem::path path = std::filesystem::path(directory) / file;
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    return absl::NotFoundError(fmt::format("{}: found no such file, expected a file of the checkpoint", path.string()));
  uintmax_t size = std::filesystem::file_size(path, error);
  if (error)
    return absl::InvalidArgumentError(fmt::format("{}: cannot be read: {}", path.string(), error.message()));
  if (size > kMaxFileBytes)
    return absl::InvalidArgumentError(
        fmt::format("{}: found {} bytes, expected at most {}", path.string(), size, kMaxFileBytes));
  std::ifstream stream(path, std::ios::binary);
  std::string text(size, '\0');
  if (!stream.read(text.data(), static_cast<std::streamsize>(size)))
    return absl::InvalidArgumentError(fmt::format("{}: cannot be read", path.string()));
  return text;
}

} // namespace inlay::tokenizer
