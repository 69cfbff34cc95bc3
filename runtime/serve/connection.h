// One connection: reads requests and answers them in order. A template over plain and TLS streams.
#ifndef INLAY_RUNTIME_SERVE_CONNECTION_H_
#define INLAY_RUNTIME_SERVE_CONNECTION_H_

#include "fmt/format.h"
#include "runtime/serve/http_parser.h"
#include "runtime/serve/service.h"
#include "runtime/serve/signal.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace inlay::serve {

namespace http = boost::beast::http;
using PlainStream = net::ip::tcp::socket;
using TlsStream = net::ssl::stream<net::ip::tcp::socket>;

// The operations that the server calls on all its connections.
class ConnectionBase {
public:
  virtual ~ConnectionBase() = default;
  virtual void Drain() = 0; // close when nothing is being answered
  virtual void Abort() = 0; // close now
};

template <class Stream>
class Connection : public ConnectionBase, public std::enable_shared_from_this<Connection<Stream>> {
public:
  Connection(Stream stream, Service &service)
      : stream_(std::move(stream)), service_(service), limits_(service.limits()), deadline_(stream_.get_executor()),
        signal_(std::make_shared<Signal>(stream_.get_executor())) {
    service_.metrics().CountConnection(1);
  }
  ~Connection() override { service_.metrics().CountConnection(-1); }

  net::awaitable<void> Run() {
    if (co_await Handshake())
      while (co_await AnswerOne() && co_await WaitForNext()) {
      }
    error_code ignored;
    socket().close(ignored);
  }
  void Drain() override {
    net::post(stream_.get_executor(), [self = this->shared_from_this()] {
      self->draining_ = true;
      self->signal_->Set();
    });
  }
  void Abort() override {
    net::post(stream_.get_executor(), [self = this->shared_from_this()] {
      error_code ignored;
      self->ended_ = true;
      self->socket().close(ignored);
      self->signal_->Set();
    });
  }

private:
  static constexpr bool kIsTls = std::is_same_v<Stream, TlsStream>;

  net::ip::tcp::socket &socket() {
    if constexpr (kIsTls)
      return stream_.next_layer();
    else
      return stream_;
  }

  // Reads and writes that take longer than `time` fail with operation_aborted.
  void SetDeadline(std::chrono::steady_clock::duration time) {
    deadline_.Set(time, this->shared_from_this(), [this] {
      error_code ignored;
      socket().cancel(ignored);
    });
  }

  net::awaitable<bool> Handshake() {
    error_code error;
    socket().set_option(net::ip::tcp::no_delay(true), error);
    if constexpr (kIsTls) {
      SetDeadline(limits_.header_time);
      co_await stream_.async_handshake(net::ssl::stream_base::server, net::redirect_error(net::use_awaitable, error));
      deadline_.Clear();
      co_return !error;
    }
    co_return true;
  }

  // Reads a request and answers it. Returns false if the connection must be closed.
  net::awaitable<bool> AnswerOne() {
    RequestParser parser(limits_);
    error_code error = co_await Read(parser, /*body=*/false, limits_.header_time);
    logged_ = {};
    begin_ = std::chrono::steady_clock::now();
    bool reusable = co_await Answered(parser, error);
    if (service_.logs_requests() && (logged_.status != 0 || parser.has_head()))
      Log();
    co_return reusable;
  }
  net::awaitable<bool> Answered(RequestParser &parser, error_code error) {
    HttpRequest &request = parser.request();
    request.id = id_ = RequestIdOf(request);
    method_ = request.method;
    is_head_ = request.method == "HEAD";
    version_ = 10 + static_cast<unsigned>(parser.minor_version());
    keep_alive_ = parser.keep_alive() && !draining_;
    handler_ = Service::HandlerOf(request.path);
    cors_headers_ = service_.CorsHeadersOf(request);
    if (error || parser.error())
      co_return co_await RefuseUnreadable(error, parser);
    if (std::optional<Answer> answer = service_.EarlyAnswer(request))
      co_return co_await (parser.is_done() ? Send(*std::move(answer)) : Refuse(*std::move(answer)));
    if (!parser.is_done()) {
      if (parser.expects_continue() && buffer_.size() == 0)
        error = co_await Write(kContinue);
      if (!error)
        error = co_await Read(parser, /*body=*/true, limits_.body_time);
      if (error || parser.error())
        co_return co_await RefuseUnreadable(error, parser);
    }
    Reply reply = service_.Handle(std::move(request), [signal = signal_] { signal->Notify(); });
    if (!reply.pending)
      co_return co_await Send(std::move(reply.answer));
    StartWatching();
    bool reusable = co_await SendPending(*reply.pending);
    logged_.usage = reply.pending->usage();
    // Releases the sequences of this request before the next request is read.
    reply.pending.reset();
    co_return reusable;
  }

