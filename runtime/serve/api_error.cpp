#include "runtime/serve/api_error.h"

#include "nlohmann/json.hpp"

namespace inlay::serve {

std::string ErrorBody(const ApiError &error) {
  using nlohmann::ordered_json;
  auto text_or_null = [](const std::string &text) { return text.empty() ? ordered_json() : ordered_json(text); };
  ordered_json body = {{"error",
                        {{"message", error.message},
                         {"type", error.type},
                         {"param", text_or_null(error.param)},
                         {"code", text_or_null(error.code)}}}};
  return body.dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
}

ApiError ErrorOf(const absl::Status &status) {
  ApiError error;
  error.message = std::string(status.message());
  switch (status.code()) {
  case absl::StatusCode::kInvalidArgument:
  case absl::StatusCode::kOutOfRange:
  case absl::StatusCode::kFailedPrecondition:
  case absl::StatusCode::kNotFound:
    return error;
  case absl::StatusCode::kResourceExhausted:
    error.code = "resource_exhausted";
    return error;
  case absl::StatusCode::kUnimplemented:
    error.code = "not_supported";
    return error;
  case absl::StatusCode::kUnavailable:
    error.status = 503;
    error.type = "service_unavailable_error";
    error.code = "unavailable";
    return error;
  case absl::StatusCode::kDeadlineExceeded:
    error.status = 504;
    error.type = "timeout_error";
    error.code = "deadline_exceeded";
    return error;
  case absl::StatusCode::kCancelled:
    error.status = 503;
    error.type = "service_unavailable_error";
    error.code = "cancelled";
    return error;
  default:
    error.status = 500;
    error.type = "server_error";
    return error;
  }
}

} // namespace inlay::serve
