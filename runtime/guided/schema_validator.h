// Validates a value against a schema. Used for the values of enum and const and for property names.
#ifndef INLAY_RUNTIME_GUIDED_SCHEMA_VALIDATOR_H_
#define INLAY_RUNTIME_GUIDED_SCHEMA_VALIDATOR_H_

#include "absl/status/statusor.h"
#include "runtime/guided/language.h"
#include "runtime/guided/schema_document.h"

#include <map>

namespace inlay::guided {

class SchemaValidator {
public:
  SchemaValidator(const SchemaDocument &document, const Limits &limits) : document_(document), limits_(limits) {}

  // InvalidArgument for invalid patterns and for infinitely recursive schemas. Malformed keywords are ignored.
  absl::StatusOr<bool> IsValid(const Json &value, const Term &term);
  // Whether the pattern matches somewhere in the text.
  absl::StatusOr<bool> HasMatch(const std::string &pattern, const std::string &text);

private:
  bool Validate(const Json &value, const Json &schema);
  bool Keyword(const Json &value, const Json &schema, const std::string &key, const Json &rule);
  bool OfNumber(const Json &value, const Json &schema, const std::string &key, const Json &rule);
  bool OfString(const std::string &value, const std::string &key, const Json &rule);
  bool OfArray(const Json &value, const Json &schema, const std::string &key, const Json &rule);
  bool OfObject(const Json &value, const Json &schema, const std::string &key, const Json &rule);
  bool Matches(const std::string &key, const std::string &text);

  const SchemaDocument &document_;
  const Limits &limits_;
  absl::Status status_;
  int32_t depth_ = 0;
  std::map<std::string, std::unique_ptr<MachinePointer>> patterns_;
  std::map<std::string, MachinePointer> formats_;
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_SCHEMA_VALIDATOR_H_
