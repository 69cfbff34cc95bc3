#include "runtime/guided/schema_grammar.h"

#include "runtime/guided/formats.h"
#include "runtime/guided/regex.h"
#include "runtime/guided/schema_keywords.h"

#include <algorithm>

namespace inlay::guided {
namespace {

constexpr uint32_t kContainers = kArray | kObject;
constexpr size_t kMaxInlineValues = 16;

bool IsFree(const Conditions &one) {
  return one.mentioned == 0 && one.excluded.empty() && one.more.empty() && one.min_items == 0 &&
         one.min_properties == 0;
}

// Whether an expansion is small and uses no other rules, so that it is inlined where it is used.
bool IsInline(const Expansion &expansion) {
  return expansion.values.size() <= kMaxInlineValues &&
         std::all_of(expansion.alternatives.begin(), expansion.alternatives.end(), [](const Conditions &one) {
           return (IsFree(one) && one.types == kAnyType) ||
                  ((one.types & kContainers) == 0 && one.string_rules.empty() && one.excluded.empty());
         });
}

} // namespace

bool SchemaGrammar::Check(const absl::Status &status) {
  if (status_.ok())
    status_ = status;
  return status.ok();
}

void SchemaGrammar::Fail(const Json &schema, std::string_view key, std::string_view message) {
  Check(document_.Error(schema, key, message));
}

RuleId SchemaGrammar::NewRule(std::string name) {
  if (rules_.rules().size() >= static_cast<size_t>(limits_.max_rules))
    Fail(document_.root(), "",
         fmt::format("found a schema of more than {} rules (max_rules), expected fewer; fix: use a smaller "
                     "schema",
                     limits_.max_rules));
  return rules_.AddRule(std::move(name));
}

ExpressionId SchemaGrammar::Shared(ExpressionId body, const char *name) {
  RuleId rule = NewRule(name);
  rules_.SetBody(rule, body);
  return rules_.Rule(rule);
}

absl::StatusOr<Rules> SchemaGrammar::Build() {
  RuleId root = NewRule("root");
  Made body = For({{&document_.root(), false}});
  // Rule bodies are made in this loop and not where the rules are used, so that recursive schemas terminate and the
  // call stack stays flat.
  while (!pending_.empty() && status_.ok()) {
    Pending next = std::move(pending_.back());
    pending_.pop_back();
    std::vector<ExpressionId> choices;
    for (const Term &term : next.choices)
      if (Made made = For({term}))
        choices.push_back(*made);
    Made made = next.choices.empty() ? Text(next.expansion) : Made(rules_.Choice(std::move(choices)));
    rules_.SetBody(next.rule, made ? *made : rules_.Nothing());
    Check(work_.Check());
  }
  if (!body && status_.ok())
    Fail(document_.root(), "",
         "found a schema that no value satisfies, expected one that some value satisfies; fix: correct "
         "contradictory conditions");
  if (!status_.ok())
    return status_;
  rules_.SetBody(root, *body);
  return std::move(rules_);
}

// Follows references that are the only keyword of a schema, and removes duplicate terms and terms that are always true.
Terms SchemaGrammar::Normalized(const Terms &terms) const {
  Terms result;
  for (Term term : terms) {
    for (int hops = 0; hops < limits_.max_source_depth && HasOnlyKeyword(*term.schema, "$ref"); ++hops) {
      const Json &reference = (*term.schema)["$ref"];
      const Json *target =
          reference.is_string() ? document_.Resolve(*term.schema, reference.get<std::string>()) : nullptr;
      if (!target)
        break;
      term.schema = target;
    }
    bool is_true = term.schema->is_boolean() && term.schema->get<bool>() != term.is_negated;
    if (!is_true && std::find(result.begin(), result.end(), term) == result.end())
      result.push_back(term);
  }
  return result;
}

// The list of alternatives of a schema that consists only of anyOf, or of a oneOf whose alternatives are exclusive (or
// of a list with one schema). Otherwise null.
const Json *SchemaGrammar::Alternatives(const Json &schema) {
  for (const char *key : {"anyOf", "oneOf", "allOf"}) {
    if (!HasOnlyKeyword(schema, key) || !CheckSchemaKeywords(schema, document_, limits_).ok())
      continue;
    const Json &list = schema[key];
    bool is_choice = key[0] == 'a' && key[1] == 'n';
    if (is_choice || list.size() == 1)
      return &list;
    for (size_t i = 0; i < list.size(); ++i)
      for (size_t j = 0; j < i; ++j)
        if (key[0] == 'a' || !expander_.AreApart(list[i], list[j]))
          return nullptr;
    return &list;
  }
  return nullptr;
}

SchemaGrammar::Made SchemaGrammar::For(const Terms &given) {
  if (!status_.ok())
    return std::nullopt;
  Terms terms = Normalized(given);
  if (terms.empty())
    return text_.Value();
  if (auto known = known_.find(terms); known != known_.end())
    return known->second;
  Pending next;
  if (terms.size() == 1 && !terms[0].is_negated)
    if (const Json *list = Alternatives(*terms[0].schema))
      for (const Json &one : *list)
        next.choices.push_back({&one, false});
  if (next.choices.empty()) {
    std::optional<Expansion> expansion = Take(expander_.Expand(terms));
    if (!expansion)
      return std::nullopt;
    if (expansion->IsEmpty())
      return known_[terms] = std::nullopt;
    if (IsInline(*expansion))
      return known_[terms] = Text(*expansion);
    next.expansion = *std::move(expansion);
  }
  next.rule = NewRule(terms[0].schema == &document_.root() ? "#" : "schema");
  rules_.SetBody(next.rule, rules_.Empty());
  ExpressionId call = rules_.Rule(next.rule);
  pending_.push_back(std::move(next));
  return known_[terms] = call;
}

SchemaGrammar::Made SchemaGrammar::Text(const Expansion &expansion) {
  std::vector<ExpressionId> choices;
  if (!expansion.values.empty()) {
    std::vector<std::string> texts;
    for (const Json *value : expansion.values)
      texts.push_back(value->dump());
    choices.push_back(rules_.OneOf(std::move(texts)));
  }
  uint32_t written = 0; // types all of whose values are already covered
  auto add = [&](const Conditions &one, uint32_t type, bool is_all, auto make) {
    if ((one.types & type) == 0 || written & type)
      return;
    if (Made made = make()) {
      choices.push_back(*made);
      written |= is_all ? type : 0;
    }
  };
  for (const Conditions &one : expansion.alternatives) {
    if (IsFree(one) && one.types == kAnyType)
      return text_.Value();
    add(one, kNull, true, [&] { return Made(rules_.Literal("null")); });
    add(one, kTrue, true, [&] { return Made(rules_.Literal("true")); });
    add(one, kFalse, true, [&] { return Made(rules_.Literal("false")); });
    add(one, kNumber, false, [&] { return Take(NumberText(one.number, rules_, limits_, work_)); });
    add(one, kString, false, [&] { return String(one); });
    add(one, kArray, false, [&] { return Array(one); });
    add(one, kObject, false, [&] { return Object(one); });
  }
  if (choices.empty())
    return std::nullopt;
  return choices.size() == 1 ? choices[0] : rules_.Choice(std::move(choices));
}

SchemaGrammar::Made SchemaGrammar::String(const Conditions &one) {
  bool has_length = one.min_length > 0 || one.max_length >= 0;
  if (!one.string_rules.empty() || !one.excluded.empty())
    return StringOfRules(one);
  if (!has_length)
    return text_.String();
  // Strings are never longer than max_repetitions, so larger bounds are clamped.
  int32_t max = one.max_length < 0 ? kUnbounded : std::min(one.max_length, limits_.max_repetitions);
  return text_.Quoted(rules_.Repeat(text_.Character(), one.min_length, max));
}

std::vector<MachinePointer> SchemaGrammar::MachinesOf(const Conditions &one) {
  std::vector<MachinePointer> machines;
  auto add = [&](absl::StatusOr<MachinePointer> machine, const Json &from) {
    if (machine.ok())
      machines.push_back(*std::move(machine));
    else
      Fail(from, "", std::string(machine.status().message()));
  };
  bool has_text = false;
  for (const Conditions::StringRule &rule : one.string_rules) {
    std::string pattern = rule.text->get<std::string>();
    std::vector<SimplePattern> parts{{pattern, rule.is_negated}};
    if (rule.is_format)
      parts[0].text = "^(?:" + *RegexOfFormat(pattern, one.max_length >= 0) + ")$";
    else if (!rule.is_negated)
      parts = WithoutLookAhead(pattern);
    for (const SimplePattern &part : parts) {
      add(PatternMachine(part.text, part.is_negated, limits_), *rule.text);
      has_text |= !part.is_negated;
    }
  }
  if (one.min_length > 0 || one.max_length >= 0)
    machines.push_back(LengthMachine(one.min_length, one.max_length < 0 ? kUnbounded : one.max_length));
  if (!one.excluded.empty())
    add(TextMachine([&](Rules &rules) { return rules.OneOf({one.excluded.begin(), one.excluded.end()}); },
                    /*is_negated=*/true, limits_),
        document_.root());
  if (!has_text)
    add(TextMachine([](Rules &rules) { return rules.Repeat(rules.Characters(CodePointSet::All()), 0, kUnbounded); },
                    /*is_negated=*/false, limits_),
        document_.root());
  return machines;
}

SchemaGrammar::Made SchemaGrammar::StringOfRules(const Conditions &one) {
  bool is_single = one.string_rules.size() == 1 && !one.string_rules[0].is_negated && one.excluded.empty() &&
                   one.min_length == 0 && one.max_length < 0;
  if (is_single) {
    // A single pattern is compiled directly. Unlike a graph, it counts long repetitions instead of copying them.
    const Json &rule = *one.string_rules[0].text;
    std::string regex = rule.get<std::string>();
    if (one.string_rules[0].is_format)
      regex = "^(?:" + *RegexOfFormat(regex) + ")$";
    absl::StatusOr<ParsedRegex> parsed =
        ParseRegex(regex, limits_, rules_, [&](const CodePointSet &set) { return text_.CharacterOf(set); },
                   {.syntax = RegexSyntax::kEcma});
    if (parsed.ok()) {
      ExpressionId any = rules_.Repeat(text_.Character(), 0, kUnbounded);
      return text_.Quoted(rules_.Sequence(
          {parsed->has_begin ? rules_.Empty() : any, parsed->body, parsed->has_end ? rules_.Empty() : any}));
    }
  }
  std::vector<MachinePointer> machines = MachinesOf(one);
  if (!status_.ok())
    return std::nullopt;
  absl::StatusOr<Graph> graph = Intersect(machines, limits_, work_);
  if (!graph.ok()) {
    const Json &place = one.string_rules.empty() ? document_.root() : *one.string_rules[0].text;
    Fail(place, "", std::string(graph.status().message()));
    return std::nullopt;
  }
  Graph escaped = EscapedForJson(*graph);
  if (escaped.nodes.empty())
    return std::nullopt;
  return text_.Quoted(rules_.OfGraph(std::move(escaped)));
}

} // namespace inlay::guided
