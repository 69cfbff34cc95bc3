// Request ids, and the request log: one line per answered request (--enable-log-requests).
#ifndef INLAY_RUNTIME_SERVE_REQUEST_LOG_H_
#define INLAY_RUNTIME_SERVE_REQUEST_LOG_H_

#include "runtime/serve/http_message.h"

#include <optional>
#include <string>
#include <string_view>

namespace inlay::serve {

// Whether `id` is safe in headers, logs and response ids: 1 to 128 letters, digits, '-', '_' and '.'.
bool IsRequestId(std::string_view id);
// The X-Request-Id of `request` if IsRequestId() accepts it, else a random id.
std::string RequestIdOf(const HttpRequest &request);

struct LoggedRequest {
  std::string_view id;
  std::string client;         // "127.0.0.1:53122"
  std::string_view method;    // as sent by the client
  std::string_view handler;   // one of the fixed labels of Service::HandlerOf()
  int status = 0;             // 0: the connection ended before an answer
  double seconds = 0;         // from the end of the request's head to the end of the answer
  std::optional<Usage> usage; // requests that generate tokens only
};

// "request id=... client=... method=POST handler=... status=200 seconds=0.532 prompt_tokens=12 ...". Text chosen by the
// client cannot end the line or a field.
std::string FormatRequest(const LoggedRequest &request);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_REQUEST_LOG_H_
