#include "formats/tokenizer/chat_messages.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <system_error>
#include <utility>

namespace inlay::tokenizer {
namespace {

using Json = nlohmann::ordered_json;

// The first of these fields that has a value is the message's reasoning.
constexpr const char *kReasoningNames[] = {"reasoning_content", "thinking", "reasoning"};

void AliasReasoning(Json &message) {
  for (const char *name : kReasoningNames) {
    auto found = message.find(name);
    if (found == message.end())
      continue;
    Json reasoning = *found;
    if (!message.contains("thinking")) { // it comes first, as in transformers
      Json aliased = {{"thinking", reasoning}};
      aliased.update(message);
      message = std::move(aliased);
    }
    message["reasoning_content"] = std::move(reasoning);
    return;
  }
}

template <typename T> bool Holds(std::string_view digits) {
  T value;
  return std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc();
}

} // namespace

std::optional<std::string_view> FindWideInteger(std::string_view json) {
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '"') {
      for (++i; i < json.size() && json[i] != '"'; ++i)
        i += json[i] == '\\';
      continue;
    }
    size_t end = std::min(json.find_first_not_of("+-.0123456789Ee", i), json.size());
    std::string_view number = json.substr(i, end - i);
    bool is_integer = !number.empty() && number.find_first_of(".Ee") == std::string_view::npos;
    if (is_integer && !Holds<int64_t>(number) && !Holds<uint64_t>(number))
      return number;
    if (end > i)
      i = end - 1;
  }
  return std::nullopt;
}

void NormalizeMessages(Json &messages, bool knows_developer) {
  for (Json &message : messages) {
    if (!message.is_object())
      continue;
    for (auto it = message.begin(); it != message.end();)
      if (it->is_null())
        it = message.erase(it);
      else
        ++it;
    AliasReasoning(message);
    auto role = message.find("role");
    if (!knows_developer && role != message.end() && *role == "developer")
      *role = "system";
  }
}

} // namespace inlay::tokenizer
