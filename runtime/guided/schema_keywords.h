// The keywords of JSON Schema: checks the form of their values, and knows which keywords are not supported.
#ifndef INLAY_RUNTIME_GUIDED_SCHEMA_KEYWORDS_H_
#define INLAY_RUNTIME_GUIDED_SCHEMA_KEYWORDS_H_

#include "absl/status/status.h"
#include "runtime/guided/schema_document.h"

namespace inlay::guided {

// InvalidArgument names the keyword by JSON pointer. Keywords that the specification does not define pass.
absl::Status CheckSchemaKeywords(const Json &schema, const SchemaDocument &document, const Limits &limits);

// The schema has this keyword, and no other that asks for anything.
bool HasOnlyKeyword(const Json &schema, const char *keyword);

// A count such as maxLength, which CheckSchemaKeywords() has passed.
int32_t CountOf(const Json &value);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_SCHEMA_KEYWORDS_H_
