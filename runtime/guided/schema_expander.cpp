#include "runtime/guided/schema_expander.h"

#include "runtime/guided/schema_keywords.h"

#include <algorithm>

namespace inlay::guided {
namespace {

constexpr int kMaxImpossibleDepth = 3; // nesting of properties that are checked for contradictions
constexpr int kMaxNesting = 4;         // nesting of expanders; alternatives may be recursive

void Append(std::vector<Conditions> &to, std::vector<Conditions> from) {
  std::move(from.begin(), from.end(), std::back_inserter(to));
}

bool HoldsFalse(const Terms &terms) {
  return std::any_of(terms.begin(), terms.end(), [](const Term &term) {
    return term.schema->is_boolean() && term.schema->get<bool>() == term.is_negated;
  });
}

} // namespace

bool SchemaExpander::Fail(const Json &schema, std::string_view key, std::string_view message) {
  if (status_.ok())
    status_ = document_.Error(schema, key, message);
  return false;
}

bool SchemaExpander::CheckWork(const Json &schema, size_t alternatives) {
  if (absl::Status status = work_.Check(); status_.ok() && !status.ok())
    status_ = status;
  if (alternatives > static_cast<size_t>(limits_.max_alternatives))
    Fail(schema, "",
         fmt::format("found {} alternatives after combining anyOf, oneOf and similar keywords, expected at most "
                     "{} (max_alternatives); fix: combine fewer of them",
                     alternatives, limits_.max_alternatives));
  return status_.ok();
}

absl::StatusOr<Expansion> SchemaExpander::Expand(const Terms &terms) {
  status_ = absl::OkStatus();
  values_.clear();
  open_.clear();
  is_alone_ = terms.size() == 1;
  Alternatives alternatives(1);
  // Negated terms are applied last, because their alternatives depend on the conditions so far.
  for (bool is_negated : {false, true})
    for (const Term &term : terms)
      if (term.is_negated == is_negated)
        Apply(term, alternatives);
  Expansion result;
  bool has_values = false;
  for (Conditions &one : alternatives) {
    has_values |= one.has_values;
    // A schema without a type allows the types whose keywords it has.
    if (one.types == kAnyType && one.mentioned != 0)
      one.types = one.mentioned;
    if (!one.has_values && status_.ok() && !IsImpossible(one, 0))
      result.alternatives.push_back(std::move(one));
  }
  std::vector<const Json *> values = std::move(values_);
  for (const Json *value : has_values ? values : std::vector<const Json *>()) {
    if (absl::Status status = work_.Check(); !status.ok())
      return status;
    bool is_valid = status_.ok();
    for (const Term &term : terms) {
      absl::StatusOr<bool> holds = is_valid ? validator_.IsValid(*value, term) : false;
      if (!holds.ok())
        return holds.status();
      is_valid = *holds;
    }
    if (is_valid)
      result.values.push_back(value);
  }
  if (!status_.ok())
    return status_;
  return result;
}

// NOLINTNEXTLINE(misc-no-recursion): open_ limits the depth
void SchemaExpander::Apply(const Term &term, Alternatives &alternatives) {
  const Json &schema = *term.schema;
  if (!status_.ok() || alternatives.empty())
    return;
  if (schema.is_boolean()) {
    if (schema.get<bool>() == term.is_negated)
      alternatives.clear();
    return;
  }
  if (!schema.is_object()) {
    Fail(schema, "",
         fmt::format("found {}, expected a schema (an object, true or false); fix: correct it", Shortened(schema)));
    return;
  }
  if (std::find(open_.begin(), open_.end(), term) != open_.end() ||
      open_.size() > static_cast<size_t>(limits_.max_source_depth) * 2) {
    Fail(schema, "",
         "found a schema that refers to itself for the same value, expected a finite schema; fix: move the "
         "reference into a property or an item");
    return;
  }
  if (!CheckKeywords(schema) || !CheckWork(schema, alternatives.size()))
    return;
  open_.push_back(term);
  if (term.is_negated)
    ApplyNegative(schema, alternatives);
  else
    ApplyPositive(schema, alternatives);
  open_.pop_back();
  CheckWork(schema, alternatives.size());
}

bool SchemaExpander::CheckKeywords(const Json &schema) {
  auto [it, inserted] = checked_.try_emplace(&schema, true);
  if (inserted)
    if (absl::Status status = CheckSchemaKeywords(schema, document_, limits_); !status.ok()) {
      it->second = false;
      if (status_.ok())
        status_ = status;
    }
  return it->second && status_.ok();
}

// NOLINTNEXTLINE(misc-no-recursion)
void SchemaExpander::ApplyPositive(const Json &schema, Alternatives &alternatives) {
  Alternatives nulls;
  if (document_.has_nullable() && schema.contains("nullable") && schema["nullable"] == true)
    for (const Conditions &one : alternatives)
      if (one.types & kNull && !one.has_values) {
        nulls.push_back(one);
        nulls.back().types = kNull;
      }
  for (Conditions &one : alternatives)
    ApplyPlain(schema, one);
  if (schema.contains("enum"))
    for (const Json &value : schema["enum"])
      values_.push_back(&value);
  if (schema.contains("const"))
    values_.push_back(&schema["const"]);
  std::erase_if(alternatives, [](const Conditions &one) { return one.types == 0; });
  ApplyCombined(schema, alternatives);
  Append(alternatives, std::move(nulls));
}

// Applies the keywords that contain or refer to other schemas for the same value.
// NOLINTNEXTLINE(misc-no-recursion)
void SchemaExpander::ApplyCombined(const Json &schema, Alternatives &alternatives) {
  for (const char *key : {"$ref", "$recursiveRef", "$dynamicRef"})
    if (schema.contains(key)) {
      const Json *target = document_.Resolve(schema, schema[key].get<std::string>());
      Apply({target, false}, alternatives);
    }
  if (schema.contains("allOf"))
    for (const Json &one : schema["allOf"])
      Apply({&one, false}, alternatives);
  if (schema.contains("if") && (schema.contains("then") || schema.contains("else"))) {
    Alternatives when = alternatives;
    Apply({&schema["if"], false}, when);
    if (schema.contains("then"))
      Apply({&schema["then"], false}, when);
    Apply({&schema["if"], true}, alternatives);
    if (schema.contains("else"))
      Apply({&schema["else"], false}, alternatives);
    Append(alternatives, std::move(when));
  }
  for (const char *key : {"dependentRequired", "dependentSchemas", "dependencies"})
    ApplyDependencies(schema, key, alternatives);
  if (schema.contains("anyOf")) {
    Alternatives all;
    for (const Json &one : schema["anyOf"]) {
      Alternatives branch = alternatives;
      Apply({&one, false}, branch);
      Append(all, std::move(branch));
      if (!CheckWork(schema, all.size()))
        return;
    }
    alternatives = std::move(all);
  }
  if (schema.contains("oneOf"))
    ApplyOneOf(schema, alternatives);
  if (schema.contains("not"))
    Apply({&schema["not"], true}, alternatives);
}

// NOLINTNEXTLINE(misc-no-recursion)
void SchemaExpander::ApplyOneOf(const Json &schema, Alternatives &alternatives) {
  const Json &list = schema["oneOf"];
  Alternatives all;
  for (size_t i = 0; i < list.size() && status_.ok(); ++i) {
    Alternatives branch = alternatives;
    Apply({&list[i], false}, branch);
    for (size_t other = 0; other < list.size() && status_.ok(); ++other) {
      if (other == i || AreApart(list[i], list[other]))
        continue;
      Apply({&list[other], true}, branch);
      if (!status_.ok()) {
        std::string reason(status_.message());
        status_ = absl::OkStatus();
        Fail(schema, "oneOf",
             fmt::format("found alternatives {} and {} that may match the same value, expected exclusive alternatives; "
                         "fix: use anyOf, or required properties whose const differs ({})",
                         std::min(i, other), std::max(i, other), reason));
      }
    }
    Append(all, std::move(branch));
    if (!CheckWork(schema, all.size()))
      return;
  }
  alternatives = std::move(all);
}

// For each dependency: the property is absent, or the dependent condition holds.
// NOLINTNEXTLINE(misc-no-recursion)
void SchemaExpander::ApplyDependencies(const Json &schema, const std::string &key, Alternatives &alternatives) {
  if (!schema.contains(key))
    return;
  for (auto item = schema[key].begin(); item != schema[key].end(); ++item) {
    Alternatives when;
    for (Conditions &one : alternatives) {
      if ((one.types & kObject) == 0)
        continue;
      when.push_back(one);
      when.back().types = one.types & kObject;
      when.back().Require(item.key());
      if (item.value().is_array())
        for (const Json &name : item.value())
          when.back().Require(name.get<std::string>());
      one.more[item.key()].push_back({&FalseSchema(), false});
    }
    if (!item.value().is_array())
      Apply({&item.value(), false}, when);
    Append(alternatives, std::move(when));
    if (!CheckWork(schema, alternatives.size()))
      return;
  }
}

bool SchemaExpander::AreApart(const Json &a, const Json &b) {
  auto [it, inserted] = apart_.try_emplace(std::minmax(&a, &b), false);
  if (!inserted || nesting_ >= kMaxNesting)
    return it->second;
  SchemaExpander other(document_, validator_, limits_, work_, nesting_ + 1);
  absl::StatusOr<Expansion> both = other.Expand({{&a, false}, {&b, false}});
  return apart_[std::minmax(&a, &b)] = both.ok() && both->IsEmpty();
}

absl::StatusOr<Terms> SchemaExpander::Property(const Conditions &conditions, const std::string &name, bool *is_named) {
  Terms terms;
  bool is_known = conditions.Requires(name);
  bool is_evaluated = false;
  for (const Conditions::Properties &properties : conditions.properties) {
    const Json &schema = *properties.schema;
    bool is_here = false;
    if (schema.contains("properties"))
      if (const Json *property = document_.Find(schema["properties"], name)) {
        terms.push_back({property, false});
        is_here = true;
      }
    if (schema.contains("patternProperties"))
      for (auto pattern = schema["patternProperties"].begin(); pattern != schema["patternProperties"].end();
           ++pattern) {
        absl::StatusOr<bool> matches = validator_.HasMatch(pattern.key(), name);
        if (!matches.ok())
          return document_.Error(schema["patternProperties"], pattern.key(), std::string(matches.status().message()));
        if (*matches) {
          terms.push_back({&pattern.value(), false});
          is_here = true;
        }
      }
    if (!is_here && schema.contains("additionalProperties")) {
      terms.push_back({&schema["additionalProperties"], false});
      is_evaluated = true;
    }
    is_known |= is_here;
    is_evaluated |= is_here;
  }
  for (const Term &term : conditions.names) {
    absl::StatusOr<bool> is_valid = validator_.IsValid(Json(name), term);
    if (!is_valid.ok())
      return is_valid.status();
    if (!*is_valid)
      terms.push_back({&FalseSchema(), false});
  }
  if (conditions.is_closed && !is_evaluated)
    terms.push_back({&FalseSchema(), false});
  if (auto more = conditions.more.find(name); more != conditions.more.end())
    terms.insert(terms.end(), more->second.begin(), more->second.end());
  if (is_named)
    *is_named = is_known;
  return terms;
}

Terms SchemaExpander::Item(const Conditions &conditions, size_t index) {
  Terms terms;
  for (const Conditions::Items &items : conditions.items) {
    if (index < items.prefix.size())
      terms.push_back(items.prefix[index]);
    else if (items.rest)
      terms.push_back(*items.rest);
  }
  return terms;
}

// NOLINTNEXTLINE(misc-no-recursion): kMaxImpossibleDepth limits the depth
bool SchemaExpander::AreImpossible(const Terms &terms, int depth) {
  if (HoldsFalse(terms))
    return true;
  if (depth >= kMaxImpossibleDepth || nesting_ >= kMaxNesting || terms.size() < 2)
    return false;
  SchemaExpander other(document_, validator_, limits_, work_, nesting_ + 1);
  absl::StatusOr<Expansion> expansion = other.Expand(terms);
  return expansion.ok() && expansion->IsEmpty();
}

// Removes the types for which no value can satisfy the conditions. Returns whether no type is left.
// NOLINTNEXTLINE(misc-no-recursion)
bool SchemaExpander::IsImpossible(Conditions &one, int depth) {
  auto crossed = [](int32_t min, int32_t max) { return max >= 0 && min > max; };
  if (one.types & kNumber && one.number.IsEmpty())
    one.types &= ~kNumber;
  if (crossed(one.min_length, one.max_length))
    one.types &= ~kString;
  if (one.types & kArray) {
    bool is_impossible = crossed(one.min_items, one.max_items);
    for (int32_t i = 0; i < std::min(one.min_items, limits_.max_source_depth) && !is_impossible; ++i)
      is_impossible = AreImpossible(Item(one, i), depth + 1);
    if (is_impossible)
      one.types &= ~kArray;
  }
  if (one.types & kObject) {
    bool is_impossible = crossed(one.min_properties, one.max_properties) ||
                         (one.max_properties >= 0 && one.required.size() > static_cast<size_t>(one.max_properties));
    for (size_t i = 0; i < one.required.size() && !is_impossible; ++i) {
      absl::StatusOr<Terms> terms = Property(one, one.required[i]);
      if (!terms.ok() && status_.ok())
        status_ = terms.status();
      is_impossible = terms.ok() && AreImpossible(*terms, depth + 1);
    }
    if (is_impossible)
      one.types &= ~kObject;
  }
  return one.types == 0;
}

} // namespace inlay::guided
