// Converts a parameter that a model wrote as plain text to the type in the tool's schema.
#ifndef INLAY_RUNTIME_SERVE_PARAMETER_TYPE_H_
#define INLAY_RUNTIME_SERVE_PARAMETER_TYPE_H_

#include "runtime/serve/fields.h"

#include <string>
#include <string_view>

namespace inlay::serve {

// Converts `value` to JSON for the parameter `key` of `function` ({"name", "parameters"}). "null" becomes null if the
// schema allows a type other than string. Text that does not match the parameter's type, and any text of a parameter
// without a type, becomes a JSON string.
std::string JsonOfParameter(const Json &function, const std::string &key, std::string_view value);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_PARAMETER_TYPE_H_
