#include "formats/tokenizer/chat_template_files.h"

#include "formats/tokenizer/tokenizer_json.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

namespace inlay::tokenizer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kJinjaFile = "chat_template.jinja";
constexpr std::string_view kMoreFolder = "additional_chat_templates";
constexpr std::string_view kConfigFile = "tokenizer_config.json";
constexpr std::string_view kLegacyFile = "chat_template.json";
constexpr std::string_view kKey = "chat_template";
constexpr std::string_view kDefault = "default";

// The names of the files in additional_chat_templates, sorted.
std::vector<std::string> MoreFiles(const std::string &directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(fs::path(directory) / kMoreFolder, error), end; !error && it != end;
       it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Whether a file of additional_chat_templates is a template. Its name must be UTF-8 because it becomes a key in JSON.
bool IsTemplateName(const std::string &name) { return name.ends_with(".jinja") && ReplaceInvalidUtf8(name) == name; }

// The text of a file, or nullopt if it does not exist.
absl::StatusOr<std::optional<std::string>> ReadIfThere(const std::string &directory, std::string_view file) {
  absl::StatusOr<std::string> text = ReadTextFile(directory, std::string(file));
  if (text.ok())
    return std::optional<std::string>(*std::move(text));
  if (absl::IsNotFound(text.status()))
    return std::optional<std::string>();
  return text.status();
}

// Reads chat_template.jinja and additional_chat_templates/*.jinja.
absl::Status FindJinjaFiles(const std::string &directory, ChatTemplateFiles &found) {
  absl::StatusOr<std::optional<std::string>> main = ReadIfThere(directory, kJinjaFile);
  if (!main.ok())
    return main.status();
  if (*main)
    found.by_name[std::string(kDefault)] = {std::string(kJinjaFile), **std::move(main)};
  for (const std::string &name : MoreFiles(directory)) {
    std::string file = fmt::format("{}/{}", kMoreFolder, name);
    if (!IsTemplateName(name)) {
      found.ignored.push_back(fmt::format(
          "{}: ignored: only files whose names are UTF-8 and end with .jinja are templates", ReplaceInvalidUtf8(file)));
      continue;
    }
    absl::StatusOr<std::string> text = ReadTextFile(directory, file);
    if (!text.ok())
      return text.status();
    found.by_name[name.substr(0, name.size() - 6)] = {file, *std::move(text)};
  }
  return absl::OkStatus();
}

absl::Status Wrong(std::string_view file, std::string_view found) {
  return absl::InvalidArgumentError(fmt::format(
      "{}: {}: found {}, expected a template, or a list of templates, each with the strings name and template; correct "
      "the value or remove the key",
      file, kKey, found));
}

absl::Status ReadNamed(const json &value, std::string_view file, ChatTemplateFiles &found) {
  std::string key = fmt::format("{}: {}", file, kKey);
  if (value.is_string()) {
    found.by_name[std::string(kDefault)] = {key, value.get<std::string>()};
  } else if (value.is_array()) {
    for (const json &entry : value) {
      auto text = [&](const char *name) {
        return entry.is_object() && entry.contains(name) && entry[name].is_string()
                   ? std::optional<std::string>(entry[name].get<std::string>())
                   : std::nullopt;
      };
      std::optional<std::string> name = text("name"), source = text("template");
      if (!name || !source)
        return Wrong(file, "an entry without the strings name and template");
      found.by_name[*name] = {fmt::format("{}: {}", key, *name), *std::move(source)};
    }
  } else if (value.is_object()) {
    for (const auto &[name, source] : value.items()) {
      if (!source.is_string())
        return Wrong(file, fmt::format("a value for '{}' that is not a string", name));
      found.by_name[name] = {fmt::format("{}: {}", key, name), source.get<std::string>()};
    }
  } else if (!value.is_null()) {
    return Wrong(file, value.type_name());
  }
  return absl::OkStatus();
}

} // namespace

absl::StatusOr<ChatTemplateFiles> ParseChatTemplates(std::string_view text, std::string_view file) {
  if (!IsShallowJson(text))
    return absl::InvalidArgumentError(fmt::format("{}: found JSON nested too deep", file));
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object())
    return absl::InvalidArgumentError(fmt::format(
        "{}: found text that is not a JSON object, expected one; copy the file from the model's repository again",
        file));
  ChatTemplateFiles found;
  if (auto it = parsed.find(kKey); it != parsed.end())
    if (absl::Status status = ReadNamed(*it, file, found); !status.ok())
      return status;
  return found;
}

absl::StatusOr<ChatTemplateFiles> FindChatTemplates(const std::string &directory) {
  ChatTemplateFiles found;
  if (absl::Status status = FindJinjaFiles(directory, found); !status.ok())
    return status;
  std::string used = found.by_name.empty()              ? ""
                     : found.by_name.contains(kDefault) ? found.by_name.find(kDefault)->second.file
                                                        : std::string(kMoreFolder);
  for (std::string_view file : {kConfigFile, kLegacyFile}) {
    absl::StatusOr<std::optional<std::string>> text = ReadIfThere(directory, file);
    if (!text.ok())
      return text.status();
    if (!*text)
      continue;
    if (file == kLegacyFile && !used.empty()) {
      found.ignored.push_back(fmt::format("{}: ignored: {} takes precedence", file, used));
      continue;
    }
    absl::StatusOr<ChatTemplateFiles> parsed = ParseChatTemplates(**text, file);
    if (!parsed.ok())
      return parsed.status();
    if (!used.empty() && !parsed->by_name.empty())
      found.ignored.push_back(fmt::format("{}: {}: ignored: {} takes precedence", file, kKey, used));
    if (!used.empty() || parsed->by_name.empty())
      continue;
    used = file;
    found.by_name = std::move(parsed->by_name);
  }
  return found;
}

std::string MissingTemplate(const ChatTemplateFiles &files, std::string_view name) {
  if (files.by_name.empty())
    return "found no chat template, expected chat_template.jinja or chat_template in tokenizer_config.json; fix: give "
           "the prompt itself";
  std::string names;
  for (const auto &[known, source] : files.by_name)
    names += (names.empty() ? "" : ", ") + known;
  return fmt::format("found the chat templates {}, expected {}; add it to the model's directory or choose one of those",
                     Quoted(names), Quoted(name));
}

std::vector<std::string> ListChatTemplateFiles(const std::string &directory) {
  std::vector<std::string> files;
  std::error_code ignored;
  for (std::string_view file : {kJinjaFile, kLegacyFile})
    if (fs::exists(fs::path(directory) / file, ignored))
      files.emplace_back(file);
  for (const std::string &name : MoreFiles(directory))
    if (IsTemplateName(name))
      files.push_back(fmt::format("{}/{}", kMoreFolder, name));
  return files;
}

} // namespace inlay::tokenizer
