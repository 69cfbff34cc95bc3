#include "runtime/guided/json_schema.h"

#include "runtime/guided/schema_grammar.h"

namespace inlay::guided {

absl::StatusOr<Rules> ParseJsonSchema(std::string_view schema, const Limits &limits) {
  absl::StatusOr<std::unique_ptr<SchemaDocument>> document = SchemaDocument::Parse(schema, limits);
  if (!document.ok())
    return document.status();
  return SchemaGrammar(**document, limits).Build();
}

} // namespace inlay::guided
