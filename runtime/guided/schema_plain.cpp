// Applies the keywords that contain no other schema for the same value, and the negations of all keywords.
#include "runtime/guided/formats.h"
#include "runtime/guided/schema_expander.h"
#include "runtime/guided/schema_keywords.h"

#include <algorithm>

namespace inlay::guided {
namespace {

constexpr size_t kMaxExcludedNumbers = 64;

void AtLeast(int32_t &bound, const Json &value) { bound = std::max(bound, CountOf(value)); }
void AtMost(int32_t &bound, const Json &value) { bound = bound < 0 ? CountOf(value) : std::min(bound, CountOf(value)); }

bool IsTrue(const Json &schema, const char *key) { return schema.contains(key) && schema[key] == true; }

std::vector<const Json *> ValuesOf(const Json &list) {
  std::vector<const Json *> values;
  for (const Json &value : list)
    values.push_back(&value);
  return values;
}

// The bounds of a number, including the Boolean exclusive bounds of draft 4.
struct Bounds {
  std::vector<NumberBound> low, high;
};
Bounds BoundsOf(const Json &schema) {
  Bounds bounds;
  auto add = [&](const char *key, const char *flag, std::vector<NumberBound> &to) {
    if (schema.contains(key))
      to.push_back({Decimal::Of(schema[key]), IsTrue(schema, flag)});
    if (schema.contains(flag) && schema[flag].is_number())
      to.push_back({Decimal::Of(schema[flag]), true});
  };
  add("minimum", "exclusiveMinimum", bounds.low);
  add("maximum", "exclusiveMaximum", bounds.high);
  return bounds;
}

void ApplyType(const Json &type, Conditions &conditions) {
  uint32_t bits = 0;
  bool has_number = false;
  for (const Json *one : type.is_array() ? ValuesOf(type) : std::vector<const Json *>{&type}) {
    bits |= BitsOfType(one->get<std::string>());
    has_number |= *one == "number";
  }
  conditions.types &= bits;
  conditions.number.is_integer |= (bits & kNumber) != 0 && !has_number;
}

} // namespace

void SchemaExpander::ApplyPlain(const Json &schema, Conditions &to) {
  auto with = [&](const char *key, uint32_t type) -> const Json * {
    auto found = schema.find(key);
    if (found == schema.end())
      return nullptr;
    to.mentioned |= type;
    return &*found;
  };
  if (schema.contains("type"))
    ApplyType(schema["type"], to);
  to.has_values |= schema.contains("enum") || schema.contains("const");
  for (const char *key : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
    with(key, kNumber);
  Bounds bounds = BoundsOf(schema);
  for (const NumberBound &bound : bounds.low)
    to.number.AtLeast(bound);
  for (const NumberBound &bound : bounds.high)
    to.number.AtMost(bound);
  if (const Json *step = with("multipleOf", kNumber)) {
    Decimal decimal = Decimal::Of(*step);
    to.number.multiples.push_back(
        {std::stoll(decimal.whole + decimal.fraction), static_cast<int32_t>(decimal.fraction.size()), false});
  }
  if (const Json *count = with("minLength", kString))
    AtLeast(to.min_length, *count);
  if (const Json *count = with("maxLength", kString))
    AtMost(to.max_length, *count);
  if (const Json *pattern = with("pattern", kString))
    to.string_rules.push_back({pattern, false, false});
  // Unknown formats, such as OpenAPI's int32, are annotations.
  if (schema.contains("format") && RegexOfFormat(schema["format"].get<std::string>()))
    to.string_rules.push_back({with("format", kString), true, false});
  if (const Json *count = with("minItems", kArray))
    AtLeast(to.min_items, *count);
  if (const Json *count = with("maxItems", kArray))
    AtMost(to.max_items, *count);
  if (IsTrue(schema, "uniqueItems")) {
    with("uniqueItems", kArray);
    to.unique_items = &schema;
  }
  if (const Json *contains = with("contains", kArray))
    to.contains.push_back({contains, false});
  Conditions::Items items;
  const Json *prefix = with("prefixItems", kArray), *rest = with("items", kArray);
  if (rest && rest->is_array()) {
    prefix = rest;
    rest = with("additionalItems", kArray);
  }
  for (size_t i = 0; prefix && i < prefix->size(); ++i)
    items.prefix.push_back({&(*prefix)[i], false});
  if (rest)
    items.rest = Term{rest, false};
  if (prefix || rest)
    to.items.push_back(std::move(items));
  if (const Json *count = with("minProperties", kObject))
    AtLeast(to.min_properties, *count);
  if (const Json *count = with("maxProperties", kObject))
    AtMost(to.max_properties, *count);
  const Json *required =
      schema.contains("required") && schema["required"].is_array() ? with("required", kObject) : nullptr;
  for (size_t i = 0; required && i < required->size(); ++i)
    to.Require((*required)[i].get<std::string>());
  bool has_properties = false;
  for (const char *key : {"properties", "patternProperties", "additionalProperties"})
    has_properties |= with(key, kObject) != nullptr;
  if (has_properties)
    to.properties.push_back({&schema});
  if (const Json *names = with("propertyNames", kObject))
    to.names.push_back({names, false});
  if (schema.contains("unevaluatedProperties") && schema["unevaluatedProperties"] == false) {
    if (open_.size() > 1 || !is_alone_) {
      Fail(schema, "unevaluatedProperties",
           "found it in a schema that is combined with others for the same value, expected it in a schema that "
           "applies alone; fix: use additionalProperties");
      return;
    }
    with("unevaluatedProperties", kObject);
    to.is_closed = true;
  }
}

// NOLINTNEXTLINE(misc-no-recursion)
void SchemaExpander::ApplyNegative(const Json &schema, Alternatives &alternatives) {
  Alternatives all;
  for (auto item = schema.begin(); item != schema.end() && status_.ok(); ++item) {
    Negate(schema, item.key(), item.value(), alternatives, all);
    if (!CheckWork(schema, all.size()))
      return;
  }
  if (document_.has_nullable() && IsTrue(schema, "nullable"))
    for (Conditions &one : all)
      one.types &= ~kNull;
  // Listed values (enum, const) are validated against the whole schema later.
  std::erase_if(all, [](const Conditions &one) { return one.types == 0 && !one.has_values; });
  alternatives = std::move(all);
}

// NOLINTNEXTLINE(misc-no-recursion)
void SchemaExpander::Negate(const Json &schema, const std::string &key, const Json &value, const Alternatives &from,
                            Alternatives &out) {
  // Appends the alternatives that allow `type`, restricted to it and changed by `change`.
  auto of = [&](uint32_t type, auto change) {
    for (const Conditions &one : from)
      if (one.types & type) {
        Conditions changed = one;
        changed.types &= type;
        changed.mentioned |= type;
        change(changed);
        out.push_back(std::move(changed));
      }
  };
  auto applied = [&](const Term &term, Alternatives branch) {
    Apply(term, branch);
    std::move(branch.begin(), branch.end(), std::back_inserter(out));
  };
  auto is_bound = [&](const char *bound, const char *flag) {
    return key == bound || (key == flag && value.is_number());
  };
  bool is_refused = false;
  if (key == "$ref" || key == "$recursiveRef" || key == "$dynamicRef") {
    applied({document_.Resolve(schema, value.get<std::string>()), true}, from);
  } else if (key == "allOf") {
    for (const Json &one : value)
      applied({&one, true}, from);
  } else if (key == "anyOf" || key == "oneOf") {
    Alternatives none = from;
    for (const Json &one : value)
      Apply({&one, true}, none);
    std::move(none.begin(), none.end(), std::back_inserter(out));
    for (size_t i = 0; key == "oneOf" && i < value.size(); ++i)
      for (size_t j = 0; j < i; ++j)
        if (!AreApart(value[i], value[j])) {
          Alternatives both = from;
          Apply({&value[i], false}, both);
          applied({&value[j], false}, std::move(both));
        }
  } else if (key == "not") {
    applied({&value, false}, from);
  } else if (key == "if") {
    for (bool holds : {true, false})
      if (const char *then = holds ? "then" : "else"; schema.contains(then)) {
        Alternatives branch = from;
        Apply({&value, !holds}, branch);
        applied({&schema[then], true}, std::move(branch));
      }
  } else if (key == "type") {
    Conditions positive;
    ApplyType(value, positive);
    of(kAnyType & ~positive.types, [](Conditions &) {});
    if (positive.number.is_integer)
      of(kNumber, [](Conditions &one) { one.number.is_no_integer = true; });
  } else if (key == "enum") {
    NegateValues(schema, key, ValuesOf(value), from, out);
  } else if (key == "const") {
    NegateValues(schema, key, {&value}, from, out);
  } else if (is_bound("minimum", "exclusiveMinimum")) {
    bool is_exclusive = key[0] == 'e' || IsTrue(schema, "exclusiveMinimum");
    of(kNumber, [&](Conditions &one) { one.number.AtMost({Decimal::Of(value), !is_exclusive}); });
  } else if (is_bound("maximum", "exclusiveMaximum")) {
    bool is_exclusive = key[0] == 'e' || IsTrue(schema, "exclusiveMaximum");
    of(kNumber, [&](Conditions &one) { one.number.AtLeast({Decimal::Of(value), !is_exclusive}); });
  } else if (key == "multipleOf") {
    Decimal step = Decimal::Of(value);
    of(kNumber, [&](Conditions &one) {
      one.number.multiples.push_back(
          {std::stoll(step.whole + step.fraction), static_cast<int32_t>(step.fraction.size()), true});
    });
  } else if (key == "minLength" || key == "minItems" || key == "minProperties") {
    auto cut = [&](int32_t &max) { max = max < 0 ? CountOf(value) - 1 : std::min(max, CountOf(value) - 1); };
    if (CountOf(value) > 0)
      of(key == "minLength"  ? kString
         : key == "minItems" ? kArray
                             : kObject,
         [&](Conditions &one) {
           cut(key == "minLength" ? one.max_length : key == "minItems" ? one.max_items : one.max_properties);
         });
  } else if (key == "maxLength" || key == "maxItems" || key == "maxProperties") {
    of(key == "maxLength"  ? kString
       : key == "maxItems" ? kArray
                           : kObject,
       [&](Conditions &one) {
         int32_t &min = key == "maxLength" ? one.min_length : key == "maxItems" ? one.min_items : one.min_properties;
         min = std::max(min, CountOf(value) == 2147483647 ? CountOf(value) : CountOf(value) + 1);
       });
  } else if (key == "pattern") {
    of(kString, [&](Conditions &one) { one.string_rules.push_back({&value, false, true}); });
  } else if (key == "required") {
    for (size_t i = 0; value.is_array() && i < value.size(); ++i)
      of(kObject, [&](Conditions &one) { one.more[value[i].get<std::string>()].push_back({&FalseSchema(), false}); });
  } else if (key == "properties") {
    for (auto property = value.begin(); property != value.end(); ++property)
      if (property.value() != true)
        of(kObject, [&](Conditions &one) {
          one.Require(property.key());
          one.more[property.key()].push_back({&property.value(), true});
        });
  } else if (key == "contains") {
    of(kArray, [&](Conditions &one) { one.items.push_back({{}, Term{&value, true}}); });
  } else if (key == "items" && !value.is_array() && !schema.contains("prefixItems")) {
    if (value != true)
      of(kArray, [&](Conditions &one) { one.contains.push_back({&value, true}); });
  } else if (key == "dependentRequired") {
    for (auto item = value.begin(); item != value.end(); ++item)
      for (const Json &name : item.value())
        of(kObject, [&](Conditions &one) {
          one.Require(item.key());
          one.more[name.get<std::string>()].push_back({&FalseSchema(), false});
        });
  } else if (key == "additionalProperties") {
    // The negation means that some property has a name that `schema` does not list. It is supported if another schema
    // lists all allowed names: then one of those must be present.
    is_refused = value != true;
    bool is_known = value == false;
    for (const Conditions &one : from)
      is_known &= std::any_of(one.properties.begin(), one.properties.end(), [](const Conditions::Properties &p) {
        return !p.schema->contains("patternProperties") && p.schema->contains("additionalProperties") &&
               (*p.schema)["additionalProperties"] == false;
      });
    if (is_known && !schema.contains("patternProperties")) {
      is_refused = false;
      for (const Conditions &one : from)
        for (const Conditions::Properties &properties : one.properties)
          if (properties.schema->contains("properties"))
            for (const auto &[name, ignored] : (*properties.schema)["properties"].items())
              if (!schema.contains("properties") || !document_.Find(schema["properties"], name)) {
                Conditions changed = one;
                changed.types &= kObject;
                changed.Require(name);
                out.push_back(std::move(changed));
              }
    }
  } else {
    is_refused = key == "uniqueItems" ? value == true
                 : key == "format"    ? RegexOfFormat(value.get<std::string>()) != nullptr
                                      : key == "patternProperties" || key == "propertyNames" || key == "prefixItems" ||
                                            key == "items" || key == "additionalItems" || key == "dependencies" ||
                                            key == "dependentSchemas" || key == "unevaluatedProperties";
  }
  // If all alternatives have listed values, these are validated against the whole schema, so nothing is refused.
  auto has_values = [](const Conditions &one) { return one.has_values; };
  if (is_refused && std::all_of(from.begin(), from.end(), has_values))
    out.insert(out.end(), from.begin(), from.end());
  else if (is_refused)
    Fail(schema, key,
         fmt::format("found '{}' in a negated schema, expected a keyword whose negation is "
                     "supported; fix: state the allowed values instead",
                     key));
}

// Appends the alternatives for values that are not in `values`.
void SchemaExpander::NegateValues(const Json &schema, const std::string &key, const std::vector<const Json *> &values,
                                  const Alternatives &from, Alternatives &out) {
  std::vector<Decimal> numbers;
  for (const Json *value : values)
    if (value->is_number())
      numbers.push_back(Decimal::Of(*value));
  std::sort(numbers.begin(), numbers.end(), [](const Decimal &a, const Decimal &b) { return Compare(a, b) < 0; });
  if (numbers.size() > kMaxExcludedNumbers) {
    Fail(schema, key,
         fmt::format("found {} excluded numbers, expected at most {}; fix: use bounds", numbers.size(),
                     kMaxExcludedNumbers));
    return;
  }
  for (const Conditions &one : from) {
    Conditions rest = one;
    for (const Json *value : values) {
      if (value->is_string())
        rest.excluded.insert(value->get<std::string>());
      else if (value->is_array() && value->empty())
        rest.min_items = std::max(rest.min_items, 1);
      else if (value->is_object() && value->empty())
        rest.min_properties = std::max(rest.min_properties, 1);
      else if (value->is_structured() && rest.types & BitOfValue(*value) && !one.has_values)
        Fail(schema, key,
             fmt::format("found the excluded value {}, expected no object or list there; fix: state "
                         "the allowed values instead",
                         Shortened(*value)));
      else if (!value->is_number() && !value->is_structured())
        rest.types &= ~BitOfValue(*value);
    }
    // One alternative for the numbers below the first, between each two neighbours, and above the last.
    for (size_t i = 0; !numbers.empty() && one.types & kNumber && i <= numbers.size(); ++i) {
      Conditions between = one;
      between.types = kNumber;
      if (i > 0)
        between.number.AtLeast({numbers[i - 1], true});
      if (i < numbers.size())
        between.number.AtMost({numbers[i], true});
      out.push_back(std::move(between));
    }
    if (!numbers.empty())
      rest.types &= ~kNumber;
    out.push_back(std::move(rest));
  }
}

} // namespace inlay::guided
