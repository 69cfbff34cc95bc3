// The formats of JSON Schema as regular expressions.
#ifndef INLAY_RUNTIME_GUIDED_FORMATS_H_
#define INLAY_RUNTIME_GUIDED_FORMATS_H_

#include <string>

namespace inlay::guided {

// A regular expression, without anchors, for the whole string. Null for a name that the specification does not define;
// such a format is no condition. Each expression matches a subset of the format that all validators accept: names in
// ASCII, years from 1000. `has_length`: the schema also limits the length of the string.
const std::string *RegexOfFormat(const std::string &name, bool has_length = false);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_FORMATS_H_
