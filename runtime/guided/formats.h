// The formats of JSON Schema as regular expressions.
#ifndef INLAY_RUNTIME_GUIDED_FORMATS_H_
#define INLAY_RUNTIME_GUIDED_FORMATS_H_

#include <string>

namespace inlay::guided {

// For the whole of a string, without anchors; null for a name that the specification does not define, which asks for
// nothing. Each takes part of what the format allows, so that all validators agree: names in ASCII, years from 1000.
// `has_length`: the length of the string is bounded besides.
const std::string *RegexOfFormat(const std::string &name, bool has_length = false);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_FORMATS_H_
