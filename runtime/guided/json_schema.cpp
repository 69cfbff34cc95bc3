#include "runtime/guided/json_schema.h"

#include "runtime/guided/json_text.h"
#include "runtime/guided/regex.h"
#include "runtime/support/json_shape.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

namespace inlay::guided {
namespace {

using Json = nlohmann::ordered_json;

const std::set<std::string> kAnnotations = {"title",     "description", "default",     "examples",     "example",
                                            "$schema",   "$id",         "$comment",    "deprecated",   "readOnly",
                                            "writeOnly", "$defs",       "definitions", "discriminator"};

// The keywords of each type.
const std::map<std::string, std::set<std::string>> kTypes = {
    {"object", {"properties", "required", "additionalProperties"}},
    {"array", {"items", "prefixItems", "minItems", "maxItems"}},
    {"string", {"minLength", "maxLength", "pattern", "format"}},
    {"integer", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}},
    {"number", {}},
    {"boolean", {}},
    {"null", {}},
};

const std::string kDate = "([1-9]\\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|"
                          "02-(0[1-9]|1\\d|2[0-8]))|([1-9]\\d(0[48]|[2468][048]|[13579][26])|"
                          "([2468][048]|[13579][26])00)-02-29)";
const std::string kTime = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
const std::string kByte = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const std::string kLabel = "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
const std::map<std::string, std::string> kFormats = {
    {"date", kDate},
    {"time", kTime},
    {"date-time", kDate + "T" + kTime},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"ipv4", kByte + "\\." + kByte + "\\." + kByte + "\\." + kByte},
    {"email", "[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,32}){0,3}@" + kLabel + "(\\." + kLabel + "){1,3}"},
};

// Beyond it a double does not hold every integer.
constexpr int64_t kMaxInteger = 9'007'199'254'740'991;

std::string TypeOf(const Json &value) {
  return value.is_object()           ? "object"
         : value.is_array()          ? "array"
         : value.is_string()         ? "string"
         : value.is_number_integer() ? "integer"
         : value.is_number()         ? "number"
         : value.is_boolean()        ? "boolean"
                                     : "null";
}

std::string Escaped(std::string_view key) {
  std::string out;
  for (char c : key)
    out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

std::string Shortened(const Json &value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= 60)
    return text;
  size_t end = 60;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80)
    --end;
  return text.substr(0, end) + "...";
}

class Converter {
public:
  Converter(const Json &root, const Limits &limits) : root_(root), limits_(limits), text_(rules_) {}

  absl::StatusOr<Rules> Convert() {
    RuleId root = rules_.AddRule("root");
    references_["#"] = root;
    rules_.SetBody(root, Schema(root_, "", 0));
    // Bodies of references are made here, not where they are used: recursion ends, and nothing nests.
    while (!pending_.empty() && status_.ok()) {
      auto [rule, schema, pointer] = pending_.back();
      pending_.pop_back();
      rules_.SetBody(rule, Schema(*schema, pointer, 0));
    }
    if (!status_.ok())
      return status_;
    return std::move(rules_);
  }

private:
  struct Pending {
    RuleId rule;
    const Json *schema;
    std::string pointer;
  };

  ExpressionId Fail(std::string_view pointer, std::string_view message) {
    if (status_.ok())
      status_ = absl::InvalidArgumentError(fmt::format("{}: {}", pointer.empty() ? "#" : pointer, message));
    return rules_.Empty();
  }

  // Refuses what is neither an annotation nor in `known`.
  bool CheckKeywords(const Json &schema, const std::string &pointer, const std::set<std::string> &known) {
    for (const auto &[key, value] : schema.items())
      if (!kAnnotations.contains(key) && !known.contains(key) && !(key == "uniqueItems" && value == false)) {
        Fail(pointer + "/" + Escaped(key),
             fmt::format("found the keyword '{}', which is not supported here; fix: leave it out", key));
        return false;
      }
    return true;
  }

  RuleId NewRule(const std::string &name) {
    if (rules_.rules().size() >= static_cast<size_t>(limits_.max_rules))
      Fail("", fmt::format("found a schema of more than {} rules (max_rules), expected fewer; fix: make it smaller",
                           limits_.max_rules));
    return rules_.AddRule(name);
  }

