// Grammar rules for lists and objects.
#include "runtime/guided/schema_grammar.h"

#include <algorithm>

namespace inlay::guided {
namespace {

constexpr size_t kMaxListed = 200;         // maximum number of listed items for uniqueItems
constexpr int32_t kMaxCounted = 256;       // maximum number of items that are counted for `contains`
constexpr int64_t kMaxChainRules = 20'000; // for an object whose properties are counted

int32_t Clamped(int32_t max, const Limits &limits) {
  return max < 0 ? kUnbounded : std::min(max, limits.max_repetitions);
}

} // namespace

// Parts in order, separated by commas. Optional parts may be omitted. `more` may follow the parts any number of times.
// The total count is `min` to `max`. The rules after a part depend on the count so far, if it matters.
ExpressionId SchemaGrammar::Chain(const std::vector<Part> &parts, Made more, int32_t min, int32_t max) {
  auto size = static_cast<int32_t>(parts.size());
  auto required =
      static_cast<int32_t>(std::count_if(parts.begin(), parts.end(), [](auto &p) { return p.is_required; }));
  if (min <= required)
    min = 0;
  if (max != kUnbounded && !more && max >= size)
    max = kUnbounded;
  if (max == 0)
    return required == 0 && min == 0 ? rules_.Empty() : rules_.Nothing();
  int32_t counted = max == kUnbounded ? min : max; // larger counts are treated as this one
  if (int64_t{std::min(counted, size) + 1} * (size + 1) > kMaxChainRules) {
    Fail(document_.root(), "",
         fmt::format("found minProperties or maxProperties of {} over {} properties, expected at most {} combinations; "
                     "fix: remove the bound",
                     counted, size, kMaxChainRules));
    return rules_.Nothing();
  }
  // Indexed by the count so far. `some`: the text if at least one more part follows, after its comma (nullopt if
  // impossible). `after`: the text if more parts may follow.
  int32_t counts = std::min(counted, size);
  std::vector<Made> some(counts + 1);
  std::vector<ExpressionId> after(counts + 1);
  bool may_end = true; // no required part follows
  ExpressionId comma = rules_.Sequence({rules_.Literal(","), text_.Space()});
  auto set_after = [&] {
    for (int32_t count = 0; count <= counts; ++count) {
      bool is_end = may_end && count >= min;
      std::vector<ExpressionId> choices;
      if (some[count])
        choices.push_back(rules_.Sequence({comma, *some[count]}));
      if (is_end)
        choices.push_back(rules_.Empty());
      after[count] = Shared(rules_.Choice(std::move(choices)), "rest");
    }
  };
  for (int32_t count = 0; count <= counts; ++count) {
    int32_t least = std::max(min - count, 1), most = max == kUnbounded ? kUnbounded : max - count;
    if (more && most != 0)
      some[count] = Shared(text_.List(*more, least, most), "some");
  }
  set_after();
  for (int32_t i = size - 1; i >= 0 && status_.ok(); --i) {
    const Part &part = parts[i];
    may_end &= !part.is_required;
    for (int32_t count = 0; count <= counts; ++count) {
      std::vector<ExpressionId> choices;
      if (max == kUnbounded || count < max)
        choices.push_back(rules_.Sequence({part.text, after[std::min(count + 1, counts)]}));
      if (!part.is_required && some[count])
        choices.push_back(*some[count]);
      some[count] = choices.empty() ? Made() : Shared(rules_.Choice(std::move(choices)), "some");
    }
    set_after();
  }
  if (!some[0])
    return min == 0 ? rules_.Empty() : rules_.Nothing();
  return may_end && min == 0 ? rules_.Optional(*some[0]) : *some[0];
}

SchemaGrammar::Made SchemaGrammar::Array(const Conditions &one) {
  if (one.unique_items)
    if (Made made = ListedArray(one))
      return made;
  int32_t min = one.min_items, max = Clamped(one.max_items, limits_), fixed = 0;
  bool has_rest = false;
  for (const Conditions::Items &items : one.items) {
    fixed = std::max(fixed, static_cast<int32_t>(items.prefix.size()));
    has_rest |= items.rest.has_value();
  }
  has_rest |= fixed == 0 || min > fixed;
  if (max != kUnbounded)
    fixed = std::min(fixed, max);
  std::vector<ExpressionId> prefix;
  for (int32_t i = 0; i < fixed; ++i) {
    Made item = For(SchemaExpander::Item(one, i));
    if (!item) {
      has_rest = false;
      break;
    }
    prefix.push_back(*item);
  }
  fixed = static_cast<int32_t>(prefix.size());
  has_rest &= max == kUnbounded || max > fixed;
  ExpressionId item = rules_.Nothing();
  if (has_rest) {
    Made rest = For(SchemaExpander::Item(one, fixed));
    has_rest = rest.has_value();
    item = rest.value_or(item);
  }
  if (!has_rest && min > fixed)
    return std::nullopt;
  ExpressionId list;
  if (!one.contains.empty()) {
    list = Containing(one, fixed, has_rest);
  } else if (fixed == 0) {
    list = has_rest ? text_.List(item, min, max) : rules_.Empty();
  } else {
    // Built from the last item to the first: an item is present if the next one is.
    int32_t more_min = std::max(min - fixed, 0), more_max = max == kUnbounded ? kUnbounded : max - fixed;
    list = has_rest ? rules_.Repeat(text_.CommaThen(item), more_min, more_max) : rules_.Empty();
    for (int32_t i = fixed - 1; i >= 0; --i) {
      list = rules_.Sequence({i > 0 ? text_.CommaThen(prefix[i]) : prefix[i], list});
      if (min <= i)
        list = rules_.Optional(list);
    }
  }
  list = rules_.Sequence({text_.Space(), list, text_.Space()});
  if (one.unique_items && max != 0 && max != 1) {
    RuleId rule = NewRule("items that differ");
    rules_.SetBody(rule, list);
    list = rules_.UniqueRule(rule);
  }
  return rules_.Sequence({rules_.Literal("["), list, rules_.Literal("]")});
}

// Items of which at least one must be valid by `contains`. The rules depend on the position and on whether such an item
// has occurred.
ExpressionId SchemaGrammar::Containing(const Conditions &one, int32_t fixed, bool has_rest) {
  int32_t max = Clamped(one.max_items, limits_);
  if (!has_rest)
    max = max == kUnbounded ? fixed : std::min(max, fixed);
  int32_t places = max == kUnbounded ? std::max(fixed, one.min_items) : max;
  if (one.contains.size() > 1 || places > kMaxCounted) {
    Fail(
        *one.contains[0].schema, "",
        fmt::format("found {} conditions by contains on a list of {} counted items, expected one condition and at most "
                    "{} items; fix: use items, or smaller bounds",
                    one.contains.size(), places, kMaxCounted));
    return rules_.Nothing();
  }
  // The rules of each position: [0] before the required item has occurred, [1] after it.
  std::array<RuleId, 2> next{NewRule("items"), NewRule("items")};
  std::array<RuleId, 2> first = next;
  for (int32_t place = places; place >= 0 && status_.ok(); --place) {
    std::array<RuleId, 2> here = place == places ? next : std::array{NewRule("items"), NewRule("items")};
    for (int has : {0, 1}) {
      std::vector<ExpressionId> choices;
      if (has && place >= one.min_items)
        choices.push_back(rules_.Empty());
      auto add = [&](const Terms &terms, int then) {
        if (Made item = For(terms))
          choices.push_back(rules_.Sequence({place > 0 ? text_.CommaThen(*item) : *item, rules_.Rule(next[then])}));
      };
      Terms terms = SchemaExpander::Item(one, place);
      bool has_more = max == kUnbounded || place < max;
      if (has_more)
        add(terms, has);
      terms.push_back(one.contains[0]);
      if (has_more && !has)
        add(terms, 1);
      rules_.SetBody(here[has], rules_.Choice(std::move(choices)));
    }
    // The last position repeats itself. If it is the only position, its first item has no comma.
    if (place == places && places == 0 && max == kUnbounded) {
      std::array<RuleId, 2> loop{NewRule("items"), NewRule("items")};
      for (int has : {0, 1}) {
        std::vector<ExpressionId> choices;
        if (has)
          choices.push_back(rules_.Empty());
        Terms terms = SchemaExpander::Item(one, 0);
        if (Made item = For(terms))
          choices.push_back(rules_.Sequence({text_.CommaThen(*item), rules_.Rule(loop[has])}));
        terms.push_back(one.contains[0]);
        if (Made item = has ? Made() : For(terms))
          choices.push_back(rules_.Sequence({text_.CommaThen(*item), rules_.Rule(loop[1])}));
        rules_.SetBody(loop[has], rules_.Choice(std::move(choices)));
      }
      std::vector<ExpressionId> choices;
      Terms terms = SchemaExpander::Item(one, 0);
      if (Made item = For(terms))
        choices.push_back(rules_.Sequence({*item, rules_.Rule(loop[0])}));
      terms.push_back(one.contains[0]);
      if (Made item = For(terms))
        choices.push_back(rules_.Sequence({*item, rules_.Rule(loop[1])}));
      return rules_.Choice(std::move(choices));
    }
    first = here;
    next = here;
  }
  return rules_.Rule(first[0]);
}

// A list with uniqueItems whose possible items the schema lists. The items come in the order of the schema, like
// properties, so that enough items are always left. nullopt if the schema does not list the items.
SchemaGrammar::Made SchemaGrammar::ListedArray(const Conditions &one) {
  if (!one.contains.empty() || one.items.size() != 1 || !one.items[0].prefix.empty())
    return std::nullopt;
  std::optional<Expansion> expansion = Take(expander_.Expand(SchemaExpander::Item(one, 0)));
  constexpr uint32_t constants = kNull | kTrue | kFalse;
  bool is_listed = expansion && !expansion->values.empty() && expansion->values.size() <= kMaxListed;
  for (size_t i = 0; is_listed && i < expansion->alternatives.size(); ++i)
    is_listed = (expansion->alternatives[i].types & ~constants) == 0;
  if (!is_listed)
    return std::nullopt;
  std::vector<Part> parts;
  std::set<std::string> texts;
  auto add = [&](const std::string &text) {
    if (texts.insert(text).second)
      parts.push_back({rules_.Literal(text), false});
  };
  for (size_t i = 0; i < expansion->values.size(); ++i)
    if (std::none_of(expansion->values.begin(), expansion->values.begin() + static_cast<std::ptrdiff_t>(i),
                     [&](const Json *before) { return AreEqual(*before, *expansion->values[i]); }))
      add(expansion->values[i]->dump());
  for (const Conditions &alternative : expansion->alternatives)
    for (auto [type, text] : {std::pair(kNull, "null"), std::pair(kTrue, "true"), std::pair(kFalse, "false")})
      if (alternative.types & type)
        add(text);
  if (one.min_items > static_cast<int32_t>(parts.size()))
    return rules_.Nothing();
  ExpressionId list = Chain(parts, std::nullopt, one.min_items, one.max_items < 0 ? kUnbounded : one.max_items);
  return rules_.Sequence({rules_.Literal("["), text_.Space(), list, text_.Space(), rules_.Literal("]")});
}

SchemaGrammar::Made SchemaGrammar::Object(const Conditions &one) {
  if (one.properties.empty() && one.required.empty() && one.more.empty() && one.names.empty() && !one.is_closed &&
      one.min_properties == 0 && one.max_properties < 0)
    return text_.Object();
  std::set<std::string> names;
  std::vector<std::string> order;
  auto add_name = [&](const std::string &name) {
    if (names.insert(name).second)
      order.push_back(name);
  };
  for (const Conditions::Properties &properties : one.properties)
    if (properties.schema->contains("properties"))
      for (auto item = (*properties.schema)["properties"].begin(); item != (*properties.schema)["properties"].end();
           ++item)
        add_name(item.key());
  for (const std::string &name : one.required)
    add_name(name);
  std::vector<Part> parts;
  for (const std::string &name : order) {
    std::optional<Terms> terms = Take(expander_.Property(one, name));
    bool is_required = one.Requires(name);
    Made value = terms ? For(*terms) : std::nullopt;
    if (!status_.ok() || (!value && is_required))
      return std::nullopt;
    if (!value)
      continue; // no value is allowed: the property is omitted
    RuleId rule = NewRule("property " + name);
    rules_.SetBody(rule, text_.Pair(rules_.Literal(Json(name).dump()), *value));
    parts.push_back({rules_.Rule(rule), is_required});
  }
  for (const auto &[name, terms] : one.more)
    names.insert(name);
  Made more = OtherProperties(one, names);
  if (!status_.ok())
    return std::nullopt;
  int32_t min = one.min_properties, max = one.max_properties < 0 ? kUnbounded : one.max_properties;
  if (more && min > static_cast<int32_t>(parts.size()) + 1)
    // Unlisted names may repeat, and repeated names count as one property.
    Fail(one.properties.empty() ? document_.root() : *one.properties[0].schema, "minProperties",
         fmt::format("found {} with unlisted names allowed, expected at most one more than the {} listed "
                     "properties; fix: list the properties, or remove minProperties",
                     min, parts.size()));
  if (!more && min > static_cast<int32_t>(parts.size()))
    return std::nullopt;
  ExpressionId body = Chain(parts, more, min, max);
  return rules_.Sequence({rules_.Literal("{"), text_.Space(), body, text_.Space(), rules_.Literal("}")});
}

std::optional<ExpressionId> SchemaGrammar::Key(std::vector<MachinePointer> machines) {
  std::optional<Graph> graph = Take(Intersect(machines, limits_, work_));
  if (!graph)
    return std::nullopt;
  Graph escaped = EscapedForJson(*graph);
  return escaped.nodes.empty() ? std::nullopt : Made(text_.Quoted(rules_.OfGraph(std::move(escaped))));
}

// A property whose name is not in `names`. Names are grouped by the set of patterns that they match, because the
// patterns determine the conditions on the value.
SchemaGrammar::Made SchemaGrammar::OtherProperties(const Conditions &one, const std::set<std::string> &names) {
  bool says_more = false, has_list = false;
  Terms others; // conditions on the values of names that no pattern matches
  struct Pattern {
    const Json *owner;
    std::string text;
    const Json *value;
  };
  std::vector<Pattern> patterns;
  for (const Conditions::Properties &properties : one.properties) {
    const Json &schema = *properties.schema;
    has_list |= schema.contains("properties") || schema.contains("patternProperties");
    if (schema.contains("patternProperties"))
      for (auto item = schema["patternProperties"].begin(); item != schema["patternProperties"].end(); ++item)
        patterns.push_back({&schema, item.key(), &item.value()});
    if (schema.contains("additionalProperties")) {
      says_more = true;
      others.push_back({&schema["additionalProperties"], false});
    }
  }
  // If properties are listed, others are allowed only by additionalProperties or if minProperties needs them.
  bool is_closed =
      one.is_closed ? !says_more : has_list && !says_more && one.min_properties <= static_cast<int32_t>(names.size());
  std::vector<ExpressionId> choices;
  std::vector<Conditions> name_conditions{Conditions{}};
  if (!one.names.empty()) {
    std::optional<Expansion> expansion = Take(expander_.Expand(one.names));
    if (!expansion)
      return std::nullopt;
    name_conditions = expansion->alternatives;
    for (const Json *value : expansion->values)
      if (value->is_string() && !names.contains(value->get<std::string>())) {
        // A name that propertyNames lists is handled like a listed property.
        std::optional<Terms> terms = Take(expander_.Property(one, value->get<std::string>()));
        Made made = terms && !is_closed ? For(*terms) : std::nullopt;
        if (made)
          choices.push_back(text_.Pair(rules_.Literal(value->dump()), *made));
      }
  }
  auto all_names = [&](const Conditions &name, const std::vector<std::pair<size_t, bool>> &matches) {
    Conditions key = name;
    key.excluded.insert(names.begin(), names.end());
    std::vector<MachinePointer> machines = MachinesOf(key);
    for (auto [index, has] : matches) {
      absl::StatusOr<MachinePointer> machine = PatternMachine(patterns[index].text, !has, limits_);
      if (machine.ok())
        machines.push_back(*std::move(machine));
      else
        Fail((*patterns[index].owner)["patternProperties"], patterns[index].text,
             std::string(machine.status().message()));
    }
    return status_.ok() ? Key(std::move(machines)) : std::nullopt;
  };
  for (const Conditions &name : name_conditions) {
    if ((name.types & kString) == 0)
      continue;
    bool is_plain = patterns.empty() && name.string_rules.empty() && name.excluded.empty() && name.min_length == 0 &&
                    name.max_length < 0;
    if (is_plain) {
      if (Made value = is_closed ? std::nullopt : For(others))
        choices.push_back(text_.Pair(names.empty() ? text_.String() : text_.KeyExcept(names), *value));
      continue;
    }
    // Enumerates the sets of patterns that some name matches, by deciding one pattern after the other.
    std::vector<std::vector<std::pair<size_t, bool>>> work{{}};
    while (!work.empty() && status_.ok()) {
      std::vector<std::pair<size_t, bool>> matches = std::move(work.back());
      work.pop_back();
      std::optional<ExpressionId> key = all_names(name, matches);
      if (!key)
        continue;
      if (matches.size() < patterns.size()) {
        for (bool has : {false, true}) {
          work.push_back(matches);
          work.back().push_back({matches.size(), has});
        }
        continue;
      }
      Terms terms;
      std::set<const Json *> owners;
      for (auto [index, has] : matches)
        if (has) {
          terms.push_back({patterns[index].value, false});
          owners.insert(patterns[index].owner);
        }
      if (owners.empty() && is_closed)
        continue;
      for (const Conditions::Properties &properties : one.properties)
        if (!owners.contains(properties.schema) && properties.schema->contains("additionalProperties"))
          terms.push_back({&(*properties.schema)["additionalProperties"], false});
      if (Made value = For(terms))
        choices.push_back(text_.Pair(*key, *value));
    }
  }
  if (choices.empty())
    return std::nullopt;
  return Shared(choices.size() == 1 ? choices[0] : rules_.Choice(std::move(choices)), "other property");
}

} // namespace inlay::guided
