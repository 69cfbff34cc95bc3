// An error as the OpenAI API answers it.
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

// What an engine's status says to a client: the client's mistakes are 400, a full engine is 429, the rest 500.
ApiError ErrorOf(const absl::Status &status);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_API_ERROR_H_