  ExpressionId Schema(const Json &schema, const std::string &pointer, int32_t depth) {
    if (!status_.ok())
      return rules_.Empty();
    if (depth > limits_.max_source_depth)
      return Fail(pointer,
                  fmt::format("found schemas {} deep, expected at most {} (max_source_depth); fix: move some to "
                              "$defs",
                              depth, limits_.max_source_depth));
    if (schema.is_boolean())
      return schema.get<bool>() ? text_.Value() : rules_.Choice({});
    if (!schema.is_object())
      return Fail(pointer, fmt::format("found {}, expected a schema (an object, true or false); fix: correct it",
                                       Shortened(schema)));
    if (auto nullable = schema.find("nullable"); nullable != schema.end()) {
      if (!nullable->is_boolean())
        return Fail(pointer + "/nullable", "found no boolean, expected true or false; fix: correct it");
      Json rest = schema;
      rest.erase("nullable");
      ExpressionId value = Schema(Keep(std::move(rest)), pointer, depth + 1);
      return nullable->get<bool>() ? rules_.Choice({value, rules_.Literal("null")}) : value;
    }
    if (schema.contains("$ref"))
      return Reference(schema, pointer);
    for (const char *key : {"anyOf", "oneOf", "allOf"})
      if (schema.contains(key))
        return Alternatives(schema, key, pointer, depth);
    if (schema.contains("const") || schema.contains("enum"))
      return Values(schema, pointer);
    return Typed(schema, pointer, depth);
  }

  // A schema that was made here lives as long as the conversion.
  const Json &Keep(Json schema) {
    kept_.push_back(std::make_unique<Json>(std::move(schema)));
    return *kept_.back();
  }

  const Json *Resolve(const std::string &reference) const {
    if (reference == "#")
      return &root_;
    if (reference.rfind("#/", 0) != 0)
      return nullptr;
    const Json *at = &root_;
    for (size_t begin = 2; begin <= reference.size();) {
      size_t end = std::min(reference.find('/', begin), reference.size());
      std::string key;
      for (size_t i = begin; i < end; ++i) {
        bool is_escape = reference[i] == '~' && i + 1 < end && (reference[i + 1] == '0' || reference[i + 1] == '1');
        key += is_escape ? (reference[++i] == '0' ? '~' : '/') : reference[i];
      }
      if (at->is_object() && at->contains(key))
        at = &(*at)[key];
      else if (at->is_array() && !key.empty() && key.size() < 7 &&
               std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
               std::stoul(key) < at->size())
        at = &(*at)[std::stoul(key)];
      else
        return nullptr;
      begin = end + 1;
    }
    return at;
  }

  ExpressionId Reference(const Json &schema, const std::string &pointer) {
    if (!CheckKeywords(schema, pointer, {"$ref"}))
      return rules_.Empty();
    const Json &value = schema["$ref"];
    const Json *target = value.is_string() ? Resolve(value.get<std::string>()) : nullptr;
    if (!target)
      return Fail(pointer + "/$ref",
                  fmt::format("found {}, expected a place in this schema, such as #/$defs/name; fix: "
                              "correct it",
                              Shortened(value)));
    auto [it, inserted] = references_.try_emplace(value.get<std::string>(), -1);
    if (inserted) {
      it->second = NewRule(it->first);
      pending_.push_back({it->second, target, it->first});
      rules_.SetBody(it->second, rules_.Empty());
    }
    return rules_.Rule(it->second);
  }

  ExpressionId Alternatives(const Json &schema, const std::string &key, const std::string &pointer, int32_t depth) {
    if (!CheckKeywords(schema, pointer, {key}))
      return rules_.Empty();
    const Json &list = schema[key];
    std::string place = pointer + "/" + key;
    if (!list.is_array() || list.empty())
      return Fail(place, "found no list, expected schemas; fix: correct it");
    if (key == "allOf" && list.size() > 1)
      return Fail(place, "found several schemas that must hold at once, expected one; fix: join them");
    std::vector<ExpressionId> choices;
    for (size_t i = 0; i < list.size(); ++i) {
      if (key == "oneOf")
        for (size_t other = 0; other < i; ++other)
          if (!AreApart(list[other], list[i]))
            return Fail(place, fmt::format("found alternatives {} and {} that one value may both match, expected other "
                                           "types, or a required property whose const differs; fix: use anyOf",
                                           other, i));
      choices.push_back(Schema(list[i], fmt::format("{}/{}", place, i), depth + 1));
    }
    return rules_.Choice(std::move(choices));
  }

