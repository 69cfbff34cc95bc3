// A JSON Schema document: its values, the location of each, and the targets of references.
#ifndef INLAY_RUNTIME_GUIDED_SCHEMA_DOCUMENT_H_
#define INLAY_RUNTIME_GUIDED_SCHEMA_DOCUMENT_H_

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/guided/limits.h"

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace inlay::guided {

using Json = nlohmann::ordered_json;

// A schema or its negation. A value must be valid by all terms of a list.
struct Term {
  const Json *schema = nullptr;
  bool is_negated = false;
  bool operator==(const Term &) const = default;
  auto operator<=>(const Term &) const = default;
};
using Terms = std::vector<Term>;

class SchemaDocument {
public:
  // InvalidArgument if `text` is not JSON or is nested too deep.
  static absl::StatusOr<std::unique_ptr<SchemaDocument>> Parse(std::string_view text, const Limits &limits);

  const Json &root() const { return root_; }
  // Whether OpenAPI's keyword `nullable` applies. It does not if $schema names a dialect of JSON Schema.
  bool has_nullable() const { return has_nullable_; }
  bool is_draft3() const { return is_draft3_; }
  // The target of the reference `reference` in `schema`, or null.
  const Json *Resolve(const Json &schema, const std::string &reference) const;
  // The JSON pointer of a value of this document.
  std::string PointerTo(const Json &value) const;
  // InvalidArgument "POINTER: MESSAGE", where POINTER leads to `value`, or to its member `key` if that is not empty.
  absl::Status Error(const Json &value, std::string_view key, std::string_view message) const;
  // The value of a member, or null. The first call for an object builds an index.
  const Json *Find(const Json &object, const std::string &name) const;

private:
  SchemaDocument() = default;
  void Index(const Json &schema, const Json &resource, const std::string &base);

  Json root_;
  bool has_nullable_ = true, is_draft3_ = false;
  absl::flat_hash_map<std::string, const Json *> ids_;        // by $id, and by base#anchor
  absl::flat_hash_map<const Json *, const Json *> resources_; // the resource of each schema with a reference
  absl::flat_hash_map<const Json *, std::string> bases_;      // base URI of each resource
  mutable absl::flat_hash_map<const Json *, absl::flat_hash_map<std::string_view, const Json *>> members_;
};

std::string EscapedPointer(std::string_view key);
// The JSON of a value, truncated for error messages.
std::string Shortened(const Json &value);
// Equality of JSON Schema: numbers are compared by value, objects without order.
bool AreEqual(const Json &a, const Json &b);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_SCHEMA_DOCUMENT_H_
