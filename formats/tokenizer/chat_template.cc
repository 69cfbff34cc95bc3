#include "formats/tokenizer/chat_template.h"

#include "formats/tokenizer/chat_messages.h"
#include "formats/tokenizer/chat_template_files.h"
#include "formats/tokenizer/template_ast.h"
#include "formats/tokenizer/template_eval.h"
#include "formats/tokenizer/template_lexer.h"
#include "formats/tokenizer/template_value.h"
#include "formats/tokenizer/tokenizer_json.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace inlay::tokenizer {
namespace {

using Json = nlohmann::ordered_json; // templates see keys in the order of the text

// Ordered objects are searched linearly, so the number of keys is limited.
constexpr int64_t kMaxKeys = 10'000;

absl::StatusOr<Json> ParseJson(std::string_view text, std::string_view what) {
  if (!IsShallowJson(text))
    return absl::InvalidArgumentError(fmt::format("{}: found JSON nested too deep", what));
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded())
    return absl::InvalidArgumentError(fmt::format("{}: found text that is not JSON", what));
  if (std::optional<std::string_view> wide = FindWideInteger(text))
    return absl::InvalidArgumentError(fmt::format(
        "{}: found the integer {}, expected one of 64 bits; fix: write it as a string", what, wide->substr(0, 40)));
  return json;
}

// The number of keys: colons outside of strings.
int64_t CountKeys(std::string_view json) {
  int64_t count = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    if (in_string && json[i] == '\\')
      ++i;
    else if (json[i] == '"')
      in_string = !in_string;
    else if (!in_string && json[i] == ':')
      ++count;
  }
  return count;
}

absl::StatusOr<Json> ParseOrdered(std::string_view text, std::string_view what) {
  if (int64_t keys = CountKeys(text); keys > kMaxKeys)
    return absl::InvalidArgumentError(fmt::format("{}: found {} keys, expected at most {}", what, keys, kMaxKeys));
  return ParseJson(text, what);
}

Value ToValue(const Json &json, Arena &arena) {
  switch (json.type()) {
  case Json::value_t::boolean:
    return Value::Bool(json.get<bool>());
  case Json::value_t::number_integer:
    return Value::Int(json.get<int64_t>());
  case Json::value_t::number_unsigned:
    return json.get<uint64_t>() <= INT64_MAX ? Value::Int(json.get<int64_t>())
                                             : Value::WideInt(fmt::format("{}", json.get<uint64_t>()));
  case Json::value_t::number_float:
    return Value::Float(json.get<double>());
  case Json::value_t::string:
    return Value::String(json.get<std::string>());
  case Json::value_t::array: {
    List items;
    for (const Json &item : json)
      items.push_back(ToValue(item, arena));
    return arena.MakeList(std::move(items));
  }
  case Json::value_t::object: {
    Dict entries;
    for (const auto &[key, value] : json.items())
      entries.emplace_back(Value::String(key), ToValue(value, arena));
    return arena.MakeDict(std::move(entries));
  }
  default:
    return Value::None();
  }
}

} // namespace

struct ChatTemplate::Impl {
  std::string file;
  Block block;
  bool knows_developer = false; // the template contains the string 'developer'

  absl::StatusOr<std::string> Render(Value messages, const ChatOptions &options, Arena &arena,
                                     const TemplateLimits &limits) const;
};

// Sets the variables as transformers does: tools and documents are none unless given.
absl::StatusOr<std::string> ChatTemplate::Impl::Render(Value messages, const ChatOptions &options, Arena &arena,
                                                       const TemplateLimits &limits) const {
  Scope globals;
  globals.Set("messages", std::move(messages));
  globals.Set("tools", Value::None());
  globals.Set("documents", Value::None());
  globals.Set("add_generation_prompt", Value::Bool(options.add_generation_prompt));
  if (!options.bos_token.empty())
    globals.Set("bos_token", Value::String(options.bos_token));
  if (!options.eos_token.empty())
    globals.Set("eos_token", Value::String(options.eos_token));
  for (const auto &[name, value] : options.variables)
    globals.Set(name, Value::String(ReplaceInvalidUtf8(value)));
  Json more; // outlives the scope, which refers to its keys
  if (!options.variables_json.empty()) {
    absl::StatusOr<Json> parsed = ParseOrdered(options.variables_json, "the template's variables");
    if (!parsed.ok())
      return parsed.status();
    if (!parsed->is_object())
      return absl::InvalidArgumentError("the template's variables: expected a JSON object");
    more = *std::move(parsed);
    for (const auto &[name, value] : more.items())
      globals.Set(name, ToValue(value, arena));
  }
  return EvaluateTemplate(block, file, std::move(globals), arena, limits);
}

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Load(const std::string &directory, std::string_view name) {
  absl::StatusOr<ChatTemplateFiles> files = FindChatTemplates(directory);
  if (!files.ok())
    return files.status();
  if (auto it = files->by_name.find(name); it != files->by_name.end())
    return FromSource(it->second.text, it->second.file);
  return absl::NotFoundError(MissingTemplate(*files, name));
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::FromSource(std::string_view source, std::string_view file) {
  std::string valid = ReplaceInvalidUtf8(source);
  absl::StatusOr<Block> block = ParseTemplate(valid, file);
  if (!block.ok())
    return block.status();
  absl::StatusOr<std::vector<Token>> tokens = LexTemplate(valid, file);
  if (!tokens.ok())
    return tokens.status();
  auto impl = std::make_unique<Impl>();
  impl->file = file;
  impl->block = *std::move(block);
  impl->knows_developer = std::any_of(tokens->begin(), tokens->end(), [](const Token &token) {
    return token.kind == Token::Kind::kString && token.text == "developer";
  });
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
}

absl::StatusOr<std::string> ChatTemplate::Render(const std::vector<ChatMessage> &messages, const ChatOptions &options,
                                                 const TemplateLimits &limits) const {
  Arena arena;
  List list;
  for (const ChatMessage &message : messages)
    list.push_back(arena.MakeDict({{Value::String("role"), Value::String(ReplaceInvalidUtf8(message.role))},
                                   {Value::String("content"), Value::String(ReplaceInvalidUtf8(message.content))}}));
  return impl_->Render(arena.MakeList(std::move(list)), options, arena, limits);
}

absl::StatusOr<std::string> ChatTemplate::RenderJson(std::string_view messages_json, const ChatOptions &options,
                                                     const TemplateLimits &limits) const {
  absl::StatusOr<Json> messages = ParseOrdered(messages_json, "messages");
  if (!messages.ok())
    return messages.status();
  if (!messages->is_array())
    return absl::InvalidArgumentError("messages: expected a JSON list of messages");
  NormalizeMessages(*messages, impl_->knows_developer);
  Arena arena;
  return impl_->Render(ToValue(*messages, arena), options, arena, limits);
}

} // namespace inlay::tokenizer
