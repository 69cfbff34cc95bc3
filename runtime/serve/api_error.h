// An error in the form of the OpenAI API.
#ifndef INLAY_RUNTIME_SERVE_API_ERROR_H_
#define INLAY_RUNTIME_SERVE_API_ERROR_H_

#include "absl/status/status.h"

#include <string>
#include <utility>

namespace inlay::serve {

struct ApiError {
  int status = 400;
  std::string message = {};
  std::string type = "invalid_request_error";
  std::string param = {}; // the field that is wrong; empty: null in the answer
  std::string code = {};  // empty: null
};

// The error of a field that is wrong.
inline ApiError Wrong(std::string param, std::string message, std::string code = "") {
  return {.message = std::move(message), .param = std::move(param), .code = std::move(code)};
}

// {"error": {"message", "type", "param", "code"}}.
std::string ErrorBody(const ApiError &error);

// Maps a status of the engine to an HTTP error. Errors of the client and requests that are too large for this engine
// become 400. A server that is temporarily unable to answer becomes 503 or 504. All others become 500. The service
// refuses requests to a full queue itself, before they reach the engine.
ApiError ErrorOf(const absl::Status &status);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_API_ERROR_H_
