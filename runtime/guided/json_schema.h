// Converts a JSON Schema to a grammar. Every text of the grammar is valid by the schema. Supports drafts 4 to 2020-12,
// including the older forms of `definitions`, `items` as a list, Boolean exclusive bounds and identifiers. OpenAPI's
// `nullable` is supported in schemas whose $schema names no dialect of JSON Schema. Annotations and keywords and
// formats that the specification does not define are ignored. Unsupported keywords are refused; the error has the JSON
// pointer and the name.
//
//   any value      type, enum, const, allOf, anyOf, oneOf, not, if/then/else, $ref into the same document
//   numbers        minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf (as decimals)
//   strings        minLength, maxLength, pattern (regex.h; look-ahead at its beginning), format (formats.h)
//   lists          items, prefixItems, additionalItems, minItems, maxItems, contains, uniqueItems
//   objects        properties, required, patternProperties, additionalProperties, propertyNames, minProperties,
//                  maxProperties, dependentRequired, dependentSchemas, dependencies, unevaluatedProperties: false
//
// The grammar is stricter than the schema in these points:
// - Properties come in the order in which the schemas name them.
// - If `properties` or `patternProperties` is given, other properties are allowed only if `additionalProperties` is
// given (as in OpenAI's strict mode) or if more properties are required. The same holds for items after `prefixItems`.
// - The values of a list with `uniqueItems` and listed items come in the order in which the schema lists them.
// - A schema without a type allows only the types whose keywords it has.
// - Numbers have at most 16 digits before and after the point, and no exponent if they have bounds.
// - Strings with conditions contain no unnecessary escapes.
// - White space between parts is nothing, one space, or a new line and at most 20 spaces.
//
// Negation (by `not`, `oneOf` or `if`) is supported for all keywords except format, uniqueItems, patternProperties,
// propertyNames, prefixItems and dependencies. These are refused in a negated schema unless they have no effect there.
#ifndef INLAY_RUNTIME_GUIDED_JSON_SCHEMA_H_
#define INLAY_RUNTIME_GUIDED_JSON_SCHEMA_H_

#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"

#include <string_view>

namespace inlay::guided {

absl::StatusOr<Rules> ParseJsonSchema(std::string_view schema, const Limits &limits);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_JSON_SCHEMA_H_
