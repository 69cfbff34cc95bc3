// Arbitrary bytes of a connection: the parser terminates and keeps its limits, and the result does not depend on how
// the bytes are split.
#include "runtime/serve/http_parser.h"

#include <algorithm>
#include <cstdlib>

using namespace inlay::serve;

namespace {

// Returns the method, path and body of the first request, or why there is none, when `step` bytes are read at a time.
std::string Read(std::string_view bytes, size_t step, const Limits &limits) {
  RequestParser parser(limits);
  std::string buffer;
  size_t at = 0;
  while (!parser.is_done() && !parser.error()) {
    size_t size = parser.Feed(buffer);
    if (size > buffer.size())
      std::abort();
    buffer.erase(0, size);
    if (size > 0)
      continue;
    if (at >= bytes.size())
      break;
    buffer += bytes.substr(at, step);
    at += step;
  }
  if (parser.request().body.size() > limits.body_bytes)
    std::abort();
  if (parser.error())
    return parser.error()->message.empty() ? (std::abort(), "") : "refused";
  if (!parser.is_done())
    return "more";
  return parser.request().method + " " + parser.request().path + "\n" + parser.request().body;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char *>(data), size);
  Limits limits;
  limits.header_bytes = 4096;
  limits.body_bytes = 4096;
  std::string whole = Read(bytes, std::max<size_t>(size, 1), limits);
  for (size_t step : {1, 7})
    if (Read(bytes, step, limits) != whole)
      std::abort();
  return 0;
}
