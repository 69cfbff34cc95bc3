#include "runtime/serve/cors.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include <algorithm>
#include <string_view>

namespace inlay::serve {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

constexpr const char *kMaxAge = "600"; // seconds that a browser keeps the answer to a preflight request

bool Has(const std::vector<std::string> &list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

bool HasIgnoringCase(const std::vector<std::string> &list, std::string_view value) {
  return std::any_of(list.begin(), list.end(), [&](const std::string &one) {
    return absl::AsciiStrToLower(one) == absl::AsciiStrToLower(absl::string_view(value.data(), value.size()));
  });
}

// The header fields that are always allowed ("CORS-safelisted request-header" in the Fetch standard).
const std::vector<std::string> &SafelistedHeaders() {
  static const auto *names =
      new std::vector<std::string>{"Accept", "Accept-Language", "Content-Language", "Content-Type"};
  return *names;
}

bool IsPreflight(const HttpRequest &request) {
  return request.method == "OPTIONS" && request.Find("origin") && request.Find("access-control-request-method");
}

// Whether all fields of the comma-separated list `requested` are allowed.
bool AllowsHeaders(const CorsOptions &options, std::string_view requested) {
  if (Has(options.headers, "*"))
    return true;
  for (absl::string_view part : absl::StrSplit(absl::string_view(requested.data(), requested.size()), ',')) {
    absl::string_view name = absl::StripAsciiWhitespace(part);
    std::string_view view(name.data(), name.size());
    if (!view.empty() && !HasIgnoringCase(options.headers, view) && !HasIgnoringCase(SafelistedHeaders(), view))
      return false;
  }
  return true;
}

} // namespace

std::vector<std::pair<std::string, std::string>> CorsHeaders(const HttpRequest &request, const CorsOptions &options) {
  const std::string *origin = request.Find("origin");
  if (!origin || options.origins.empty() || IsPreflight(request))
    return {};
  Headers headers;
  bool allows_all = Has(options.origins, "*");
  // Browsers do not accept "*" for requests with credentials.
  bool is_named = !allows_all || (options.allow_credentials && request.Find("cookie"));
  if (!is_named)
    headers.emplace_back("Access-Control-Allow-Origin", "*");
  else if (allows_all || Has(options.origins, *origin))
    headers = {{"Access-Control-Allow-Origin", *origin}, {"Vary", "Origin"}};
  else
    return {{"Vary", "Origin"}};
  if (options.allow_credentials)
    headers.emplace_back("Access-Control-Allow-Credentials", "true");
  return headers;
}

std::optional<Answer> AnswerPreflight(const HttpRequest &request, const CorsOptions &options) {
  if (!IsPreflight(request) || options.origins.empty())
    return std::nullopt;
  const std::string *origin = request.Find("origin"), *method = request.Find("access-control-request-method");
  static constexpr const char *kMethods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
  std::string_view requested = request.Header("access-control-request-headers");
  bool allows_all = Has(options.origins, "*");
  std::vector<std::string> failures;
  Answer answer{.content_type = "text/plain; charset=utf-8"};
  if (allows_all && !options.allow_credentials)
    answer.headers.emplace_back("Access-Control-Allow-Origin", "*");
  else
    answer.headers.emplace_back("Vary", "Origin");
  if (!allows_all && !Has(options.origins, *origin))
    failures.push_back("origin");
  else if (!allows_all || options.allow_credentials)
    answer.headers.emplace_back("Access-Control-Allow-Origin", *origin);
  if (!Has(options.methods, "*") && !Has(options.methods, *method))
    failures.push_back("method");
  answer.headers.emplace_back("Access-Control-Allow-Methods",
                              Has(options.methods, "*") ? kMethods : absl::StrJoin(options.methods, ", "));
  answer.headers.emplace_back("Access-Control-Max-Age", kMaxAge);
  if (!Has(options.headers, "*")) {
    std::vector<std::string> names = SafelistedHeaders();
    names.insert(names.end(), options.headers.begin(), options.headers.end());
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    answer.headers.emplace_back("Access-Control-Allow-Headers", absl::StrJoin(names, ", "));
  } else if (!requested.empty()) {
    answer.headers.emplace_back("Access-Control-Allow-Headers", std::string(requested));
  }
  if (!AllowsHeaders(options, requested))
    failures.push_back("headers");
  if (options.allow_credentials)
    answer.headers.emplace_back("Access-Control-Allow-Credentials", "true");
  answer.status = failures.empty() ? 200 : 400;
  answer.body = failures.empty() ? "OK" : "Disallowed CORS " + absl::StrJoin(failures, ", ");
  return answer;
}

} // namespace inlay::serve
