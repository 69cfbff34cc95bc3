// Parses one request from bytes, strictly by RFC 9112: a request that two HTTP implementations could frame differently
// is refused. Does not use sockets.
#ifndef INLAY_RUNTIME_SERVE_HTTP_PARSER_H_
#define INLAY_RUNTIME_SERVE_HTTP_PARSER_H_

#include "runtime/serve/api_error.h"
#include "runtime/serve/http_message.h"
#include "runtime/serve/limits.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace inlay::serve {

class RequestParser {
public:
  // `limits` must outlive the parser.
  explicit RequestParser(const Limits &limits) : limits_(limits) {}

  // Consumes a prefix of `data` and returns its size in bytes. The next call must begin with the rest. Stops at the end
  // of the head, so that a request can be refused before its body is read, and at the end of the body.
  size_t Feed(std::string_view data);

  // Whether any bytes of the request were consumed.
  bool has_begun() const { return head_bytes_ > 0; }
  bool has_head() const { return state_ > State::kFields; }
  bool is_done() const { return state_ == State::kDone; }
  // Why the request cannot be read: status 400, 413, 417, 431, 501 or 505. The connection must be closed after the
  // answer.
  const std::optional<ApiError> &error() const { return error_; }

  HttpRequest &request() { return request_; }
  // The x of HTTP/1.x: 0 or 1.
  int minor_version() const { return minor_version_; }
  // Whether the client will send another request on this connection.
  bool keep_alive() const { return keep_alive_; }
  // Whether the client waits for "100 Continue" before it sends the body.
  bool expects_continue() const { return expects_continue_; }

private:
  enum class State { kRequestLine, kFields, kLength, kChunkSize, kChunkData, kChunkEnd, kTrailers, kDone };

  // Step(), TakeLine() and TakeData() return false if more bytes are needed or the request is invalid.
  bool Step(std::string_view &data);
  bool TakeLine(std::string_view &data, size_t limit, std::string_view &line);
  bool TakeData(std::string_view &data);
  void ReadRequestLine(std::string_view line);
  void ReadTarget(std::string_view target);
  void ReadField(std::string_view line, bool is_trailer);
  void ReadChunkSize(std::string_view line);
  void FinishHead();
  void CheckHost();
  void CheckFraming();
  void CheckTransferEncoding(std::string_view codings);
  void CheckContentLength(std::string_view length);
  void CheckConnection();
  void Fail(std::string_view what, int status = 400);

  const Limits &limits_;
  State state_ = State::kRequestLine;
  std::optional<ApiError> error_;
  HttpRequest request_;
  int minor_version_ = 1;
  bool keep_alive_ = true, expects_continue_ = false;
  size_t head_bytes_ = 0;     // consumed so far
  size_t overhead_bytes_ = 0; // of chunk extensions and trailers
  uint64_t remaining_ = 0;    // bytes of the body or of the chunk
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_HTTP_PARSER_H_
