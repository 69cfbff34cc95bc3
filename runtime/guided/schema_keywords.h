// The keywords of JSON Schema: checks the types of their values and refuses keywords that are not supported.
#ifndef INLAY_RUNTIME_GUIDED_SCHEMA_KEYWORDS_H_
#define INLAY_RUNTIME_GUIDED_SCHEMA_KEYWORDS_H_

#include "absl/status/status.h"
#include "runtime/guided/schema_document.h"

namespace inlay::guided {

// InvalidArgument with the JSON pointer of the keyword. Keywords that the specification does not define are accepted.
absl::Status CheckSchemaKeywords(const Json &schema, const SchemaDocument &document, const Limits &limits);

// Whether the schema has this keyword and no other keyword that restricts values.
bool HasOnlyKeyword(const Json &schema, const char *keyword);

// The value of a count such as maxLength that CheckSchemaKeywords() has accepted.
int32_t CountOf(const Json &value);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_SCHEMA_KEYWORDS_H_