  // The schema that references lead to, if any.
  const Json *Target(const Json *schema) const {
    for (int hops = 0; schema && schema->is_object() && schema->contains("$ref") && hops < 16; ++hops)
      schema = (*schema)["$ref"].is_string() ? Resolve((*schema)["$ref"].get<std::string>()) : nullptr;
    return schema && schema->is_object() && !schema->value("nullable", Json(false)).is_boolean() ? nullptr : schema;
  }

  // The only values that a schema allows, if it says so.
  static std::optional<std::vector<Json>> Enumerated(const Json &schema) {
    if (auto value = schema.find("const"); value != schema.end())
      return std::vector<Json>{*value};
    if (auto values = schema.find("enum"); values != schema.end() && values->is_array())
      return std::vector<Json>(values->begin(), values->end());
    return std::nullopt;
  }

  static std::optional<std::set<std::string>> Types(const Json &schema) {
    std::set<std::string> types;
    auto add = [&](const std::string &type) { types.insert(type == "integer" ? "number" : type); };
    if (auto values = Enumerated(schema)) {
      for (const Json &value : *values)
        add(TypeOf(value));
      return types;
    }
    auto type = schema.find("type");
    if (type == schema.end())
      return std::nullopt;
    if (type->is_string())
      add(type->get<std::string>());
    else if (type->is_array())
      for (const Json &one : *type)
        if (one.is_string())
          add(one.get<std::string>());
    if (schema.value("nullable", Json(false)) == true)
      add("null");
    return types;
  }

  static bool AreDisjoint(const std::optional<std::vector<Json>> &a, const std::optional<std::vector<Json>> &b) {
    return a && b && std::none_of(a->begin(), a->end(), [&](const Json &value) {
             return std::find(b->begin(), b->end(), value) != b->end();
           });
  }

  // No value matches both, as far as types, constants and tagged objects show it.
  bool AreApart(const Json &one, const Json &other) const {
    const Json *a = Target(&one), *b = Target(&other);
    if (!a || !b || !a->is_object() || !b->is_object())
      return false;
    auto types = Types(*a), other_types = Types(*b);
    if (!types || !other_types)
      return false;
    std::vector<std::string> shared;
    std::set_intersection(types->begin(), types->end(), other_types->begin(), other_types->end(),
                          std::back_inserter(shared));
    if (shared.empty() || AreDisjoint(Enumerated(*a), Enumerated(*b)))
      return true;
    if (shared != std::vector<std::string>{"object"} || !a->contains("properties") || !b->contains("properties"))
      return false;
    const Json &properties = (*a)["properties"], &others = (*b)["properties"];
    if (!properties.is_object() || !others.is_object())
      return false;
    auto is_required = [](const Json &schema, const std::string &name) {
      auto required = schema.find("required");
      return required != schema.end() && required->is_array() &&
             std::find(required->begin(), required->end(), Json(name)) != required->end();
    };
    for (const auto &[name, property] : properties.items())
      if (property.is_object() && others.contains(name) && others[name].is_object() && is_required(*a, name) &&
          is_required(*b, name) && AreDisjoint(Enumerated(property), Enumerated(others[name])))
        return true;
    return false;
  }

  ExpressionId Values(const Json &schema, const std::string &pointer) {
    if (!CheckKeywords(schema, pointer, {"type", "enum", "const"}))
      return rules_.Empty();
    auto values = Enumerated(schema);
    if (!values || values->empty())
      return Fail(pointer + "/enum", "found no list of values, expected at least one; fix: correct it");
    std::set<std::string> types;
    if (auto type = schema.find("type"); type != schema.end())
      types = ReadTypes(*type, pointer);
    std::vector<ExpressionId> choices;
    for (const Json &value : *values) {
      std::string type = TypeOf(value);
      if (types.empty() || types.contains(type) || (type == "integer" && types.contains("number")))
        choices.push_back(rules_.Literal(value.dump()));
    }
    if (choices.empty())
      return Fail(pointer, "found no value that has the type asked for; fix: correct type or enum");
    return rules_.Choice(std::move(choices));
  }

  std::set<std::string> ReadTypes(const Json &type, const std::string &pointer) {
    std::set<std::string> types;
    std::vector<Json> list = type.is_array() ? std::vector<Json>(type.begin(), type.end()) : std::vector<Json>{type};
    for (const Json &one : list) {
      if (!one.is_string() || !kTypes.contains(one.get<std::string>()))
        Fail(pointer + "/type",
             fmt::format("found {}, expected object, array, string, integer, number, boolean or null; fix: correct it",
                         Shortened(one)));
      else
        types.insert(one.get<std::string>());
    }
    if (types.empty())
      Fail(pointer + "/type", "found no type, expected one; fix: correct it");
    return types;
  }

