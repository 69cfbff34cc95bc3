#include "runtime/serve/cors.h"

#include "gtest/gtest.h"

#include <map>

using namespace inlay::serve;

namespace {

using Headers = std::map<std::string, std::string>;

Headers MapOf(const std::vector<std::pair<std::string, std::string>> &headers) {
  return Headers(headers.begin(), headers.end());
}

HttpRequest Preflight(const std::string &method, const std::string &headers = "") {
  HttpRequest request{.method = "OPTIONS",
                      .path = "/v1/models",
                      .headers = {{"origin", "https://a"}, {"access-control-request-method", method}}};
  if (!headers.empty())
    request.headers.emplace_back("access-control-request-headers", headers);
  return request;
}

HttpRequest Get() { return {.method = "GET", .path = "/v1/models", .headers = {{"origin", "https://a"}}}; }

// The expected values of all tests come from Starlette's CORSMiddleware with the same options.

TEST(CorsTest, WithoutOriginsNothingChanges) {
  EXPECT_FALSE(AnswerPreflight(Preflight("GET"), {}));
  EXPECT_TRUE(CorsHeaders(Get(), {}).empty());
}

TEST(CorsTest, RequestsWithoutAnOriginGetNoFields) {
  EXPECT_TRUE(CorsHeaders({.method = "GET", .path = "/"}, {.origins = {"*"}}).empty());
  EXPECT_FALSE(AnswerPreflight({.method = "OPTIONS", .path = "/"}, {.origins = {"*"}}));
}

TEST(CorsTest, AllOrigins) {
  EXPECT_EQ(MapOf(CorsHeaders(Get(), {.origins = {"*"}})), (Headers{{"Access-Control-Allow-Origin", "*"}}));
  auto answer = AnswerPreflight(Preflight("POST", "authorization, x-stainless-lang"), {.origins = {"*"}});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "OK");
  EXPECT_EQ(MapOf(answer->headers),
            (Headers{{"Access-Control-Allow-Origin", "*"},
                     {"Access-Control-Allow-Methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"},
                     {"Access-Control-Max-Age", "600"},
                     {"Access-Control-Allow-Headers", "authorization, x-stainless-lang"}}));
}

TEST(CorsTest, NamedOriginsAreCompared) {
  CorsOptions options{.origins = {"https://a", "https://b"}, .methods = {"GET"}, .headers = {"Authorization"}};
  EXPECT_EQ(MapOf(CorsHeaders(Get(), options)),
            (Headers{{"Access-Control-Allow-Origin", "https://a"}, {"Vary", "Origin"}}));
  HttpRequest other = Get();
  other.headers[0].second = "https://a.evil";
  EXPECT_EQ(MapOf(CorsHeaders(other, options)), (Headers{{"Vary", "Origin"}}));
  auto answer = AnswerPreflight(Preflight("GET", "AUTHORIZATION, content-type"), options);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(MapOf(answer->headers),
            (Headers{{"Vary", "Origin"},
                     {"Access-Control-Allow-Origin", "https://a"},
                     {"Access-Control-Allow-Methods", "GET"},
                     {"Access-Control-Max-Age", "600"},
                     {"Access-Control-Allow-Headers",
                      "Accept, Accept-Language, Authorization, Content-Language, Content-Type"}}));
}

TEST(CorsTest, APreflightThatAsksTooMuchSaysFor) {
  CorsOptions options{.origins = {"https://b"}, .methods = {"GET"}, .headers = {"Authorization"}};
  auto answer = AnswerPreflight(Preflight("DELETE", "x-other"), options);
  EXPECT_EQ(answer->status, 400);
  EXPECT_EQ(answer->body, "Disallowed CORS origin, method, headers");
  EXPECT_EQ(MapOf(answer->headers).count("Access-Control-Allow-Origin"), 0u);
}

// llama.cpp, issue 4511: browsers reject "*" for requests with credentials.
TEST(CorsTest, CredentialsNeedAnOriginByName) {
  CorsOptions options{.origins = {"*"}, .allow_credentials = true};
  auto answer = AnswerPreflight(Preflight("GET"), options);
  EXPECT_EQ(MapOf(answer->headers)["Access-Control-Allow-Origin"], "https://a");
  EXPECT_EQ(MapOf(answer->headers)["Access-Control-Allow-Credentials"], "true");
  HttpRequest request = Get();
  request.headers.emplace_back("cookie", "a=b");
  EXPECT_EQ(MapOf(CorsHeaders(request, options)), (Headers{{"Access-Control-Allow-Origin", "https://a"},
                                                           {"Access-Control-Allow-Credentials", "true"},
                                                           {"Vary", "Origin"}}));
}

} // namespace
