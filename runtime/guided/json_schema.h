// JSON Schema (2020-12, and what OpenAPI adds) as a grammar. Every text of it validates; keywords that a grammar cannot
// hold are refused by JSON pointer and name. It is stricter than the schema in these points: properties come in the
// order that the schema names them; where `properties` is given, others come only if `additionalProperties` says so (as
// OpenAI's strict mode has it), and likewise items behind `prefixItems`; numbers have at most 16 digits before and
// after the point; between parts stands nothing, one space, or a new line and at most 20 spaces.
//
//   type, enum, const, anyOf, oneOf (if the alternatives are plainly apart), allOf (of one), $ref into the same schema,
//   nullable; properties, required, additionalProperties; items, prefixItems, minItems, maxItems; minLength, maxLength,
//   pattern, format (date, time, date-time, uuid, ipv4, email); minimum, maximum, exclusiveMinimum, exclusiveMaximum of
//   integers. Annotations (title, description, default, examples ...) are ignored.
#ifndef INLAY_RUNTIME_GUIDED_JSON_SCHEMA_H_
#define INLAY_RUNTIME_GUIDED_JSON_SCHEMA_H_

#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"

#include <string_view>

namespace inlay::guided {

absl::StatusOr<Rules> ParseJsonSchema(std::string_view schema, const Limits &limits);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_JSON_SCHEMA_H_