  ExpressionId Typed(const Json &schema, const std::string &pointer, int32_t depth) {
    std::set<std::string> types, known{"type"};
    if (auto type = schema.find("type"); type != schema.end()) {
      types = ReadTypes(*type, pointer);
    } else {
      // The types whose keywords are there; none: any value.
      for (const auto &[type_name, keywords] : kTypes)
        for (const std::string &keyword : keywords)
          if (schema.contains(keyword))
            types.insert(type_name);
    }
    for (const std::string &type : types)
      known.insert(kTypes.at(type).begin(), kTypes.at(type).end());
    if (!CheckKeywords(schema, pointer, known) || !status_.ok())
      return rules_.Empty();
    if (types.empty())
      return text_.Value();
    if (types.contains("number"))
      types.erase("integer");
    if (types.contains("number"))
      for (const std::string &keyword : kTypes.at("integer"))
        if (schema.contains(keyword))
          return Fail(fmt::format("{}/{}", pointer, keyword),
                      fmt::format("found the keyword '{}' of a number, which is supported for "
                                  "integers alone; fix: leave it out, or use integer",
                                  keyword));
    std::vector<ExpressionId> choices;
    for (const std::string &type : types)
      choices.push_back(OfType(type, schema, pointer, depth));
    return choices.size() == 1 ? choices[0] : rules_.Choice(std::move(choices));
  }

  ExpressionId OfType(const std::string &type, const Json &schema, const std::string &pointer, int32_t depth) {
    if (type == "object")
      return Object(schema, pointer, depth);
    if (type == "array")
      return Array(schema, pointer, depth);
    if (type == "string")
      return String(schema, pointer);
    if (type == "integer")
      return Integer(schema, pointer);
    if (type == "number")
      return text_.Number();
    if (type == "boolean")
      return rules_.Choice({rules_.Literal("true"), rules_.Literal("false")});
    return rules_.Literal("null");
  }

  // A bound such as maxLength: a whole number, at least 0.
  std::optional<int32_t> Bound(const Json &schema, const char *key, const std::string &pointer) {
    auto value = schema.find(key);
    if (value == schema.end())
      return std::nullopt;
    bool is_whole =
        value->is_number() && value->get<double>() >= 0 && value->get<double>() == std::floor(value->get<double>());
    if (!is_whole || value->get<double>() > limits_.max_repetitions) {
      Fail(pointer + "/" + key,
           fmt::format("found {}, expected a whole number from 0 to {} (max_repetitions); fix: correct it",
                       Shortened(*value), limits_.max_repetitions));
      return std::nullopt;
    }
    return static_cast<int32_t>(value->get<double>());
  }

  void CheckBounds(int32_t min, int32_t max, const char *key, const std::string &pointer) {
    if (max != kUnbounded && min > max)
      Fail(pointer + "/" + key, fmt::format("found the bounds {} to {}, expected the lower not above the upper; fix: "
                                            "exchange them",
                                            min, max));
  }

  ExpressionId String(const Json &schema, const std::string &pointer) {
    bool has_length = schema.contains("minLength") || schema.contains("maxLength");
    bool has_pattern = schema.contains("pattern"), has_format = schema.contains("format");
    if (has_length + has_pattern + has_format > 1)
      return Fail(pointer, "found two of length, pattern and format, which are not supported together; fix: write the "
                           "length into the pattern");
    if (has_length) {
      int32_t min = Bound(schema, "minLength", pointer).value_or(0);
      int32_t max = Bound(schema, "maxLength", pointer).value_or(kUnbounded);
      CheckBounds(min, max, "minLength", pointer);
      return text_.Quoted(rules_.Repeat(text_.Character(), min, max));
    }
    if (!has_pattern && !has_format)
      return text_.String();
    const char *key = has_pattern ? "pattern" : "format";
    const Json &value = schema[key];
    if (!value.is_string())
      return Fail(pointer + "/" + key, fmt::format("found {}, expected a string; fix: correct it", Shortened(value)));
    std::string regex = value.get<std::string>();
    if (has_format) {
      auto known = kFormats.find(regex);
      if (known == kFormats.end())
        return Fail(
            pointer + "/format",
            fmt::format("found the format '{}', expected date, time, date-time, uuid, ipv4 or email; fix: use a "
                        "pattern, or leave it out",
                        regex));
      regex = "^" + known->second + "$";
      if (regex.find('|') != std::string::npos)
        regex = "^(" + known->second + ")$";
    }
    absl::StatusOr<ParsedRegex> parsed =
        ParseRegex(regex, limits_, rules_, [&](const CodePointSet &set) { return text_.CharacterOf(set); });
    if (!parsed.ok())
      return Fail(pointer + "/" + key, std::string(parsed.status().message()));
    ExpressionId any = rules_.Repeat(text_.Character(), 0, kUnbounded);
    std::vector<ExpressionId> parts;
    if (!parsed->has_begin)
      parts.push_back(any);
    parts.push_back(parsed->body);
    if (!parsed->has_end)
      parts.push_back(any);
    return text_.Quoted(rules_.Sequence(std::move(parts)));
  }

