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

// One schema, or its negation. A list of them: all hold at once.
struct Term {
  const Json *schema = nullptr;
  bool is_negated = false;
  bool operator==(const Term &) const = default;
  auto operator<=>(const Term &) const = default;
};
using Terms = std::vector<Term>;

class SchemaDocument {
public:
  // InvalidArgument for text that is no JSON or nests too deep.
  static absl::StatusOr<std::unique_ptr<SchemaDocument>> Parse(std::string_view text, const Limits &limits);

  const Json &root() const { return root_; }
  // Whether `nullable` is OpenAPI's keyword: a schema that names a dialect of JSON Schema has no such keyword.
  bool has_nullable() const { return has_nullable_; }
  bool is_draft3() const { return is_draft3_; }
  // What the reference of this schema leads to, or null.
  const Json *Resolve(const Json &schema, const std::string &reference) const;
  // The JSON pointer of a value of this document.
  std::string PointerTo(const Json &value) const;
  // InvalidArgument: "POINTER: MESSAGE", for the value, or for what it has under `key`.
  absl::Status Error(const Json &value, std::string_view key, std::string_view message) const;
  // The value of a property, found in constant time after the first.
  const Json *Find(const Json &object, const std::string &name) const;

private:
  SchemaDocument() = default;
  void Index(const Json &schema, const Json &resource, const std::string &base);

  Json root_;
  bool has_nullable_ = true, is_draft3_ = false;
  absl::flat_hash_map<std::string, const Json *> ids_;        // by $id, and by base#anchor
  absl::flat_hash_map<const Json *, const Json *> resources_; // of schemas with a reference
  absl::flat_hash_map<const Json *, std::string> bases_;      // of resources
  mutable absl::flat_hash_map<const Json *, absl::flat_hash_map<std::string_view, const Json *>> members_;
};

std::string EscapedPointer(std::string_view key);
// JSON of a value, cut to what a message can hold.
std::string Shortened(const Json &value);
// Equal as JSON Schema has it: numbers by value, objects without order.
bool AreEqual(const Json &a, const Json &b);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_SCHEMA_DOCUMENT_H_
