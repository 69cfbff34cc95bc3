#include "frontends/hf/ConfigReader.h"

#include <fmt/format.h>

#include "formats/json/repeated_names.h"

#include <cmath>
#include <functional>

namespace inlay::hf {
namespace {

using nlohmann::json;

constexpr size_t kMaxBytes = 4 << 20;
constexpr int kMaxDepth = 32;
constexpr size_t kMaxShown = 64;

// Deepest nesting of `text`, and `text` with the bare words NaN, Infinity and
// -Infinity quoted.
int MeasureDepth(std::string_view text, std::string &quoted) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      quoted += c;
      if (c == '\\' && i + 1 < text.size())
        quoted += text[++i];
      if (c == '"')
        in_string = false;
      continue;
    }
    std::string_view word;
    for (std::string_view candidate : {"NaN", "-Infinity", "Infinity"})
      if (text.substr(i).starts_with(candidate))
        word = candidate;
    if (!word.empty()) {
      quoted += fmt::format("\"{}\"", word);
      i += word.size() - 1;
      continue;
    }
    quoted += c;
    if (c == '"')
      in_string = true;
    if (c == '{' || c == '[')
      deepest = std::max(deepest, ++depth);
    if (c == '}' || c == ']')
      --depth;
  }
  return deepest;
}

} // namespace

std::optional<json> ParseJson(std::string_view text, std::string_view file, Problems &problems) {
  auto fail = [&](std::string key, std::string found, std::string expected, std::string fix) {
    problems.Add({std::string(file), std::move(key), std::move(found), std::move(expected), std::move(fix)});
    return std::nullopt;
  };
  const std::string fetch_again = "copy the file from the model's repository again";
  if (text.size() > kMaxBytes)
    return fail("", fmt::format("{} bytes", text.size()), fmt::format("at most {}", kMaxBytes), fetch_again);
  std::string quoted;
  int depth = MeasureDepth(text, quoted);
  if (depth > kMaxDepth)
    return fail("", fmt::format("JSON nested {} deep", depth), fmt::format("at most {}", kMaxDepth), fetch_again);

  RepeatedNames names;
  json parsed;
  try {
    parsed = json::parse(quoted, std::ref(names));
  } catch (const json::exception &error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string_view what = error.what();
    what.remove_prefix(std::min(what.size(), what.find("] ") + 2));
    return fail("", fmt::format("invalid JSON ({})", what), "a JSON object", fetch_again);
  }
  if (!parsed.is_object())
    return fail("", Describe(parsed), "a JSON object", fetch_again);
  if (names.first())
    return fail(*names.first(), "the key twice in one object", "each key once", "remove one of the two");
  return parsed;
}

std::string Describe(const json &value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > kMaxShown)
    text = text.substr(0, kMaxShown) + "...";
  return text;
}

const json *ConfigReader::Find(std::string_view key) {
  read_.emplace(key);
  auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool ConfigReader::Has(std::string_view key) const {
  auto it = object_.find(key);
  return it != object_.end() && !it->is_null();
}

bool ConfigReader::IsNull(std::string_view key) const {
  auto it = object_.find(key);
  return it != object_.end() && it->is_null();
}

int64_t ConfigReader::RequireInt(std::string_view key, int64_t min, int64_t max) {
  if (!Find(key)) {
    Error(key, "no such key", fmt::format("an integer from {} to {}", min, max), "add the key");
    return 1;
  }
  return Int(key, min, max).value_or(1);
}

std::optional<int64_t> ConfigReader::Int(std::string_view key, int64_t min, int64_t max) {
  const json *value = Find(key);
  if (!value)
    return std::nullopt;
  bool in_range =
      value->is_number_unsigned()
          ? value->get<uint64_t>() <= static_cast<uint64_t>(max) && static_cast<int64_t>(value->get<uint64_t>()) >= min
          : value->is_number_integer() && value->get<int64_t>() >= min && value->get<int64_t>() <= max;
  if (in_range)
    return value->get<int64_t>();
  Error(key, Describe(*value), fmt::format("an integer from {} to {}", min, max), "correct the value");
  return std::nullopt;
}

std::optional<double> ConfigReader::Number(std::string_view key, double min, double max) {
  const json *value = Find(key);
  if (!value)
    return std::nullopt;
  if (value->is_number()) {
    double number = value->get<double>();
    if (std::isfinite(number) && number >= min && number <= max)
      return number;
  }
  Error(key, Describe(*value), fmt::format("a number from {:g} to {:g}", min, max), "correct the value");
  return std::nullopt;
}

std::optional<double> ConfigReader::PositiveNumber(std::string_view key, double max) {
  const json *value = Find(key);
  if (!value)
    return std::nullopt;
  // What is 0 in single precision counts as 0.
  if (value->is_number())
    if (double number = value->get<double>(); static_cast<float>(number) > 0 && number <= max)
      return number;
  Error(key, Describe(*value), fmt::format("a number above 0 and at most {:g}", max), "correct the value");
  return std::nullopt;
}

bool ConfigReader::Bool(std::string_view key, bool otherwise) {
  const json *value = Find(key);
  if (!value)
    return otherwise;
  if (value->is_boolean())
    return value->get<bool>();
  Error(key, Describe(*value), "true or false", "correct the value");
  return otherwise;
}

std::optional<std::string> ConfigReader::String(std::string_view key) {
  const json *value = Find(key);
  if (!value)
    return std::nullopt;
  if (value->is_string())
    return value->get<std::string>();
  Error(key, Describe(*value), "a string", "correct the value");
  return std::nullopt;
}

void ConfigReader::Error(std::string_view key, std::string found, std::string expected, std::string fix) {
  problems_.Add({file_, prefix_ + std::string(key), std::move(found), std::move(expected), std::move(fix)});
}

void ConfigReader::Warn(std::string_view key, std::string found, std::string expected, std::string fix) {
  problems_.Add(
      {file_, prefix_ + std::string(key), std::move(found), std::move(expected), std::move(fix), Severity::kWarning});
}

std::vector<std::string> ConfigReader::UnreadKeys() const {
  std::vector<std::string> keys;
  for (const auto &item : object_.items())
    if (!read_.contains(item.key()))
      keys.push_back(item.key());
  return keys;
}

} // namespace inlay::hf