  ExpressionId Integer(const Json &schema, const std::string &pointer) {
    std::optional<int64_t> low, high;
    for (const char *key : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
      auto value = schema.find(key);
      if (value == schema.end())
        continue;
      bool is_low = std::string_view(key).find("inimum") != std::string_view::npos;
      bool is_exclusive = key[0] == 'e';
      if (!value->is_number() || !(std::abs(value->get<double>()) <= kMaxInteger))
        return Fail(pointer + "/" + key, fmt::format("found {}, expected a number of at most {}; fix: correct it",
                                                     Shortened(*value), kMaxInteger));
      double bound = value->get<double>();
      int64_t whole = static_cast<int64_t>(is_low ? std::ceil(bound) : std::floor(bound));
      if (is_exclusive && static_cast<double>(whole) == bound)
        whole += is_low ? 1 : -1;
      if (is_low)
        low = std::max(low.value_or(whole), whole);
      else
        high = std::min(high.value_or(whole), whole);
    }
    if (!low && !high)
      return text_.Integer();
    int64_t from = low.value_or(-kMaxInteger), to = high.value_or(kMaxInteger);
    if (from > to)
      return Fail(pointer, fmt::format("found the range {} to {}, expected an integer in it; fix: correct the bounds",
                                       from, to));
    return text_.IntegerBetween(from, to);
  }

  ExpressionId Array(const Json &schema, const std::string &pointer, int32_t depth) {
    int32_t min = Bound(schema, "minItems", pointer).value_or(0);
    int32_t max = Bound(schema, "maxItems", pointer).value_or(kUnbounded);
    CheckBounds(min, max, "minItems", pointer);
    std::vector<ExpressionId> prefix;
    if (auto items = schema.find("prefixItems"); items != schema.end()) {
      if (!items->is_array())
        return Fail(pointer + "/prefixItems", "found no list, expected schemas; fix: correct it");
      for (size_t i = 0; i < items->size(); ++i)
        prefix.push_back(Schema((*items)[i], fmt::format("{}/prefixItems/{}", pointer, i), depth + 1));
    }
    int32_t fixed = static_cast<int32_t>(prefix.size());
    auto items = schema.find("items");
    bool has_more = (max == kUnbounded || max > fixed) &&
                    (items == schema.end() ? fixed == 0 : !(items->is_boolean() && !items->get<bool>()));
    if (max != kUnbounded && fixed > max)
      prefix.resize(fixed = max);
    if (!has_more && min > fixed)
      return Fail(pointer + "/minItems", fmt::format("found {}, expected at most the {} items that there can be; fix: "
                                                     "give `items`",
                                                     min, fixed));
    ExpressionId item = rules_.Empty();
    if (has_more)
      item = items == schema.end() ? text_.Value() : Schema(*items, pointer + "/items", depth + 1);
    int32_t more_min = std::max(min - fixed, 0), more_max = max == kUnbounded ? kUnbounded : max - fixed;
    ExpressionId list;
    if (fixed == 0) {
      list = has_more ? text_.List(item, min, max) : rules_.Empty();
    } else {
      // From the last to the first: each is there if the next is.
      list = has_more ? rules_.Repeat(text_.CommaThen(item), more_min, more_max) : rules_.Empty();
      for (int32_t i = fixed - 1; i >= 0; --i) {
        list = rules_.Sequence({i > 0 ? text_.CommaThen(prefix[i]) : prefix[i], list});
        if (min <= i)
          list = rules_.Optional(list);
      }
    }
    return rules_.Sequence({rules_.Literal("["), text_.Space(), list, text_.Space(), rules_.Literal("]")});
  }

