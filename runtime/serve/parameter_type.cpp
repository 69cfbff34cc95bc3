#include "runtime/serve/parameter_type.h"

#include "runtime/serve/python_literal.h"

#include <algorithm>
#include <vector>

namespace inlay::serve {
namespace {

// Appends the names of the types that a schema allows, in its order: those in "type", which may be a list, or else
// those in "anyOf" and "oneOf".
void AddTypes(const Json &schema, std::vector<std::string> &types) {
  if (!schema.is_object())
    return;
  if (auto type = schema.find("type"); type != schema.end()) {
    for (const Json &one : type->is_array() ? *type : Json::array({*type}))
      if (one.is_string())
        types.push_back(one.get<std::string>());
    return;
  }
  for (const char *key : {"anyOf", "oneOf"})
    if (auto list = schema.find(key); list != schema.end() && list->is_array())
      for (const Json &one : *list)
        if (one.is_object() && one.contains("type") && one["type"].is_string())
          types.push_back(one["type"].get<std::string>());
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  size_t begin = text.find_first_not_of(kSpace);
  return begin == std::string_view::npos ? std::string_view()
                                         : text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// Whether `value` has the type `type`. If so, `json` becomes the value in JSON.
bool Convert(std::string_view type, std::string_view value, std::string &json) {
  std::string_view trimmed = Trim(value);
  std::string word = Lower(trimmed);
  json.clear();
  if (type == "null" || word == "null" || word == "none") {
    json = "null";
    return word == "null" || word == "none";
  }
  if (type == "boolean") {
    json = word;
    return word == "true" || word == "false";
  }
  if (trimmed.find('\0') != std::string_view::npos) // the JSON library takes a zero byte for the end of the text
    return false;
  Json parsed = Json::parse(trimmed, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (type == "integer" || type == "number") {
    json = trimmed;
    return type == "integer" ? parsed.is_number_integer() : parsed.is_number();
  }
  if (type != "object" && type != "array")
    return false;
  if (type == "object" ? parsed.is_object() : parsed.is_array()) {
    json = trimmed;
    return true;
  }
  // Models write Python literals here too.
  return trimmed.starts_with(type == "object" ? '{' : '[') && PythonLiteralToJson(trimmed, json);
}

} // namespace

std::string JsonOfParameter(const Json &function, const std::string &key, std::string_view value) {
  std::vector<std::string> types;
  if (auto parameters = function.find("parameters"); parameters != function.end() && parameters->is_object())
    if (auto properties = parameters->find("properties"); properties != parameters->end() && properties->is_object())
      if (auto schema = properties->find(key); schema != properties->end())
        AddTypes(*schema, types);
  bool may_be_string = types.empty() || std::ranges::find(types, "string") != types.end();
  std::string json;
  for (const std::string &type : types)
    if (type != "string" && !(may_be_string && type != "null") && Convert(type, value, json))
      return json;
  return JsonStringOf(value);
}

} // namespace inlay::serve
