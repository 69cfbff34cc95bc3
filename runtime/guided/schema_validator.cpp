#include "runtime/guided/schema_validator.h"

#include "runtime/guided/formats.h"
#include "runtime/guided/number_language.h"
#include "runtime/guided/schema_conditions.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace inlay::guided {
namespace {

size_t CharactersOf(const std::string &text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

bool IsInteger(const Json &value) { return value.is_number() && Decimal::Of(value).fraction.empty(); }

bool IsMultiple(const Json &value, const Json &step) {
  Decimal a = Decimal::Of(value), b = Decimal::Of(step);
  size_t decimals = std::max(a.fraction.size(), b.fraction.size());
  auto whole = [&](const Decimal &d) { return d.whole + d.fraction + std::string(decimals - d.fraction.size(), '0'); };
  std::string divisor = whole(b);
  divisor.erase(0, std::min(divisor.find_first_not_of('0'), divisor.size() - 1));
  if (divisor.size() > 18 || divisor == "0")
    return false;
  unsigned __int128 rest = 0, modulus = std::stoull(divisor);
  for (char digit : whole(a))
    rest = (rest * 10 + (digit - '0')) % modulus;
  return rest == 0;
}

} // namespace

absl::StatusOr<bool> SchemaValidator::HasMatch(const std::string &pattern, const std::string &text) {
  std::unique_ptr<MachinePointer> &machine = patterns_[pattern];
  if (!machine) {
    absl::StatusOr<MachinePointer> made = PatternMachine(pattern, /*is_negated=*/false, limits_);
    if (!made.ok())
      return made.status();
    machine = std::make_unique<MachinePointer>(*std::move(made));
  }
  return Reads(**machine, text);
}

absl::StatusOr<bool> SchemaValidator::IsValid(const Json &value, const Term &term) {
  status_ = absl::OkStatus();
  bool is_valid = Validate(value, *term.schema);
  if (!status_.ok())
    return status_;
  return is_valid != term.is_negated;
}

// NOLINTNEXTLINE(misc-no-recursion): depth_ limits the depth
bool SchemaValidator::Validate(const Json &value, const Json &schema) {
  if (schema.is_boolean())
    return schema.get<bool>();
  if (!schema.is_object() || !status_.ok())
    return true;
  if (depth_ > limits_.max_source_depth * 3) {
    status_ = document_.Error(schema, "",
                              "found a schema that refers to itself for the same value, expected a finite "
                              "schema; fix: move the reference into a property or an item");
    return false;
  }
  ++depth_;
  bool is_valid = true;
  bool is_null =
      value.is_null() && document_.has_nullable() && schema.contains("nullable") && schema["nullable"] == true;
  for (auto item = schema.begin(); item != schema.end() && is_valid && !is_null; ++item)
    is_valid = Keyword(value, schema, item.key(), item.value());
  --depth_;
  return is_valid;
}

// NOLINTNEXTLINE(misc-no-recursion)
bool SchemaValidator::Keyword(const Json &value, const Json &schema, const std::string &key, const Json &rule) {
  auto valid = [&](const Json &one) { return Validate(value, one); };
  if (key == "$ref" || key == "$recursiveRef" || key == "$dynamicRef") {
    const Json *target = rule.is_string() ? document_.Resolve(schema, rule.get<std::string>()) : nullptr;
    return !target || Validate(value, *target);
  }
  if (key == "allOf")
    return std::all_of(rule.begin(), rule.end(), valid);
  if (key == "anyOf")
    return std::any_of(rule.begin(), rule.end(), valid);
  if (key == "oneOf")
    return std::count_if(rule.begin(), rule.end(), valid) == 1;
  if (key == "not")
    return !Validate(value, rule);
  if (key == "if") {
    const char *next = Validate(value, rule) ? "then" : "else";
    return !schema.contains(next) || Validate(value, schema[next]);
  }
  if (key == "const")
    return AreEqual(value, rule);
  // If `value` is an element of the list itself, no search is needed. A list may have 100,000 values.
  if (key == "enum" && !rule.empty() && !std::less<>()(&value, &rule.front()) && !std::less<>()(&rule.back(), &value))
    return true;
  if (key == "enum")
    return std::any_of(rule.begin(), rule.end(), [&](const Json &one) { return AreEqual(value, one); });
  if (key == "type") {
    auto is_of = [&](const Json &name) {
      return name.is_string() &&
             (name == "integer" ? IsInteger(value) : (BitsOfType(name.get<std::string>()) & BitOfValue(value)) != 0);
    };
    return rule.is_array() ? std::any_of(rule.begin(), rule.end(), is_of) : is_of(rule);
  }
  if (value.is_number())
    return OfNumber(value, schema, key, rule);
  if (value.is_string())
    return OfString(value.get<std::string>(), key, rule);
  if (value.is_array())
    return OfArray(value, schema, key, rule);
  return !value.is_object() || OfObject(value, schema, key, rule);
}

bool SchemaValidator::OfNumber(const Json &value, const Json &schema, const std::string &key, const Json &rule) {
  bool is_low = key == "minimum" || key == "exclusiveMinimum", is_high = key == "maximum" || key == "exclusiveMaximum";
  if (key == "multipleOf")
    return !rule.is_number() || IsMultiple(value, rule);
  if ((!is_low && !is_high) || !rule.is_number())
    return true;
  // In draft 4, exclusiveMinimum and exclusiveMaximum are Booleans next to minimum and maximum.
  const char *flag = is_low ? "exclusiveMinimum" : "exclusiveMaximum";
  bool is_exclusive = key[0] == 'e' || (schema.contains(flag) && schema[flag] == true);
  int order = Compare(Decimal::Of(value), Decimal::Of(rule)) * (is_low ? 1 : -1);
  return is_exclusive ? order > 0 : order >= 0;
}

bool SchemaValidator::OfString(const std::string &value, const std::string &key, const Json &rule) {
  if (key == "minLength" || key == "maxLength")
    return !rule.is_number() ||
           (key == "minLength" ? CharactersOf(value) >= rule.get<double>() : CharactersOf(value) <= rule.get<double>());
  if (!rule.is_string() || (key != "pattern" && key != "format"))
    return true;
  absl::StatusOr<bool> has = true;
  if (key == "pattern") {
    has = HasMatch(rule.get<std::string>(), value);
  } else if (const std::string *regex = RegexOfFormat(rule.get<std::string>())) {
    MachinePointer &machine = formats_[rule.get<std::string>()];
    if (!machine) {
      absl::StatusOr<MachinePointer> made = PatternMachine("^(?:" + *regex + ")$", /*is_negated=*/false, limits_);
      if (!made.ok()) {
        status_ = made.status();
        return false;
      }
      machine = *std::move(made);
    }
    has = Reads(*machine, value);
  }
  if (!has.ok())
    status_ = has.status();
  return has.ok() && *has;
}

// NOLINTNEXTLINE(misc-no-recursion)
bool SchemaValidator::OfArray(const Json &value, const Json &schema, const std::string &key, const Json &rule) {
  if (key == "minItems" || key == "maxItems")
    return !rule.is_number() ||
           (key == "minItems" ? value.size() >= rule.get<double>() : value.size() <= rule.get<double>());
  if (key == "uniqueItems") {
    for (size_t i = 0; i < value.size() && rule == true; ++i)
      for (size_t j = 0; j < i; ++j)
        if (AreEqual(value[i], value[j]))
          return false;
    return true;
  }
  if (key == "contains")
    return std::any_of(value.begin(), value.end(), [&](const Json &one) { return Validate(one, rule); });
  if (key == "prefixItems" || (key == "items" && rule.is_array())) {
    for (size_t i = 0; i < value.size() && i < rule.size(); ++i)
      if (!Validate(value[i], rule[i]))
        return false;
    return true;
  }
  bool is_behind = key == "additionalItems" && schema.contains("items") && schema["items"].is_array();
  if (key != "items" && !is_behind)
    return true;
  size_t begin = is_behind ? schema["items"].size() : schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
  for (size_t i = begin; i < value.size(); ++i)
    if (!Validate(value[i], rule))
      return false;
  return true;
}

// NOLINTNEXTLINE(misc-no-recursion)
bool SchemaValidator::OfObject(const Json &value, const Json &schema, const std::string &key, const Json &rule) {
  if (key == "minProperties" || key == "maxProperties")
    return !rule.is_number() ||
           (key == "minProperties" ? value.size() >= rule.get<double>() : value.size() <= rule.get<double>());
  auto has = [&](const Json &name) { return !name.is_string() || value.contains(name.get<std::string>()); };
  if (key == "required")
    return !rule.is_array() || std::all_of(rule.begin(), rule.end(), has);
  for (auto item = value.begin(); item != value.end(); ++item) {
    const std::string &name = item.key();
    if (key == "propertyNames" && !Validate(Json(name), rule))
      return false;
    if (key == "properties" && rule.contains(name) && !Validate(item.value(), rule[name]))
      return false;
    bool is_dependency = key == "dependentRequired" || key == "dependentSchemas" || key == "dependencies";
    if (is_dependency && rule.contains(name)) {
      const Json &then = rule[name];
      if (then.is_array() ? !std::all_of(then.begin(), then.end(), has) : !Validate(value, then))
        return false;
    }
    if (key == "patternProperties")
      for (auto pattern = rule.begin(); pattern != rule.end(); ++pattern)
        if (Matches(pattern.key(), name) && !Validate(item.value(), pattern.value()))
          return false;
    if (key == "additionalProperties") {
      bool is_named = schema.contains("properties") && schema["properties"].contains(name);
      if (schema.contains("patternProperties"))
        for (auto pattern = schema["patternProperties"].begin(); pattern != schema["patternProperties"].end();
             ++pattern)
          is_named |= Matches(pattern.key(), name);
      if (!is_named && !Validate(item.value(), rule))
        return false;
    }
  }
  return true;
}

bool SchemaValidator::Matches(const std::string &key, const std::string &text) {
  absl::StatusOr<bool> has = HasMatch(key, text);
  if (!has.ok())
    status_ = has.status();
  return has.ok() && *has;
}

} // namespace inlay::guided