  // Feeds the parser until the head (or the body, if `body`) is complete or the request is invalid.
  net::awaitable<error_code> Read(RequestParser &parser, bool body, std::chrono::steady_clock::duration time) {
    const size_t size = body ? kBodyRead : kHeadRead;
    error_code error;
    SetDeadline(time);
    while (true) {
      auto data = buffer_.cdata();
      buffer_.consume(parser.Feed({static_cast<const char *>(data.data()), data.size()}));
      if (parser.error() || (body ? parser.is_done() : parser.has_head()))
        break;
      if (deadline_.is_over())
        error = net::error::operation_aborted;
      if (error)
        break;
      buffer_.commit(
          co_await stream_.async_read_some(buffer_.prepare(size), net::redirect_error(net::use_awaitable, error)));
    }
    deadline_.Clear();
    co_return error;
  }

  net::awaitable<error_code> Write(std::string_view data) {
    error_code error;
    SetDeadline(limits_.write_time);
    co_await net::async_write(stream_, net::buffer(data), net::redirect_error(net::use_awaitable, error));
    deadline_.Clear();
    co_return error;
  }

  net::awaitable<bool> RefuseUnreadable(error_code error, const RequestParser &parser) {
    if (parser.error())
      co_return co_await Refuse(ToAnswer(*parser.error()));
    if (deadline_.is_over())
      co_return co_await Refuse(ToAnswer({.status = 408,
                                          .message = "the request was not received in time; send it without pauses",
                                          .code = "timeout"}));
    if (error == net::error::eof && (parser.has_begun() || buffer_.size() > 0))
      co_return co_await Refuse(ToAnswer(
          {.message = "the request is not valid HTTP: it ends before it is complete", .code = "invalid_http"}));
    co_return false; // the client went away
  }

  // Answers a request that was not read completely, and closes the connection. Before that, reads and drops the rest of
  // the request for up to one second: closing a socket with unread bytes sends a reset, and the client might lose the
  // answer.
  net::awaitable<bool> Refuse(Answer answer) {
    keep_alive_ = false;
    co_await Send(std::move(answer));
    error_code error;
    SetDeadline(std::chrono::seconds(1));
    if constexpr (!kIsTls)
      socket().shutdown(net::ip::tcp::socket::shutdown_send, error);
    for (uint64_t dropped = 0; !error && dropped < kLingerBytes;) {
      buffer_.clear();
      dropped +=
          co_await stream_.async_read_some(buffer_.prepare(4096), net::redirect_error(net::use_awaitable, error));
    }
    deadline_.Clear();
    co_return false;
  }

  template <class Body> void SetHead(http::response<Body> &response, const Answer &answer) const {
    response.set(http::field::server, "inlay");
    response.set(http::field::content_type, answer.content_type);
    response.set("X-Request-Id", id_);
    for (const auto *headers : {&answer.headers, &cors_headers_})
      for (const auto &[name, value] : *headers)
        response.set(name, value);
    response.keep_alive(keep_alive_);
  }

  void Count(int status) {
    logged_.status = status;
    service_.metrics().CountAnswer(handler_, status);
  }
  void Log() {
    error_code error;
    auto client = socket().remote_endpoint(error);
    logged_.id = id_;
    logged_.client = error ? "gone" : fmt::format("{}:{}", client.address().to_string(), client.port());
    logged_.method = method_;
    logged_.handler = handler_;
    logged_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    service_.Log(logged_);
  }

