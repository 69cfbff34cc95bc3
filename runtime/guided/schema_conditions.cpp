#include "runtime/guided/schema_conditions.h"

#include <algorithm>

namespace inlay::guided {

bool Conditions::Requires(const std::string &name) const {
  return std::find(required.begin(), required.end(), name) != required.end();
}

void Conditions::Require(const std::string &name) {
  if (!Requires(name))
    required.push_back(name);
}

const Json &TrueSchema() {
  static const Json schema = true;
  return schema;
}

const Json &FalseSchema() {
  static const Json schema = false;
  return schema;
}

uint32_t BitsOfType(const std::string &name) {
  static const std::map<std::string, uint32_t> bits = {
      {"object", kObject}, {"array", kArray},           {"string", kString}, {"integer", kNumber},
      {"number", kNumber}, {"boolean", kTrue | kFalse}, {"null", kNull},
  };
  auto found = bits.find(name);
  return found == bits.end() ? 0 : found->second;
}

uint32_t BitOfValue(const Json &value) {
  return value.is_object()    ? kObject
         : value.is_array()   ? kArray
         : value.is_string()  ? kString
         : value.is_number()  ? kNumber
         : value.is_boolean() ? (value.get<bool>() ? kTrue : kFalse)
                              : kNull;
}

} // namespace inlay::guided
