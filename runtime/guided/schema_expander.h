// Expands schemas that apply to the same value into alternatives of plain conditions.
#ifndef INLAY_RUNTIME_GUIDED_SCHEMA_EXPANDER_H_
#define INLAY_RUNTIME_GUIDED_SCHEMA_EXPANDER_H_

#include "absl/status/statusor.h"
#include "runtime/guided/schema_conditions.h"
#include "runtime/guided/schema_validator.h"
#include "runtime/guided/work.h"

#include <map>

namespace inlay::guided {

// A value is allowed if it is one of `values` or satisfies one of the alternatives.
struct Expansion {
  std::vector<Conditions> alternatives;
  std::vector<const Json *> values;
  bool IsEmpty() const { return alternatives.empty() && values.empty(); }
};

class SchemaExpander {
public:
  // `nesting`: the number of expanders that are waiting for this one to check schemas for contradictions.
  SchemaExpander(const SchemaDocument &document, SchemaValidator &validator, const Limits &limits, Work &work,
                 int nesting = 0)
      : document_(document), validator_(validator), limits_(limits), work_(work), nesting_(nesting) {}

  // InvalidArgument for schemas that are invalid or not supported.
  absl::StatusOr<Expansion> Expand(const Terms &terms);
  // Whether the conditions show that no value is valid by both schemas. Both must be well-formed.
  bool AreApart(const Json &a, const Json &b);
  // The conditions on the property `name`. If the property is not allowed, the terms include FalseSchema(). Sets
  // `is_named` if some schema mentions the property by name or pattern.
  absl::StatusOr<Terms> Property(const Conditions &conditions, const std::string &name, bool *is_named = nullptr);
  // The conditions on the item at `index`.
  static Terms Item(const Conditions &conditions, size_t index);

private:
  using Alternatives = std::vector<Conditions>;

  bool Fail(const Json &schema, std::string_view key, std::string_view message);
  bool CheckWork(const Json &schema, size_t alternatives);
  void Apply(const Term &term, Alternatives &alternatives);
  void ApplyPositive(const Json &schema, Alternatives &alternatives);
  void ApplyNegative(const Json &schema, Alternatives &alternatives);
  void ApplyPlain(const Json &schema, Conditions &conditions);
  void ApplyCombined(const Json &schema, Alternatives &alternatives);
  void ApplyOneOf(const Json &schema, Alternatives &alternatives);
  void ApplyDependencies(const Json &schema, const std::string &key, Alternatives &alternatives);
  // Appends the alternatives of the negation of one keyword.
  void Negate(const Json &schema, const std::string &key, const Json &value, const Alternatives &from,
              Alternatives &out);
  void NegateValues(const Json &schema, const std::string &key, const std::vector<const Json *> &values,
                    const Alternatives &from, Alternatives &out);
  bool CheckKeywords(const Json &schema);
  bool IsImpossible(Conditions &conditions, int depth);
  bool AreImpossible(const Terms &terms, int depth);

  const SchemaDocument &document_;
  SchemaValidator &validator_;
  const Limits &limits_;
  Work &work_;
  const int nesting_;
  absl::Status status_;
  bool is_alone_ = true;             // Expand() was called with a single schema
  std::vector<const Json *> values_; // values of the enum and const keywords seen so far
  std::vector<Term> open_;           // terms being applied, outermost first
  absl::flat_hash_map<const Json *, bool> checked_;
  std::map<std::pair<const Json *, const Json *>, bool> apart_;
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_SCHEMA_EXPANDER_H_
