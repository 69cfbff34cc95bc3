#include "frontends/hf/TokenIds.h"

#include <fmt/format.h>

#include <algorithm>

namespace inlay::hf {
namespace {

using nlohmann::json;

// The integer, where it is one of 64 bits.
std::optional<int64_t> Integer(const json &value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)
    return std::nullopt;
  return value.is_number_integer() ? std::optional<int64_t>(value.get<int64_t>()) : std::nullopt;
}

} // namespace

std::optional<std::vector<int64_t>> ReadEndTokens(ConfigReader &keys, int64_t vocab_size) {
  constexpr std::string_view kKey = "eos_token_id";
  const json *value = keys.Find(kKey);
  if (!value)
    return std::nullopt;
  std::vector<int64_t> ids;
  bool none = false;
  for (const json &one : value->is_array() ? *value : json::array({*value})) {
    std::optional<int64_t> id = Integer(one);
    if (!id || *id < -1 || *id >= vocab_size) {
      keys.Error(kKey, Describe(*value),
                 fmt::format("{} from 0 to {}", value->is_array() ? "integers" : "an integer", vocab_size - 1),
                 "correct the value");
      return ids;
    }
    none |= *id == -1;
    if (*id >= 0 && std::find(ids.begin(), ids.end(), *id) == ids.end())
      ids.push_back(*id);
  }
  if (none)
    keys.Warn(kKey, Describe(*value), fmt::format("ids from 0 to {}", vocab_size - 1),
              "-1 is no token and ends no text, as in transformers");
  return ids;
}

std::optional<int64_t> ReadBeginToken(ConfigReader &keys, int64_t vocab_size) {
  constexpr std::string_view kKey = "bos_token_id";
  const json *value = keys.Find(kKey);
  if (!value)
    return std::nullopt;
  std::optional<int64_t> id = Integer(*value);
  std::string expected = fmt::format("an integer from 0 to {}", vocab_size - 1);
  if (!id)
    keys.Error(kKey, Describe(*value), expected, "correct the value");
  else if (*id < 0 || *id >= vocab_size)
    keys.Warn(kKey, Describe(*value), expected, "it is ignored: the tokenizer begins texts");
  return id && *id >= 0 && *id < vocab_size ? id : std::nullopt;
}

} // namespace inlay::hf
