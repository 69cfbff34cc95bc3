// An error in the form of the OpenAI API.
#ifndef INLAY_RUNTIME_SERVE_API_ERROR_H_
#define INLAY_RUNTIME_SERVE_API_ERROR_H_

#include "absl/status/status.h"

#include <string>

namespace inlay::serve {

struct ApiError {
  int status = 400;
  std::string message = {};
  std::string type = "invalid_request_error";
  std::string param = {}; // the field that is wrong; empty: null in the answer
  std::string code = {};  // empty: null
};

// {"error": {"message", "type", "param", "code"}}.
std::string ErrorBody(const ApiError &error);

// What an engine's status says to a client: the client's mistakes, and what is too large for this engine, are 400; a
// server that cannot answer now is 503 or 504; the rest is 500. A full queue is refused before, by the service.
ApiError ErrorOf(const absl::Status &status);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_API_ERROR_H_
