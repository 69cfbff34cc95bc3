// Cross-origin requests of browsers (the CORS protocol of the Fetch standard). Options and responses are the same as in
// vLLM, which uses Starlette's CORSMiddleware.
#ifndef INLAY_RUNTIME_SERVE_CORS_H_
#define INLAY_RUNTIME_SERVE_CORS_H_

#include "runtime/serve/http_message.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace inlay::serve {

// "*" in a list stands for all.
struct CorsOptions {
  std::vector<std::string> origins; // --allowed-origins; empty: no CORS headers are sent
  std::vector<std::string> methods = {"*"};
  std::vector<std::string> headers = {"*"};
  bool allow_credentials = false;
};

// The answer to a preflight request. nullopt if `request` is not one or CORS is off.
std::optional<Answer> AnswerPreflight(const HttpRequest &request, const CorsOptions &options);

// The header fields that allow a page of another origin to read the answer to `request`. Empty for a preflight request:
// AnswerPreflight() sets the fields of its answer.
std::vector<std::pair<std::string, std::string>> CorsHeaders(const HttpRequest &request, const CorsOptions &options);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_CORS_H_
