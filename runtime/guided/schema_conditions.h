// The conditions of several schemas that apply to the same value, without references and combinators.
#ifndef INLAY_RUNTIME_GUIDED_SCHEMA_CONDITIONS_H_
#define INLAY_RUNTIME_GUIDED_SCHEMA_CONDITIONS_H_

#include "runtime/guided/number_language.h"
#include "runtime/guided/schema_document.h"

#include <map>
#include <optional>
#include <set>
#include <vector>

namespace inlay::guided {

enum TypeBit : uint32_t {
  kNull = 1,
  kTrue = 2,
  kFalse = 4,
  kNumber = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAnyType = 127,
};

// Conditions on a value. The conditions of one type do not apply to values of other types.
struct Conditions {
  uint32_t types = kAnyType;
  uint32_t mentioned = 0;  // types that have a condition
  bool has_values = false; // the value is one of SchemaExpander's list of values

  NumberConditions number;

  struct StringRule {
    const Json *text; // a pattern or the name of a format
    bool is_format = false, is_negated = false;
  };
  int32_t min_length = 0, max_length = -1; // characters; -1: no bound
  std::vector<StringRule> string_rules;
  std::set<std::string> excluded; // strings that are not allowed

  struct Items {
    Terms prefix;
    std::optional<Term> rest;
  };
  int32_t min_items = 0, max_items = -1;
  std::vector<Items> items;
  std::vector<Term> contains;         // for each, at least one item must be valid
  const Json *unique_items = nullptr; // the schema with uniqueItems; null: none

  struct Properties {
    const Json *schema; // with properties, patternProperties, additionalProperties
  };
  int32_t min_properties = 0, max_properties = -1;
  std::vector<Properties> properties;
  std::vector<std::string> required;
  std::map<std::string, Terms> more; // further conditions on properties, by name
  Terms names;                       // propertyNames
  bool is_closed = false;            // unevaluatedProperties: false

  bool Requires(const std::string &name) const;
  void Require(const std::string &name);
};

// The schemas `true` and `false`.
const Json &TrueSchema();
const Json &FalseSchema();

// The bits of a type name of JSON Schema; 0 for an unknown name. "integer" is kNumber.
uint32_t BitsOfType(const std::string &name);
uint32_t BitOfValue(const Json &value);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_SCHEMA_CONDITIONS_H_
