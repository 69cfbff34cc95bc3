// JSON Schema as a grammar. Every text of it validates. Drafts 4 to 2020-12 are read, with `definitions`, lists of
// `items`, flags as exclusive bounds and identifiers as they have them, and OpenAPI's `nullable` in schemas that name
// no dialect by $schema. Keywords that the specification does not define are ignored, as are annotations and formats
// that it does not define. What is not carried out is refused by JSON pointer and name.
//
//   any value      type, enum, const, allOf, anyOf, oneOf, not, if/then/else, $ref into the same document
//   numbers        minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf (as decimals)
//   strings        minLength, maxLength, pattern (regex.h; look-ahead at its beginning), format (formats.h)
//   lists          items, prefixItems, additionalItems, minItems, maxItems, contains, uniqueItems
//   objects        properties, required, patternProperties, additionalProperties, propertyNames, minProperties,
//                  maxProperties, dependentRequired, dependentSchemas, dependencies, unevaluatedProperties: false
//
// The grammar is stricter than the schema in these points: properties come in the order in which the schemas name them;
// where `properties` or `patternProperties` is given, others come only if `additionalProperties` says so (as OpenAI's
// strict mode has it) or must be there, and likewise items behind `prefixItems`; listed values of a list with
// `uniqueItems` come in the order in which the schema names them; a schema without a type is for the
// types whose keywords it has; numbers have at most 16 digits before and after the point, and no exponent where they
// have bounds; strings with conditions are written without escapes that they do not need; between parts stands nothing,
// one space, or a new line and at most 20 spaces.
//
// A negation (of `not`, `oneOf`, `if`) is carried out for the keywords whose opposite can be written: all but format,
// uniqueItems, patternProperties, propertyNames, prefixItems and dependencies. They are refused there, where it
// matters.
#ifndef INLAY_RUNTIME_GUIDED_JSON_SCHEMA_H_
#define INLAY_RUNTIME_GUIDED_JSON_SCHEMA_H_

#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"

#include <string_view>

namespace inlay::guided {

absl::StatusOr<Rules> ParseJsonSchema(std::string_view schema, const Limits &limits);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_JSON_SCHEMA_H_
