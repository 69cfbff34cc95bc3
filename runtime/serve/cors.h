// Cross-origin requests of browsers (the CORS protocol of the Fetch standard). Options and responses are those of vLLM,
// that is of Starlette's CORSMiddleware.
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
  std::vector<std::string> origins; // --allowed-origins; empty: browsers refuse pages of other origins
  std::vector<std::string> methods = {"*"};
  std::vector<std::string> headers = {"*"};
  bool allow_credentials = false;
};

// The answer to a preflight request; nothing if `request` is none.
std::optional<Answer> AnswerPreflight(const HttpRequest &request, const CorsOptions &options);

// Fields that let the page of `request` read its answer; none for a preflight request, whose answer has its own.
std::vector<std::pair<std::string, std::string>> CorsHeaders(const HttpRequest &request, const CorsOptions &options);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_CORS_H_
