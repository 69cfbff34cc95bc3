// Builds the grammar rules of a schema. Each list of schemas that apply to the same value becomes one rule.
#ifndef INLAY_RUNTIME_GUIDED_SCHEMA_GRAMMAR_H_
#define INLAY_RUNTIME_GUIDED_SCHEMA_GRAMMAR_H_

#include "absl/status/statusor.h"
#include "runtime/guided/json_text.h"
#include "runtime/guided/schema_expander.h"

#include <map>
#include <optional>

namespace inlay::guided {

class SchemaGrammar {
public:
  SchemaGrammar(const SchemaDocument &document, const Limits &limits)
      : document_(document), limits_(limits), work_(limits), validator_(document, limits),
        expander_(document, validator_, limits, work_), text_(rules_) {}

  // InvalidArgument, with a JSON pointer, for schemas that are invalid, not supported or exceed a limit.
  absl::StatusOr<Rules> Build();

private:
  // nullopt: no value is allowed. (The automaton may find more such expressions.)
  using Made = std::optional<ExpressionId>;
  struct Pending {
    RuleId rule;
    Terms choices;       // if not empty, the rule is one of these schemas
    Expansion expansion; // otherwise, the rule is this expansion
    std::string name;
  };
  // A property of an object, or a listed item, that has a fixed position in the order.
  struct Part {
    ExpressionId text;
    bool is_required;
  };

  bool Check(const absl::Status &status);
  template <typename T> std::optional<T> Take(absl::StatusOr<T> result);
  void Fail(const Json &schema, std::string_view key, std::string_view message);
  RuleId NewRule(std::string name);
  ExpressionId Shared(ExpressionId body, const char *name); // makes a rule of an expression that is used more than once

  Terms Normalized(const Terms &terms) const;
  const Json *Alternatives(const Json &schema);
  Made For(const Terms &terms);
  Made Text(const Expansion &expansion);
  Made String(const Conditions &conditions);
  Made StringOfRules(const Conditions &conditions);
  std::vector<MachinePointer> MachinesOf(const Conditions &conditions);
  Made Array(const Conditions &conditions);
  ExpressionId Containing(const Conditions &conditions, int32_t fixed, bool has_rest);
  Made ListedArray(const Conditions &conditions);
  Made Object(const Conditions &conditions);
  Made OtherProperties(const Conditions &conditions, const std::set<std::string> &names);
  std::optional<ExpressionId> Key(std::vector<MachinePointer> machines);
  ExpressionId Chain(const std::vector<Part> &parts, Made more, int32_t min, int32_t max);

  const SchemaDocument &document_;
  const Limits &limits_;
  Work work_;
  SchemaValidator validator_;
  SchemaExpander expander_;
  Rules rules_;
  JsonText text_;
  std::map<Terms, Made> known_;
  std::vector<Pending> pending_;
  absl::Status status_;
};

template <typename T> std::optional<T> SchemaGrammar::Take(absl::StatusOr<T> result) {
  if (!Check(result.status()))
    return std::nullopt;
  return *std::move(result);
}

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_SCHEMA_GRAMMAR_H_
