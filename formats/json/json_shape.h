// Measures the nesting depth and the number of names of a JSON text without parsing it. Parsers are recursive, so
// untrusted text is measured first.
#ifndef INLAY_FORMATS_JSON_JSON_SHAPE_H_
#define INLAY_FORMATS_JSON_JSON_SHAPE_H_

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace inlay {

struct JsonShape {
  int depth = 0; // maximum nesting of arrays and objects
  int names = 0; // colons outside of strings
};

// Also accepts text that is not JSON. Runs in one pass without recursion.
inline JsonShape ShapeOfJson(std::string_view text) {
  JsonShape shape;
  int open = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      shape.depth = std::max(shape.depth, ++open);
    } else if (c == ']' || c == '}') {
      --open;
    } else if (c == ':') {
      ++shape.names;
    }
  }
  return shape;
}

} // namespace inlay

#endif // INLAY_FORMATS_JSON_JSON_SHAPE_H_
