#include "runtime/serve/request_log.h"

#include "fmt/format.h"
#include "runtime/serve/tool_calls.h"

#include <algorithm>

namespace inlay::serve {

bool IsRequestId(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::ranges::all_of(id, [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
  });
}

std::string RequestIdOf(const HttpRequest &request) {
  std::string_view given = request.Header("x-request-id");
  return IsRequestId(given) ? std::string(given) : RandomId("");
}

std::string FormatRequest(const LoggedRequest &request) {
  // RFC 9110 allows any token as a method, so only known methods are logged.
  constexpr std::string_view kMethods[] = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"};
  bool is_known = std::ranges::find(kMethods, request.method) != std::end(kMethods);
  std::string line =
      fmt::format("request id={} client={} method={} handler={} status={} seconds={:.3f}", request.id, request.client,
                  is_known ? request.method : "other", request.handler, request.status, request.seconds);
  if (request.usage)
    line += fmt::format(" prompt_tokens={} cached_tokens={} completion_tokens={}", request.usage->prompt_tokens,
                        request.usage->cached_tokens, request.usage->completion_tokens);
  return line;
}

} // namespace inlay::serve
