// Tests of the parser that cannot be made over a socket. Rejected requests are tested in
// test/e2e/serve_framing_test.py.
#include "runtime/serve/http_parser.h"

#include "gtest/gtest.h"

using namespace inlay::serve;

namespace {

constexpr std::string_view kSized =
    "POST /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-Name:  a value \r\n\r\nhelloGET";
constexpr std::string_view kChunked = "\r\nPOST http://h:80/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                                      "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: t\r\n\r\nGET";

// Feeds `step` bytes at a time, as a connection does. Returns the number of bytes that the parser consumed.
size_t FeedAll(RequestParser &parser, std::string_view bytes, size_t step) {
  std::string buffer;
  size_t taken = 0;
  for (size_t at = 0; !parser.is_done() && !parser.error() && at < bytes.size(); at += step) {
    buffer += bytes.substr(at, step);
    size_t size = 0;
    do {
      size = parser.Feed(buffer);
      buffer.erase(0, size);
      taken += size;
    } while (size > 0 && !parser.is_done() && !parser.error());
  }
  return taken;
}

TEST(RequestParserTest, ReadsTheSameHoweverTheBytesAreCut) {
  Limits limits;
  for (std::string_view bytes : {kSized, kChunked})
    for (size_t step = 1; step <= bytes.size(); ++step) {
      RequestParser parser(limits);
      size_t taken = FeedAll(parser, bytes, step);
      ASSERT_FALSE(parser.error()) << step << parser.error()->message;
      ASSERT_TRUE(parser.is_done()) << step;
      EXPECT_EQ(taken, bytes.size() - 3) << step; // the next request is not consumed
      EXPECT_EQ(parser.request().method, "POST");
      EXPECT_EQ(parser.request().path, "/a");
      EXPECT_EQ(parser.request().body, "hello");
      EXPECT_TRUE(parser.keep_alive());
    }
}

TEST(RequestParserTest, RefusesTheSameHoweverTheBytesAreCut) {
  Limits limits;
  for (std::string_view bytes :
       {"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\nX: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r0\r\n0\r\n\r\n"})
    for (size_t step = 1; step <= bytes.size(); ++step) {
      RequestParser parser(limits);
      FeedAll(parser, bytes, step);
      ASSERT_TRUE(parser.error()) << bytes << step;
      EXPECT_EQ(parser.error()->status, 400);
    }
}

TEST(RequestParserTest, StopsBetweenHeadAndBody) {
  Limits limits;
  RequestParser parser(limits);
  size_t head = parser.Feed(kSized);
  EXPECT_TRUE(parser.has_head());
  EXPECT_FALSE(parser.is_done());
  EXPECT_EQ(kSized.substr(head, 5), "hello");
  EXPECT_EQ(parser.request().Header("x-name"), "a value");
  EXPECT_EQ(parser.request().Find("none"), nullptr);
}

TEST(RequestParserTest, AHeadWithoutAnEndIsRefusedAtItsLimit) {
  Limits limits;
  limits.header_bytes = 100;
  RequestParser parser(limits);
  EXPECT_EQ(parser.Feed("GET /" + std::string(200, 'a')), 0u);
  ASSERT_TRUE(parser.error());
  EXPECT_EQ(parser.error()->status, 431);
}

TEST(RequestParserTest, ExpectationsAreKnownBeforeTheBody) {
  Limits limits;
  RequestParser parser(limits);
  parser.Feed("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n");
  EXPECT_TRUE(parser.has_head() && parser.expects_continue());
}

} // namespace
