#include "runtime/guided/schema_keywords.h"

#include "runtime/guided/number_language.h"
#include "runtime/guided/schema_conditions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace inlay::guided {
namespace {

enum class Form {
  kType,
  kList,
  kSchemas,
  kNamedSchemas,
  kSchema,
  kCount,
  kNumber,
  kBound,
  kNames,
  kText,
  kFlag,
  kReference,
  kDependencies,
  kItems,
  kRefused,
  kDraft3
};

const std::map<std::string, Form> kForms = {
    {"type", Form::kType},
    {"enum", Form::kList},
    {"allOf", Form::kSchemas},
    {"anyOf", Form::kSchemas},
    {"oneOf", Form::kSchemas},
    {"prefixItems", Form::kSchemas},
    {"not", Form::kSchema},
    {"if", Form::kSchema},
    {"then", Form::kSchema},
    {"else", Form::kSchema},
    {"items", Form::kItems},
    {"additionalItems", Form::kSchema},
    {"contains", Form::kSchema},
    {"additionalProperties", Form::kSchema},
    {"propertyNames", Form::kSchema},
    {"properties", Form::kNamedSchemas},
    {"patternProperties", Form::kNamedSchemas},
    {"dependentSchemas", Form::kNamedSchemas},
    {"dependencies", Form::kDependencies},
    {"dependentRequired", Form::kDependencies},
    {"required", Form::kNames},
    {"minLength", Form::kCount},
    {"maxLength", Form::kCount},
    {"minItems", Form::kCount},
    {"maxItems", Form::kCount},
    {"minProperties", Form::kCount},
    {"maxProperties", Form::kCount},
    {"minContains", Form::kCount},
    {"maxContains", Form::kRefused},
    {"minimum", Form::kNumber},
    {"maximum", Form::kNumber},
    {"multipleOf", Form::kNumber},
    {"exclusiveMinimum", Form::kBound},
    {"exclusiveMaximum", Form::kBound},
    {"pattern", Form::kText},
    {"format", Form::kText},
    {"uniqueItems", Form::kFlag},
    {"nullable", Form::kFlag},
    {"$ref", Form::kReference},
    {"$recursiveRef", Form::kReference},
    {"$dynamicRef", Form::kReference},
    {"unevaluatedItems", Form::kRefused},
    {"extends", Form::kDraft3},
    {"disallow", Form::kDraft3},
    {"divisibleBy", Form::kDraft3},
};

bool IsSchema(const Json &value) { return value.is_object() || value.is_boolean(); }
bool AreNames(const Json &value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), [](const Json &one) { return one.is_string(); });
}
bool IsType(const Json &value) { return value.is_string() && BitsOfType(value.get<std::string>()) != 0; }

// Describes the expected value of a keyword. Empty if the value is valid.
std::string Expected(Form form, const Json &value, bool is_draft3) {
  switch (form) {
  case Form::kType: {
    bool is_list = value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), IsType);
    return IsType(value) || is_list ? "" : "object, array, string, integer, number, boolean or null, or a list of them";
  }
  case Form::kList:
    return value.is_array() && !value.empty() ? "" : "a list of values, at least one";
  case Form::kSchemas:
    return value.is_array() && !value.empty() ? "" : "a list of schemas, at least one";
  case Form::kNamedSchemas:
  case Form::kDependencies:
    if (!value.is_object())
      return "an object of schemas by name";
    for (const Json &one : value)
      if (form == Form::kDependencies && !AreNames(one) && !IsSchema(one))
        return "lists of names, or schemas, by name";
    return "";
  case Form::kSchema:
    return IsSchema(value) ? "" : "a schema (an object, true or false)";
  case Form::kItems:
    return IsSchema(value) || value.is_array() ? "" : "a schema, or a list of schemas";
  case Form::kCount: {
    bool is_whole =
        value.is_number() && value.get<double>() >= 0 && value.get<double>() == std::floor(value.get<double>());
    return is_whole ? "" : "a whole number, at least 0";
  }
  case Form::kNumber:
    return value.is_number() ? "" : "a number";
  case Form::kBound:
    return value.is_number() || value.is_boolean() ? "" : "a number";
  case Form::kNames:
    // `required` is a flag in draft 3. `true` is refused there and ignored in schemas of later drafts.
    return AreNames(value) || (value.is_boolean() && (!is_draft3 || value == false))
               ? ""
               : "a list of names of the object's properties";
  case Form::kText:
    return value.is_string() ? "" : "a string";
  case Form::kFlag:
    return value.is_boolean() ? "" : "true or false";
  case Form::kReference:
    return value.is_string() ? "" : "a place in this schema, such as #/$defs/name";
  case Form::kRefused:
    return "no such keyword: it is not supported here";
  case Form::kDraft3:
    return is_draft3 ? "a keyword of draft 4 or later" : "";
  }
  return "";
}

} // namespace

bool HasOnlyKeyword(const Json &schema, const char *keyword) {
  if (!schema.is_object() || !schema.contains(keyword))
    return false;
  for (auto item = schema.begin(); item != schema.end(); ++item)
    if (item.key() != keyword &&
        (kForms.contains(item.key()) || item.key() == "const" || item.key() == "unevaluatedProperties"))
      return false;
  return true;
}

int32_t CountOf(const Json &value) { return static_cast<int32_t>(std::min(value.get<double>(), 2147483647.0)); }

absl::Status CheckSchemaKeywords(const Json &schema, const SchemaDocument &document, const Limits &limits) {
  for (auto item = schema.begin(); item != schema.end(); ++item) {
    const std::string &key = item.key();
    const Json &value = item.value();
    if (key == "unevaluatedProperties") {
      if (value != false && value != true)
        return document.Error(schema, key, "found a schema, expected true or false; fix: use additionalProperties");
      continue;
    }
    auto form = kForms.find(key);
    if (form == kForms.end())
      continue;
    if (std::string expected = Expected(form->second, value, document.is_draft3()); !expected.empty())
      return document.Error(
          schema, key, fmt::format("found {}, expected {}; fix: correct it, or remove it", Shortened(value), expected));
    if (form->second == Form::kCount && value.get<double>() > limits.max_repetitions && key.starts_with("min"))
      return document.Error(schema, key,
                            fmt::format("found {}, expected at most {} (max_repetitions); fix: use a smaller "
                                        "bound",
                                        Shortened(value), limits.max_repetitions));
    if (form->second == Form::kReference && !document.Resolve(schema, value.get<std::string>()))
      return document.Error(schema, key,
                            fmt::format("found {}, expected a place in this schema, such as "
                                        "#/$defs/name; fix: correct it, or copy its target into "
                                        "$defs",
                                        Shortened(value)));
    if (key == "minContains" && value != 1)
      return document.Error(schema, key, fmt::format("found {}, expected 1; fix: remove it", Shortened(value)));
    if (key == "multipleOf") {
      Decimal step = Decimal::Of(value);
      if (step.is_negative || step.is_zero() || step.whole.size() + step.fraction.size() > 15)
        return document.Error(schema, key,
                              fmt::format("found {}, expected a number above 0 of at most 15 digits; fix: "
                                          "correct it",
                                          Shortened(value)));
    }
  }
  return absl::OkStatus();
}

} // namespace inlay::guided
