// Ids of requests, and one line for each request that was answered (--enable-log-requests).
#ifndef INLAY_RUNTIME_SERVE_REQUEST_LOG_H_
#define INLAY_RUNTIME_SERVE_REQUEST_LOG_H_

#include "runtime/serve/http_message.h"

#include <optional>
#include <string>
#include <string_view>

namespace inlay::serve {

// Whether `id` may stand in a header, a log and an answer's id as it is: 1 to 128 letters, digits, '-', '_' and '.'.
bool IsRequestId(std::string_view id);
// The X-Request-Id of `request` if it is such an id, or else a random one.
std::string RequestIdOf(const HttpRequest &request);

struct LoggedRequest {
  std::string_view id;
  std::string client;         // "127.0.0.1:53122"
  std::string_view method;    // as it was sent
  std::string_view handler;   // one of the fixed labels of Service::HandlerOf()
  int status = 0;             // 0: the connection ended before an answer
  double seconds = 0;         // from the end of the request's head to the end of the answer
  std::optional<Usage> usage; // where tokens were generated
};

// "request id=... client=... method=POST handler=... status=200 seconds=0.532 prompt_tokens=12 ...". What a client
// chose is in it only in a form that cannot end the line or a field.
std::string FormatRequest(const LoggedRequest &request);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_REQUEST_LOG_H_
