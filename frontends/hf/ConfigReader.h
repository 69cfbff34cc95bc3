// Typed, checked access to the keys of a JSON object that a stranger wrote.

#ifndef INLAY_FRONTENDS_HF_CONFIG_READER_H
#define INLAY_FRONTENDS_HF_CONFIG_READER_H

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "frontends/hf/Problems.h"

namespace inlay::hf {

// Parses JSON of bounded size and depth without duplicate keys. Python's NaN
// and Infinity become strings, so that the key that holds one is reported.
std::optional<nlohmann::json> ParseJson(std::string_view text, std::string_view file, Problems &problems);

// A value as an error shows it: one line of bounded length.
std::string Describe(const nlohmann::json &value);

// Reads keys of one object. What is missing or wrong is reported and absent;
// `null` counts as absent without an error where the key is optional.
class ConfigReader {
public:
  ConfigReader(const nlohmann::json &object, std::string_view file, std::string_view prefix, Problems &problems)
      : object_(object), file_(file), prefix_(prefix), problems_(problems) {}

  const std::string &prefix() const { return prefix_; } // Of keys in messages: "text_config.".
  bool Has(std::string_view key) const;                 // Present and not null.
  bool IsNull(std::string_view key) const;              // Present and null.
  const nlohmann::json *Find(std::string_view key);

  int64_t RequireInt(std::string_view key, int64_t min, int64_t max); // 1 where it is wrong.
  std::optional<int64_t> Int(std::string_view key, int64_t min, int64_t max);
  std::optional<double> Number(std::string_view key, double min, double max);
  std::optional<double> PositiveNumber(std::string_view key, double max); // Above 0.
  bool Bool(std::string_view key, bool otherwise);
  std::optional<std::string> String(std::string_view key);

  void Error(std::string_view key, std::string found, std::string expected, std::string fix);
  void Warn(std::string_view key, std::string found, std::string expected, std::string fix);

  // Keys of the object that nothing asked for.
  std::vector<std::string> UnreadKeys() const;

private:
  const nlohmann::json &object_;
  std::string file_, prefix_;
  Problems &problems_;
  std::set<std::string, std::less<>> read_;
};

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_CONFIG_READER_H