  net::awaitable<bool> Send(Answer answer) {
    Count(answer.status);
    error_code error;
    SetDeadline(limits_.write_time);
    if (is_head_) {
      http::response<http::empty_body> response(static_cast<http::status>(answer.status), version_);
      SetHead(response, answer);
      response.content_length(answer.body.size());
      co_await http::async_write(stream_, response, net::redirect_error(net::use_awaitable, error));
    } else {
      http::response<http::string_body> response(static_cast<http::status>(answer.status), version_);
      SetHead(response, answer);
      response.body() = std::move(answer.body);
      response.prepare_payload();
      co_await http::async_write(stream_, response, net::redirect_error(net::use_awaitable, error));
    }
    deadline_.Clear();
    co_return !error && keep_alive_ && !ended_;
  }

  // Starts a read while an answer is computed, so that a client that disconnects is noticed. If the client sends data
  // instead, it is the beginning of the next request and stays in buffer_.
  void StartWatching() {
    if (watching_ || buffer_.size() > 0)
      return;
    watching_ = true;
    net::co_spawn(stream_.get_executor(), [self = this->shared_from_this()] { return self->Watch(); }, net::detached);
  }
  net::awaitable<void> Watch() {
    error_code error;
    size_t size =
        co_await stream_.async_read_some(buffer_.prepare(4096), net::redirect_error(net::use_awaitable, error));
    // A write that exceeds its deadline cancels this read too.
    buffer_.commit(size);
    ended_ |= static_cast<bool>(error);
    watching_ = false;
    signal_->Set();
  }

  net::awaitable<bool> SendPending(PendingReply &reply) {
    bool has_head = false;
    while (!ended_) {
      PendingReply::Part part = reply.Take();
      if (part.answer)
        co_return co_await Send(*std::move(part.answer));
      if (!part.data.empty()) {
        if (!std::exchange(has_head, true) && !co_await SendStreamHead())
          co_return false;
        if (!co_await SendStreamPart(std::move(part.data), part.done))
          co_return false;
      }
      if (part.done)
        co_return keep_alive_ && !ended_;
      if (part.data.empty())
        co_await signal_->Wait(std::chrono::seconds(1));
    }
    Count(kClientClosed);
    co_return false;
  }

  net::awaitable<bool> SendStreamHead() {
    Count(200);
    bool is_chunked = version_ == 11;
    keep_alive_ &= is_chunked; // HTTP/1.0: closing the connection ends the stream
    http::response<http::empty_body> response(http::status::ok, version_);
    SetHead(response, {.content_type = "text/event-stream; charset=utf-8", .headers = {{"Cache-Control", "no-cache"}}});
    if (is_chunked)
      response.chunked(true);
    http::response_serializer<http::empty_body> serializer(response);
    error_code error;
    SetDeadline(limits_.write_time);
    co_await http::async_write_header(stream_, serializer, net::redirect_error(net::use_awaitable, error));
    deadline_.Clear();
    co_return !error;
  }

  net::awaitable<bool> SendStreamPart(std::string data, bool is_last) {
    if (version_ == 11)
      data = fmt::format("{:x}\r\n{}\r\n{}", data.size(), data, is_last ? "0\r\n\r\n" : "");
    co_return !co_await Write(data);
  }

  // Waits for the first byte of the next request. Returns false on a timeout or when the connection closes.
  net::awaitable<bool> WaitForNext() {
    StartWatching();
    auto end = std::chrono::steady_clock::now() + limits_.keep_alive_time;
    while (watching_ && !draining_ && std::chrono::steady_clock::now() < end)
      co_await signal_->Wait(end - std::chrono::steady_clock::now());
    co_return !watching_ && !ended_;
  }

  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  static constexpr uint64_t kLingerBytes = 16u << 20;
  static constexpr size_t kHeadRead = 4096, kBodyRead = 65536;
  static constexpr int kClientClosed = 499;

  Stream stream_;
  Service &service_;
  const Limits &limits_;
  boost::beast::flat_buffer buffer_;
  Deadline deadline_;
  std::shared_ptr<Signal> signal_;
  // The current request.
  std::string id_, method_;
  std::chrono::steady_clock::time_point begin_;
  LoggedRequest logged_;
  std::string_view handler_ = Service::HandlerOf(""); // label of its path in metrics
  std::vector<std::pair<std::string, std::string>> cors_headers_;
  unsigned version_ = 11;
  bool is_head_ = false, keep_alive_ = true;
  bool watching_ = false, ended_ = false, draining_ = false;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_CONNECTION_H_
