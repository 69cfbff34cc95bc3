// Checks that need no request body: preflight requests, keys, paths, methods and content types.
#include "absl/strings/match.h"
#include "fmt/format.h"
#include "runtime/serve/routes.h"
#include "runtime/serve/service.h"

namespace inlay::serve {

std::string_view Service::HandlerOf(std::string_view path) {
  const Routes::Route *route = Routes::Find(path);
  return !route ? "other" : path.starts_with(kModelPrefix) ? "/v1/models/{model}" : route->path;
}

std::optional<Answer> Service::EarlyAnswer(const HttpRequest &request) const {
  if (std::optional<Answer> preflight = AnswerPreflight(request, options_.cors))
    return preflight;
  const Routes::Route *route = Routes::Find(request.path);
  bool needs_key = !route || route->needs_key();
  if (std::string_view authorization = request.Header("authorization");
      needs_key && !keys_.empty() && !keys_.Admit(authorization)) {
    Answer answer =
        ToAnswer({.status = 401,
                  .message = authorization.empty() ? "no API key was given; send it as 'Authorization: Bearer KEY'"
                                                   : "the API key is wrong",
                  .type = "authentication_error",
                  .param = "",
                  .code = "invalid_api_key"});
    answer.headers.emplace_back("WWW-Authenticate", request.path == "/" ? "Basic realm=\"inlay\"" : "Bearer");
    return answer;
  }
  if (!route || (request.path == "/" && !options_.has_page))
    return ToAnswer(
        {.status = 404,
         .message = fmt::format("the path {} does not exist; see GET /v1/models, POST /v1/completions and POST "
                                "/v1/chat/completions",
                                request.path.substr(0, 100)),
         .param = "",
         .code = "not_found"});
  bool is_head = request.method == "HEAD" && route->method == "GET";
  if (request.method != route->method && !is_head) {
    Answer answer =
        ToAnswer({.status = 405,
                  .message = fmt::format("{} does not support the method {}; use {}", request.path.substr(0, 100),
                                         request.method.substr(0, 20), route->method),
                  .param = "",
                  .code = "method_not_allowed"});
    answer.headers.emplace_back("Allow", std::string(route->method));
    return answer;
  }
  // Browsers send this content type to another origin only after a preflight request, so this check also protects
  // against cross-site requests.
  if (route->method == "POST" &&
      !absl::StartsWithIgnoreCase(std::string(request.Header("content-type")), "application/json"))
    return ToAnswer({.status = 415,
                     .message = fmt::format("the content type is '{}', expected application/json",
                                            request.Header("content-type").substr(0, 100)),
                     .param = "",
                     .code = "unsupported_media_type"});
  return std::nullopt;
}

} // namespace inlay::serve