  ExpressionId Object(const Json &schema, const std::string &pointer, int32_t depth) {
    static const Json none = Json::object();
    auto given = schema.find("properties");
    const Json &properties = given == schema.end() ? none : *given;
    if (!properties.is_object())
      return Fail(pointer + "/properties", "found no object, expected schemas by name; fix: correct it");
    std::set<std::string> required, names;
    if (auto list = schema.find("required"); list != schema.end()) {
      if (!list->is_array() || !std::all_of(list->begin(), list->end(), [](const Json &v) { return v.is_string(); }))
        return Fail(pointer + "/required", "found no list of names; fix: correct it");
      for (const Json &name : *list)
        required.insert(name.get<std::string>());
    }
    auto additional = schema.find("additionalProperties");
    bool has_more =
        additional == schema.end() ? given == schema.end() : !(additional->is_boolean() && !additional->get<bool>());
    auto more = [&] {
      return additional == schema.end() ? text_.Value()
                                        : Schema(*additional, pointer + "/additionalProperties", depth + 1);
    };
    std::vector<std::pair<ExpressionId, bool>> pairs; // and whether it must be there
    auto add = [&](const std::string &name, ExpressionId value) {
      names.insert(name);
      RuleId rule = NewRule(pointer + "/" + name);
      rules_.SetBody(rule, text_.Pair(rules_.Literal(Json(name).dump()), value));
      pairs.push_back({rules_.Rule(rule), required.contains(name)});
    };
    for (const auto &[name, value] : properties.items())
      add(name, Schema(value, pointer + "/properties/" + Escaped(name), depth + 1));
    for (const std::string &name : required) {
      if (names.contains(name))
        continue;
      if (!has_more)
        return Fail(pointer + "/required", fmt::format("found '{}', expected a name of `properties`; fix: add it there",
                                                       Shortened(Json(name))));
      add(name, more());
    }
    ExpressionId after = rules_.Empty(), first = rules_.Empty();
    if (has_more) {
      RuleId rule = NewRule(pointer + "/additionalProperties");
      rules_.SetBody(rule, text_.Pair(names.empty() ? text_.String() : text_.KeyExcept(names), more()));
      after = rules_.Repeat(text_.CommaThen(rules_.Rule(rule)), 0, kUnbounded);
      first = text_.List(rules_.Rule(rule), 0, kUnbounded);
    }
    // From the last to the first. `after`: what may follow where something stands before; `first`: where nothing does.
    // Both are used more than once, so they are rules.
    auto shared = [&](ExpressionId body) {
      RuleId rule = NewRule(pointer + "/rest");
      rules_.SetBody(rule, body);
      return rules_.Rule(rule);
    };
    for (auto pair = pairs.rbegin(); pair != pairs.rend() && status_.ok(); ++pair) {
      after = shared(after);
      ExpressionId begin = rules_.Sequence({pair->first, after});
      first = pair->second ? begin : rules_.Choice({begin, first});
      ExpressionId item = text_.CommaThen(pair->first);
      after = rules_.Sequence({pair->second ? item : rules_.Optional(item), after});
    }
    return rules_.Sequence({rules_.Literal("{"), text_.Space(), first, text_.Space(), rules_.Literal("}")});
  }

  const Json &root_;
  const Limits &limits_;
  Rules rules_;
  JsonText text_;
  std::map<std::string, RuleId> references_;
  std::vector<Pending> pending_;
  std::vector<std::unique_ptr<Json>> kept_;
  absl::Status status_;
};

} // namespace

absl::StatusOr<Rules> ParseJsonSchema(std::string_view schema, const Limits &limits) {
  // A schema nests at least two values for each level of its own.
  if (ShapeOfJson(schema).depth > limits.max_source_depth * 3)
    return absl::InvalidArgumentError(
        fmt::format("found values more than {} deep, expected fewer (max_source_depth); fix: move some to $defs",
                    limits.max_source_depth * 3));
  Json root = Json::parse(schema, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded())
    return absl::InvalidArgumentError("found text that is no JSON, expected a JSON Schema; fix: check its quotes and "
                                      "commas");
  return Converter(root, limits).Convert();
}

} // namespace inlay::guided
